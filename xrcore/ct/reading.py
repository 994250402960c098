"""CT file or DICOM folder -> Volume."""

from __future__ import annotations

import os
from collections.abc import Sequence

import SimpleITK as sitk

from xrcore._util.logs import logger
from xrcore.ct.dicom_pixels import is_dicom
from xrcore.ct.dicom_series import read_series
from xrcore.ct.hu_image import NO_AIR, HuImage, check_spacing, volume_from_hu
from xrcore.ct.image_files import check_file, checked_path, read_image
from xrcore.ct.volume import Volume


def read_ct(
    path: str | os.PathLike[str],
    spacing: float | None = 2.0,
    *,
    background: float | None = None,
    metal_above: float | None = 2500.0,
    metal: str = "metal",
    labels: str | os.PathLike[str] | sitk.Image | None = None,
    keep: Sequence[int] | None = None,
    air: str = "equivalent",
    empty_below: float = -950.0,
    series: str | None = None,
) -> Volume:
    """Read a CT: NIfTI, NRRD, MetaImage, or a folder of DICOM slices.

    Remarks that need no error are logged as warnings and kept in the volume's `notes`.

    Parameters
    ----------
    path : path
        The file or folder.
    spacing : float, optional
        Voxel size of the isotropic grid the CT is resampled to [mm], with cubic B-splines, on its own axes and about its own centre
        (the isocentre); None keeps the CT's grid. As in the paper there is no smoothing before: structures thinner than `spacing`
        alias. `Volume.coarser` averages instead.
    background : float, optional
        For a CT of which only bone is left: the HU its publishers put where tissue was removed, such as 0. Density then grows from
        nothing at `background` to its full value at 350 HU, because a voxel in between is part bone and part nothing. Nothing is
        removed by connectivity: rods or a table under the patient stay (see `labels`).
    metal_above : float, optional
        Denser voxels are metal [HU]; the densest bone and enamel stay below about 2500, and 12-bit scanners saturate at 3071, where
        the density formula gives 2.8 g/cm3 (titanium has 4.5). None: no metal.
    metal : str
        The material's name in the volume, "metal" (what it is, the `Beam` says), "titanium" or "iron".
    labels : path or SimpleITK.Image, optional
        A label map, on any grid in the same patient space, of what to keep; the rest becomes empty. The isocentre stays the CT's.
    keep : Sequence of int, optional
        Values of the label map to keep; default all but 0.
    air : str
        What becomes of voxels up to -800 HU: "equivalent" adds them to soft tissue at 0.92 of their density, the nearly constant ratio
        of the mass attenuations, which saves a material; "separate" keeps the material "air" as the paper does; "none" drops them.
    empty_below : float
        Voxels up to it are exactly empty [HU]. Air around the patient attenuates nothing, and exact zeros let renderers skip it; lung
        tissue lies above.
    series : str, optional
        SeriesInstanceUID or SeriesDescription, for a folder with several CT series.

    Returns
    -------
    Volume
        Density per material in world space.

    Raises
    ------
    XrcoreError
        One line naming the file, for anything that is not a CT, or the parameter that makes no sense.

    Examples
    --------
    >>> import numpy as np
    >>> import SimpleITK as sitk
    >>> import xrcore as xr
    >>> hu = np.full((20, 30, 40), -1000, dtype=np.int16)
    >>> hu[5:15, 10:20, 10:30] = 40  # soft tissue
    >>> sitk.WriteImage(sitk.GetImageFromArray(hu), "ct.nii.gz")
    >>> xr.read_ct("ct.nii.gz", spacing=2.0)
    Volume(20 x 15 x 10 voxels of 2 x 2 x 2 mm, soft + bone)
    """
    check_spacing("read_ct", spacing)
    volume = volume_from_hu(
        read_hu(path, series=series),
        spacing=spacing,
        background=background,
        metal_above=metal_above,
        metal=metal,
        labels=labels,
        keep=keep,
        air=air,
        empty_below=empty_below,
    )
    for note in volume.notes:
        logger.warning(note)
    return volume


def read_hu(path: str | os.PathLike[str], *, series: str | None = None) -> HuImage:
    """Read a CT on its own grid in HU; formats and errors as in `read_ct`.

    Parameters
    ----------
    path : path
        The file or folder.
    series : str, optional
        SeriesInstanceUID or SeriesDescription, for a folder with several CT series.

    Returns
    -------
    HuImage
        The CT before materials, with remarks in its `notes`.
    """
    path = checked_path("read_ct", path)
    if path.is_dir():
        values, matrix = read_series(path, series)
    else:
        check_file(path)
        values, matrix = read_series(path, series) if is_dicom(path) else read_image(path)
    hu = HuImage(hu=values, world_from_voxel=matrix, name=str(path))
    low = float(hu.hu.min())
    if low <= NO_AIR:
        return hu
    note = (
        f"{path}: no voxel is below {NO_AIR:g} HU, so there is no air: if tissue was replaced by a value, give it as background=; "
        f"if these are not HU (they start at {low:g}), rescale them"
    )
    return HuImage(hu=hu.hu, world_from_voxel=matrix, name=hu.name, notes=(note,))
