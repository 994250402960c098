"""Label maps: whole numbers on a grid of their own, in the CT's patient space."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk
from jaxtyping import Bool, Float64
from numpy import ndarray
from numpy.typing import ArrayLike

from xrcore._util.errors import XrcoreError, shown
from xrcore.ct.image_files import geometry, read_image
from xrcore.ct.resampling import resample_labels
from xrcore.ct.voxel_data import ImageFile, check_grid

if TYPE_CHECKING:
    from xrcore.ct.hu_image import HuImage


def kept_voxels(
    labels: str | os.PathLike[str] | sitk.Image | ArrayLike,
    keep: Sequence[int] | None,
    shape: tuple[int, ...],
    world_from_voxel: Float64[ndarray, "4 4"],
    hu: HuImage,
) -> tuple[Bool[ndarray, "D H W"], tuple[str, ...]]:
    """Where a label map, nearest on the target grid, holds a value of `keep` (default: any but 0), and remarks about the map.

    labels: a file, an image, or an array on the grid of `hu`.
    """
    name = os.fspath(labels) if isinstance(labels, (str, os.PathLike)) else "labels"
    array, own, notes, _ = _label_map(labels, name, hu)
    _check_whole(array, name)
    found = np.unique(array)
    wanted = [int(v) for v in found if v != 0] if keep is None else [int(v) for v in keep]
    absent = [v for v in wanted if v not in found]
    if absent or not wanted:
        listed = ", ".join(f"{v:g}" for v in found[:20]) + (", ..." if len(found) > 20 else "")
        raise XrcoreError(f"{name}: label {', '.join(map(str, absent)) or 'other than 0'} does not occur; the map holds {listed}")
    kept = resample_labels(np.isin(array, wanted), own, shape, world_from_voxel)
    if not kept.any():
        raise XrcoreError(f"{name}: the kept labels lie outside {hu.name}; are both in the same patient space?")
    if not _covers(own, array.shape, world_from_voxel, shape):
        notes += (f"{name}: the label map covers a part of {hu.name}; what lies outside it is left out",)
    return kept, notes


def _label_map(labels: str | os.PathLike[str] | sitk.Image | ArrayLike, name: str, hu: HuImage) -> ImageFile:
    if isinstance(labels, (str, os.PathLike)):
        return read_image(labels)
    if isinstance(labels, sitk.Image):
        if labels.GetDimension() != 3 or labels.GetNumberOfComponentsPerPixel() != 1:
            raise XrcoreError(f"{name}: expected a 3D image of one value a voxel")
        check_grid(name, geometry(labels))
        return ImageFile(sitk.GetArrayFromImage(labels), geometry(labels))
    try:
        array = np.asarray(labels)
    except ValueError:
        raise XrcoreError(f"{name}: expected a file, a SimpleITK image or an array, got {shown(labels)}") from None
    if array.shape != hu.hu.shape:
        raise XrcoreError(f"{name}: the array is {array.shape} but {hu.name} is {hu.hu.shape}; give a file or SimpleITK image instead")
    return ImageFile(array, hu.world_from_voxel)


def _check_whole(array: ndarray, name: str) -> None:
    if array.dtype.kind not in "biuf":
        raise XrcoreError(f"{name}: a label map holds whole numbers, this one {array.dtype}")
    if array.dtype.kind == "f":
        odd = array[~(np.isfinite(array) & (array == np.round(array)))]
        if odd.size:
            raise XrcoreError(
                f"{name}: a label map holds whole numbers, this one {odd[0]:g} ({odd.size} such voxels); "
                "is it a probability map, or was it resampled? round it first, or cut it at a threshold"
            )


def _covers(
    world_from_label: Float64[ndarray, "4 4"], labelled: tuple[int, ...], world_from_voxel: Float64[ndarray, "4 4"], shape: tuple[int, ...]
) -> bool:
    """Whether a map of shape `labelled` reaches the outermost voxels of the grid of `shape`, within one of its voxels."""
    corners = np.array([(*corner, 1) for corner in product(*((0, n - 1) for n in reversed(shape)))], dtype=float)
    index = (corners @ (np.linalg.inv(world_from_label) @ world_from_voxel).T)[:, :3]
    return bool((index >= -1).all() and (index <= np.array(labelled[::-1])).all())
