"""Resampling onto an isotropic grid that keeps the CT's axes and its centre."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float32, Float64
from numpy import ndarray
from scipy.ndimage import affine_transform, map_coordinates

_BLOCK = 12  # rows


def isotropic_grid(
    shape: Sequence[int], world_from_voxel: Float64[ndarray, "4 4"], spacing: float
) -> tuple[tuple[int, int, int], Float64[ndarray, "4 4"]]:
    """Shape (z, y, x) and world_from_voxel of the grid with voxels of `spacing` [mm] over the same extent.

    Axes are the CT's own, so nothing is rotated; sizes are rounded, the extent's centre (the isocentre) stays exactly.
    """
    axes = world_from_voxel[:3, :3]
    lengths = np.linalg.norm(axes, axis=0)
    old = np.array(shape[::-1])
    new = np.maximum(1, np.round(old * lengths / spacing)).astype(int)
    matrix = np.eye(4)
    matrix[:3, :3] = axes / lengths * spacing
    center = axes @ ((old - 1) / 2) + world_from_voxel[:3, 3]
    matrix[:3, 3] = center - matrix[:3, :3] @ ((new - 1) / 2)
    x, y, z = new.tolist()
    return (z, y, x), matrix


def spline_matrix(count: int, positions: Float64[ndarray, "*n"]) -> Float64[ndarray, "n count"]:
    """Rows that interpolate `count` samples at `positions` [samples] by a cubic B-spline, mirrored at the ends."""
    return np.stack([map_coordinates(sample, [positions], order=3, mode="mirror") for sample in np.eye(count)], 1)


def resample_spline(values: Float32[ndarray, "d h w"], shape: Sequence[int], ratios: Sequence[float]) -> Float32[ndarray, "D H W"]:
    """Cubic B-spline on a grid with the same axes and centre; ratios: old over new voxel size, per array axis.

    The 3D spline is a product of 1D splines, so three matrix products do what 64 reads a voxel would.
    Splines overshoot at edges: the result is clamped to the range of the input.
    """
    result = values
    for old, new, ratio in reversed(list(zip(values.shape, shape, ratios, strict=True))):
        positions = (old - 1) / 2 + (np.arange(new) - (new - 1) / 2) / ratio
        result = _last_axis_to_front(result, spline_matrix(old, positions))  # after three turns the axes are in order again
    return np.clip(result, values.min(), values.max(), out=result)


def _last_axis_to_front(values: Float32[ndarray, "a b m"], matrix: Float64[ndarray, "n m"]) -> Float32[ndarray, "n a b"]:
    """Apply a matrix along the last axis, which becomes the first: one matrix product on the array as it lies, no copy.

    Rows of a spline matrix decay by 0.27 a sample, so a block of rows needs few columns.
    """
    flat = values.reshape(-1, values.shape[-1]).T
    result = np.empty((len(matrix), flat.shape[1]), dtype=np.float32)
    for start in range(0, len(matrix), _BLOCK):
        rows = matrix[start : start + _BLOCK]
        used = np.flatnonzero(np.abs(rows).max(0) > 1e-8)
        first, last = used[0], used[-1] + 1
        np.matmul(rows[:, first:last].astype(np.float32), flat[first:last], out=result[start : start + _BLOCK])
    return result.reshape(len(matrix), *values.shape[:-1])


def resample_labels(
    labels: Bool[ndarray, "d h w"],
    world_from_label: Float64[ndarray, "4 4"],
    shape: Sequence[int],
    world_from_voxel: Float64[ndarray, "4 4"],
) -> Bool[ndarray, "D H W"]:
    """Nearest neighbour on any other grid; False outside."""
    label_from_voxel = np.linalg.inv(world_from_label) @ world_from_voxel
    matrix, offset = label_from_voxel[:3, :3][::-1, ::-1], label_from_voxel[:3, 3][::-1]
    # "grid-constant": a voxel reaches half a step beyond its centre at the border too
    nearest = affine_transform(labels.astype(np.uint8), matrix, offset, tuple(shape), order=0, mode="grid-constant", cval=0)
    return nearest.astype(bool)
