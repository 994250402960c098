"""HuImage: Hounsfield units on a grid in world space, and their conversion to a Volume."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
import torch
from jaxtyping import Float32, Float64, Shaped
from numpy.typing import ArrayLike, NDArray

from xrcore._util.errors import XrcoreError, is_number, is_whole, require, shown
from xrcore.ct.image_files import MOST_VOXELS, geometry, read_image
from xrcore.ct.materials import HU_OF_AIR, densities
from xrcore.ct.resampling import isotropic_grid, resample_labels, resample_spline
from xrcore.ct.volume import Volume, grid_matrix

SHORTEST, LONGEST = 5.0, 3000.0  # [mm] sizes of a CT that are not a mistake of units
LARGEST_HU = 1e5
SMALLEST_SPAN = 100.0  # [HU]
NO_AIR = -500.0


@dataclass(frozen=True, kw_only=True, eq=False)
class HuImage:
    """A CT before materials: Hounsfield units on a grid in world space.

    Parameters
    ----------
    hu : Float32[ndarray, "D H W"]
        Hounsfield units, axes (z, y, x).
    world_from_voxel : Float64[ndarray, "4 4"]
        From (x-, y-, z-index, 1) to LPS [mm].
    name : str
        What messages call it.
    notes : tuple of str
        One-line remarks for the user.

    Raises
    ------
    XrcoreError
        For NaN, a constant image, fewer than two slices, sheared axes, values that are not HU, and sizes that are not millimetres.
    """

    hu: Float32[np.ndarray, "D H W"]
    world_from_voxel: Float64[np.ndarray, "4 4"]
    name: str = "CT"
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        put = object.__setattr__
        try:
            put(self, "hu", np.array(self.hu, dtype=np.float32, order="C", copy=None))
        except (TypeError, ValueError):
            raise XrcoreError(f"{self.name}: hu must be an array of numbers, got {shown(self.hu)}") from None
        if self.hu.ndim != 3:
            raise XrcoreError(f"{self.name}: expected a 3D image (z, y, x), got {self.hu.ndim}D")
        if min(self.hu.shape) < 2:
            size = " x ".join(str(n) for n in reversed(self.hu.shape))
            raise XrcoreError(f"{self.name}: {size} voxels are a single slice, not a CT; give the whole series")
        matrix = grid_matrix(self.name, self.world_from_voxel).numpy().copy()
        put(self, "world_from_voxel", matrix)
        axes = matrix[:3, :3] / self.spacing
        if not np.allclose(axes.T @ axes, np.eye(3), atol=1e-3):
            raise XrcoreError(f"{self.name}: its voxel axes are not perpendicular (sheared); resample it to a straight grid first")
        self._reject_unit_mistakes()
        self._reject_values()

    @property
    def spacing(self) -> tuple[float, float, float]:
        """(x, y, z) voxel size [mm]."""
        x, y, z = np.linalg.norm(self.world_from_voxel[:3, :3], axis=0).tolist()
        return x, y, z

    @property
    def center(self) -> NDArray[np.float64]:
        """Centre of the grid's extent, LPS [mm]: the isocentre."""
        middle = (np.array(self.hu.shape[::-1]) - 1) / 2
        return self.world_from_voxel[:3, :3] @ middle + self.world_from_voxel[:3, 3]

    def _reject_unit_mistakes(self) -> None:
        extent = [n * s for n, s in zip(reversed(self.hu.shape), self.spacing, strict=True)]
        if min(extent) < SHORTEST or max(extent) > LONGEST:
            size = " x ".join(f"{e:.4g}" for e in extent)
            raise XrcoreError(
                f"{self.name}: it is {size} mm large; a CT is {SHORTEST:g} to {LONGEST:g} mm: check the units of its voxel size"
            )

    def _reject_values(self) -> None:
        low, high = float(self.hu.min()), float(self.hu.max())
        if not np.isfinite(low + high):
            raise XrcoreError(f"{self.name}: it holds NaN or infinite voxels; replace them by -1000 HU (air)")
        if low == high:
            raise XrcoreError(f"{self.name}: every voxel is {low:g}, there is nothing to see")
        if high > LARGEST_HU or high - max(low, HU_OF_AIR) < SMALLEST_SPAN:
            raise XrcoreError(f"{self.name}: values from {low:.4g} to {high:.4g} are not HU; rescale them so that air is -1000 and water 0")


def volume_from_hu(
    hu: HuImage | Shaped[np.ndarray, "D H W"],
    world_from_voxel: Shaped[np.ndarray, "4 4"] | None = None,
    *,
    spacing: float | None = 2.0,
    background: float | None = None,
    metal_above: float | None = 2500.0,
    metal: str = "metal",
    labels: str | os.PathLike[str] | sitk.Image | ArrayLike | None = None,
    keep: Sequence[int] | None = None,
    air: str = "equivalent",
    empty_below: float = -950.0,
) -> Volume:
    """Turn HU on a grid into density per material on an isotropic grid: the steps of `read_ct` after reading, with its options.

    HU are resampled, not densities: materials are told apart by HU, and edges should blur before that decision.
    Voxels below -1000 HU (padding outside the scanner's circle) count as -1000 before resampling, where they would ring.

    Parameters
    ----------
    hu : HuImage or Shaped[ndarray, "D H W"]
        The CT, or an array of HU, axes (z, y, x), with its `world_from_voxel`.
    world_from_voxel : Shaped[ndarray, "4 4"], optional
        Of an array: from (x-, y-, z-index, 1) to LPS [mm].
    spacing : float, optional
        Voxel size of the isotropic grid [mm]; None keeps the CT's grid.
    background, metal_above : float, optional
        As in `read_ct`.
    metal : str
        As in `read_ct`.
    labels : path, SimpleITK.Image or Shaped[ndarray, "D H W"], optional
        As in `read_ct`, or an array on the CT's own grid.
    keep : Sequence of int, optional
        As in `read_ct`.
    air : str
        As in `read_ct`.
    empty_below : float
        As in `read_ct`.

    Returns
    -------
    Volume
        Density per material in world space, with the isocentre of the CT.

    Raises
    ------
    XrcoreError
        Naming the parameter that makes no sense.
    """
    check_spacing("volume_from_hu", spacing)
    if not isinstance(hu, HuImage):
        if world_from_voxel is None:
            raise XrcoreError("volume_from_hu: an array needs its world_from_voxel (4x4, LPS mm)")
        hu = HuImage(hu=np.asarray(hu), world_from_voxel=np.asarray(world_from_voxel))
    elif world_from_voxel is not None:
        raise XrcoreError("volume_from_hu: a HuImage has its own world_from_voxel; don't give another")
    several = keep is None or (isinstance(keep, (Sequence, np.ndarray)) and all(map(is_whole, keep)))
    require("volume_from_hu", "keep", keep, several, "a sequence of whole numbers")
    if keep is not None and labels is None:
        raise XrcoreError(f"{hu.name}: keep={list(keep)} needs labels= (a label map of this CT)")

    values, matrix = np.maximum(hu.hu, np.float32(HU_OF_AIR)), hu.world_from_voxel
    if spacing is not None:
        _check_size(spacing, hu)
        shape, matrix = isotropic_grid(hu.hu.shape, matrix, spacing)
        values = resample_spline(values, shape, [s / spacing for s in reversed(hu.spacing)])
    materials, density = densities(values, background=background, metal_above=metal_above, metal=metal, air=air, empty_below=empty_below)
    if labels is not None:
        density *= _kept(labels, keep, values.shape, matrix, hu)
    return Volume(
        density=torch.from_numpy(density),
        materials=materials,
        world_from_voxel=torch.from_numpy(matrix.copy()),
        isocenter=torch.from_numpy(hu.center),
        notes=hu.notes if background is None else (),
    )


def check_spacing(owner: str, spacing: float | None) -> None:
    """Raise XrcoreError unless it is a length, or None."""
    given = spacing is None or (is_number(spacing) and spacing > 0)
    require(owner, "spacing", spacing, given, "a positive length in mm, or None for the CT's own grid")


def _check_size(spacing: float, hu: HuImage) -> None:
    extent = [n * s for n, s in zip(reversed(hu.hu.shape), hu.spacing, strict=True)]
    if min(extent) < 1.5 * spacing:
        raise XrcoreError(f"{hu.name}: spacing {spacing:g} mm is coarser than the CT is thick ({min(extent):.4g} mm)")
    if np.prod([e / spacing for e in extent]) > MOST_VOXELS:
        raise XrcoreError(f"{hu.name}: spacing {spacing:g} mm makes more than {MOST_VOXELS:.0e} voxels; choose a coarser one")


def _kept(
    labels: str | os.PathLike[str] | sitk.Image | ArrayLike,
    keep: Sequence[int] | None,
    shape: tuple[int, ...],
    world_from_voxel: NDArray[np.float64],
    hu: HuImage,
) -> NDArray[np.bool_]:
    """Where the label map, nearest on the target grid, holds a value of `keep` (default: any but 0)."""
    if isinstance(labels, sitk.Image):
        array, own, name = sitk.GetArrayFromImage(labels), geometry(labels), "labels"
    elif isinstance(labels, (str, os.PathLike)):
        array, own = read_image(labels)
        name = os.fspath(labels)
    else:
        array, own, name = np.asarray(labels), hu.world_from_voxel, "labels"
        if array.shape != hu.hu.shape:
            raise XrcoreError(f"labels: the array is {array.shape} but {hu.name} is {hu.hu.shape}; give a file or SimpleITK image instead")
    found = np.unique(array)
    wanted = [int(v) for v in found if v != 0] if keep is None else [int(v) for v in keep]
    absent = [v for v in wanted if v not in found]
    if absent or not wanted:
        listed = ", ".join(f"{v:g}" for v in found[:20]) + (", ..." if len(found) > 20 else "")
        raise XrcoreError(f"{name}: label {', '.join(map(str, absent)) or 'other than 0'} does not occur; the map holds {listed}")
    kept = resample_labels(np.isin(array, wanted), own, shape, world_from_voxel)
    if not kept.any():
        raise XrcoreError(f"{name}: the kept labels lie outside {hu.name}; are both in the same patient space?")
    return kept
