"""Label maps: whole numbers on a grid of their own, in the CT's patient space."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk
from jaxtyping import Bool, Float64, Int32
from numpy import ndarray
from numpy.typing import ArrayLike

from xrcore._util.errors import XrcoreError, is_whole, require, shown
from xrcore.ct.image_files import geometry, read_image
from xrcore.ct.nrrd import segment_names
from xrcore.ct.resampling import resample_labels
from xrcore.ct.voxel_data import ImageFile, check_grid

if TYPE_CHECKING:
    from xrcore.ct.hu_image import HuImage

_MOST_LABELS = 1000  # of a map that stands for itself


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
    wanted = _wanted(array, keep, name)
    kept = resample_labels(np.isin(array, wanted), own, shape, world_from_voxel)
    if not kept.any():
        raise XrcoreError(f"{name}: the kept labels lie outside {hu.name}; are both in the same patient space?")
    if not _covers(own, array.shape, world_from_voxel, shape):
        notes += (f"{name}: the label map covers a part of {hu.name}; what lies outside it is left out",)
    return kept, notes


@dataclass(frozen=True, eq=False)
class LabelMap:
    """A label map that stands for itself, without a CT.

    Parameters
    ----------
    indices : Int32[ndarray, "D H W"]
        Which of `values` a voxel holds, counted from 1; 0 elsewhere.
    world_from_voxel : Float64[ndarray, "4 4"]
        LPS [mm].
    values : tuple of int
        The labels, without 0.
    names : tuple of str
        Theirs, as a segmentation file (.seg.nrrd) says, else "label" and the value.
    notes : tuple of str
        Remarks about the file.
    """

    indices: Int32[ndarray, "D H W"]
    world_from_voxel: Float64[ndarray, "4 4"]
    values: tuple[int, ...]
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()


def read_label_map(labels: str | os.PathLike[str] | sitk.Image | LabelMap, keep: Sequence[int] | None = None) -> LabelMap:
    """Read a label map in the patient space of its own header.

    Parameters
    ----------
    labels : path or SimpleITK.Image or LabelMap
        A volume file (NIfTI, NRRD, MetaImage), an image, or what this function made.
    keep : sequence of int, optional
        Labels wanted; default all but 0.

    Returns
    -------
    LabelMap
        Cropped to what is wanted.

    Raises
    ------
    XrcoreError
        If it cannot be read, holds other than whole numbers, or lacks a label of `keep`.
    """
    check_keep("read_label_map", keep)
    if isinstance(labels, LabelMap):
        return labels if keep is None else _part(labels, keep)
    kind = isinstance(labels, (str, os.PathLike, sitk.Image))
    require("read_label_map", "labels", labels, kind, "the path of a label map, or a SimpleITK image")
    name = "labels" if isinstance(labels, sitk.Image) else os.fspath(labels)
    image = _image(labels, name)
    _check_whole(image.values, name)
    named = {} if isinstance(labels, sitk.Image) else segment_names(Path(labels))
    return _chosen(image.values, image.world_from_voxel, _wanted(image.values, keep, name), named, image.notes, name)


def check_keep(caller: str, keep: object) -> None:
    """Raise XrcoreError, naming the caller, unless labels to keep are a sequence of whole numbers, or None."""
    several = isinstance(keep, (Sequence, ndarray)) and not isinstance(keep, str) and all(map(is_whole, keep))
    require(caller, "keep", keep, keep is None or several, "a sequence of whole numbers")


def _part(labels: LabelMap, keep: Sequence[int]) -> LabelMap:
    """The map of fewer labels."""
    array = np.array((0, *labels.values))[labels.indices]
    named = dict(zip(labels.values, labels.names, strict=True))
    return _chosen(array, labels.world_from_voxel, _wanted(array, keep, "labels"), named, labels.notes, "labels")


def _chosen(
    array: ndarray, world_from_voxel: Float64[ndarray, "4 4"], values: list[int], named: dict[int, str], notes: tuple[str, ...], name: str
) -> LabelMap:
    """The map of the labels `values`, cropped to them."""
    if len(values) > _MOST_LABELS:
        raise XrcoreError(f"{name}: holds {len(values)} labels, and at most {_MOST_LABELS} are drawn; is it a CT? else choose some by keep")
    indices = np.zeros(array.shape, np.int32)
    known = np.array(values).astype(array.dtype)
    order = np.argsort(known, kind="stable")
    for found, plane in zip(indices, array, strict=True):  # slice by slice, for the memory
        at = np.maximum(np.searchsorted(known, plane, side="right", sorter=order) - 1, 0)
        np.copyto(found, order[at] + 1, where=known[order[at]] == plane, casting="same_kind")
    held = [np.flatnonzero(indices.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    indices = np.ascontiguousarray(indices[tuple(slice(h[0], h[-1] + 1) for h in held)])
    matrix = world_from_voxel.copy()
    matrix[:3, 3] = matrix[:3] @ [*(h[0] for h in reversed(held)), 1.0]
    names = tuple(named.get(value, f"label {value}") for value in values)
    return LabelMap(indices, matrix, tuple(values), names, notes)


def _wanted(array: ndarray, keep: Sequence[int] | None, name: str) -> list[int]:
    """The labels of `keep`, default all but 0; raises XrcoreError for one that the map lacks."""
    found = np.unique(array)
    wanted = [int(v) for v in found if v != 0] if keep is None else [int(v) for v in keep]
    absent = [v for v in wanted if v not in found]
    if absent or not wanted:
        listed = ", ".join(f"{v:g}" for v in found[:20]) + (", ..." if len(found) > 20 else "")
        raise XrcoreError(f"{name}: label {', '.join(map(str, absent)) or 'other than 0'} does not occur; the map holds {listed}")
    return wanted


def _label_map(labels: str | os.PathLike[str] | sitk.Image | ArrayLike, name: str, hu: HuImage) -> ImageFile:
    if isinstance(labels, (str, os.PathLike, sitk.Image)):
        return _image(labels, name)
    try:
        array = np.asarray(labels)
    except ValueError:
        raise XrcoreError(f"{name}: expected a file, a SimpleITK image or an array, got {shown(labels)}") from None
    if array.shape != hu.hu.shape:
        raise XrcoreError(f"{name}: the array is {array.shape} but {hu.name} is {hu.hu.shape}; give a file or SimpleITK image instead")
    return ImageFile(array, hu.world_from_voxel)


def _image(labels: str | os.PathLike[str] | sitk.Image, name: str) -> ImageFile:
    if not isinstance(labels, sitk.Image):
        return read_image(labels)
    if labels.GetDimension() != 3 or labels.GetNumberOfComponentsPerPixel() != 1:
        raise XrcoreError(f"{name}: expected a 3D image of one value a voxel")
    check_grid(name, geometry(labels))
    return ImageFile(sitk.GetArrayFromImage(labels), geometry(labels))


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
