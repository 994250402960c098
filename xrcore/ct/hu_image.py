"""HuImage: Hounsfield units on a grid in world space, and their conversion to a Volume."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import SimpleITK as sitk
import torch
from jaxtyping import Float32, Float64, Shaped
from numpy.typing import ArrayLike, NDArray

from xrcore._util.errors import XrcoreError, is_number, require, shown
from xrcore._util.out_of_memory import memory_advice
from xrcore.ct.body import body_mask
from xrcore.ct.label_maps import check_keep, kept_voxels
from xrcore.ct.materials import HU_OF_AIR, densities
from xrcore.ct.resampling import isotropic_grid, resample_spline
from xrcore.ct.volume import Volume, grid_matrix
from xrcore.ct.voxel_data import MOST_VOXELS, perpendicular

SHORTEST, LONGEST = 5.0, 3000.0  # [mm] sizes of a CT that are not a mistake of units
LARGEST_HU = 1e5
SMALLEST_SPAN = 100.0  # [HU]
NO_AIR = -500.0
_ABOUT_AIR = "so there is no air"


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
    frame_of_reference : str
        DICOM's UID of the space that its LPS is in, empty where the file has none.

    Raises
    ------
    XrcoreError
        For NaN, a constant image, fewer than two slices, sheared axes, values that are not HU, and sizes that are not millimetres.
    """

    hu: Float32[np.ndarray, "D H W"]
    world_from_voxel: Float64[np.ndarray, "4 4"]
    name: str = "CT"
    notes: tuple[str, ...] = ()
    frame_of_reference: str = ""

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
        if not perpendicular(matrix[:3, :3]):
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

    def with_air_noted(self) -> HuImage:
        """Add the remark that a CT without air deserves.

        Returns
        -------
        HuImage
            This one, or the same with one more of its `notes`.
        """
        low = float(self.hu.min())
        if low <= NO_AIR:
            return self
        note = (
            f"{self.name}: no voxel is below {NO_AIR:g} HU, {_ABOUT_AIR}: if tissue was replaced by a value, give it as background=; "
            f"if these are not HU (they start at {low:g}), rescale them"
        )
        return replace(self, notes=(*self.notes, note))

    def cropped(self, box: Sequence[float]) -> HuImage:
        """Cut a box out of the CT.

        Parameters
        ----------
        box : Sequence of float
            x0, x1, y0, y1, z0, z1, LPS [mm]: voxels whose centres lie between are kept; where the CT's axes are not those of the
            patient, the smallest part of the grid that has all of them.

        Returns
        -------
        HuImage
            The smaller CT, whose centre is the isocentre.

        Raises
        ------
        XrcoreError
            If it is no box, or less than two voxels of the CT lie in it along an axis.
        """
        what = "six numbers x0, x1, y0, y1, z0, z1 [mm], LPS, each first one below its second"
        given = isinstance(box, (Sequence, np.ndarray)) and len(box) == 6 and all(map(is_number, box))
        require("read_ct", "crop", box, given and all(box[k] < box[k + 1] for k in (0, 2, 4)), what)
        corners = np.array([(*corner, 1) for corner in product(box[:2], box[2:4], box[4:])], dtype=float)
        index = (corners @ np.linalg.inv(self.world_from_voxel).T)[:, :3]
        first = np.maximum(np.ceil(index.min(0) - 1e-6), 0).astype(int)
        last = np.minimum(np.floor(index.max(0) + 1e-6), np.array(self.hu.shape[::-1]) - 1).astype(int)
        if (last - first < 1).any():
            ends = self.world_from_voxel[:3, :3] @ (np.array(self.hu.shape[::-1]) - 1) + self.world_from_voxel[:3, 3]
            reach = ", ".join(f"{min(pair):.4g} to {max(pair):.4g}" for pair in zip(self.world_from_voxel[:3, 3], ends, strict=True))
            raise XrcoreError(f"{self.name}: crop leaves nothing of it; it reaches from {reach} mm (x, y, z)")
        (x, y, z), (right, back, top) = first.tolist(), last.tolist()
        matrix = self.world_from_voxel.copy()
        matrix[:3, 3] += matrix[:3, :3] @ first
        return replace(self, hu=self.hu[z : top + 1, y : back + 1, x : right + 1], world_from_voxel=matrix)

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


@memory_advice("volume_from_hu", "a larger spacing, or HU cropped to what is seen, needs less")
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
    body: bool = False,
    crop: Sequence[float] | None = None,
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
    body : bool
        As in `read_ct`.
    crop : Sequence of float, optional
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
        hu = HuImage(hu=hu, world_from_voxel=world_from_voxel)  # type: ignore[arg-type]
    elif world_from_voxel is not None:
        raise XrcoreError("volume_from_hu: a HuImage has its own world_from_voxel; don't give another")
    check_keep("volume_from_hu", keep)
    if keep is not None and labels is None:
        raise XrcoreError(f"{hu.name}: keep={list(keep)} needs labels= (a label map of this CT)")

    require("volume_from_hu", "body", body, isinstance(body, (bool, np.bool_)), "True or False")
    if body and background is not None:
        raise XrcoreError(f"{hu.name}: body= looks for the air around the patient, which background= says was removed; give one of them")

    given, hu = hu, hu if crop is None else hu.cropped(crop)
    values, matrix = np.maximum(hu.hu, np.float32(HU_OF_AIR)), hu.world_from_voxel
    if spacing is not None:
        _check_size(spacing, hu)
        shape, matrix = isotropic_grid(hu.hu.shape, matrix, spacing)
        values = resample_spline(values, shape, [s / spacing for s in reversed(hu.spacing)])
    notes = tuple(note for note in hu.notes if background is None or _ABOUT_AIR not in note)
    if body:
        inside, more = body_mask(hu.name, values, matrix)
        values[~inside] = HU_OF_AIR
        notes += more
    materials, density = densities(values, background=background, metal_above=metal_above, metal=metal, air=air, empty_below=empty_below)
    if labels is not None:
        kept, more = kept_voxels(labels, keep, values.shape, matrix, given)
        density *= kept
        notes += more
    return Volume(
        density=torch.from_numpy(density),
        materials=materials,
        world_from_voxel=torch.from_numpy(matrix.copy()),
        isocenter=torch.from_numpy(hu.center),
        notes=notes,
        frame_of_reference=hu.frame_of_reference,
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
