"""CT file or DICOM folder -> Volume."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import SimpleITK as sitk

from xrcore._util.errors import XrcoreError, require
from xrcore._util.input_files import check_file, checked_path
from xrcore._util.logs import warn_of
from xrcore._util.out_of_memory import memory_advice
from xrcore.ct.dicom_series import read_series
from xrcore.ct.dicom_slices import slices_of
from xrcore.ct.dicom_tags import is_dicom
from xrcore.ct.hu_image import HuImage, check_spacing, volume_from_hu
from xrcore.ct.image_files import image_file_parts, read_image
from xrcore.ct.volume import Volume


@memory_advice("read_ct", "a larger spacing, or a file cropped to what is seen, needs less")
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
    body: bool = False,
    crop: Sequence[float] | None = None,
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
        removed by connectivity: rods or a table under the patient stay (see `labels` and `crop`).
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
    body : bool
        Keep the largest connected body and the air inside it, and empty the rest: the table and the couch, up to where they touch
        the skin. What hangs together by less than a centimetre is not connected. The isocentre stays the CT's.
    crop : Sequence of float, optional
        x0, x1, y0, y1, z0, z1, LPS [mm]: read only the voxels in this box, as if the file held no others; the isocentre is their centre.

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
        body=body,
        crop=crop,
    )
    warn_of(volume.notes)
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
    require("read_ct", "series", series, series is None or isinstance(series, str), "a UID or description")
    if not os.path.isdir(path):
        check_file(path)
        if not is_dicom(path) and series is not None:
            raise XrcoreError(f"{path}: not DICOM, so there is no series to choose (series=, --series); leave that out")
    found = read_series(path, series) if os.path.isdir(path) or is_dicom(path) else read_image(path)
    return HuImage(
        hu=found.values,
        world_from_voxel=found.world_from_voxel,
        name=str(path),
        notes=found.notes,
        frame_of_reference=found.frame_of_reference,
    ).with_air_noted()


def ct_files(path: str | os.PathLike[str]) -> list[Path]:
    """List what `read_ct` or a label map reads under one path.

    Parameters
    ----------
    path : path
        The file or folder.

    Returns
    -------
    list of path
        The file, and the data file that its header names; of a DICOM slice the files of its series; of a folder the folder.
    """
    path = checked_path("ct_files", path)
    if os.path.isdir(path):
        return [path]
    check_file(path)
    return sorted({one.path for one in slices_of(path)[0]}) if is_dicom(path) else image_file_parts(path)
