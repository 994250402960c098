"""Implicit surfaces on a lattice: thick curves and plates, joined smoothly.

A `Field` holds, on a 2 mm lattice over a box, the distance [mm] to a surface, negative inside. The lattice is part of
the model: grids of any spacing sample the same field by trilinear interpolation, so they show the same patient.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float32]
Box = tuple[slice, slice, slice]

WHOLE = (slice(None), slice(None), slice(None))

FAR = 30.0  # distances are only needed near the surface [mm]
MARGIN = 9.0  # how far around a shape its distance is evaluated [mm]


def smooth_min(a: Array, b: Array, blend: float) -> Array:
    """Union of two distances whose crease is rounded over `blend` mm (the quadratic blend of Quilez)."""
    if blend <= 0:
        return np.minimum(a, b)
    gap = np.maximum(blend - np.abs(a - b), 0)
    return np.minimum(a, b) - gap * gap * np.float32(0.25 / blend)


def smooth_max(a: Array, b: Array, blend: float) -> Array:
    """Intersection of two distances whose edge is rounded over `blend` mm."""
    return -smooth_min(-a, -b, blend)


class Field:
    """Distance on a lattice over the box from `low` to `high` [mm]; points and array axes are (x, y, z) and (z, y, x)."""

    def __init__(self, low: ArrayLike, high: ArrayLike, spacing: float = 2.0) -> None:
        self.spacing = spacing
        first = np.floor(np.asarray(low, dtype=float) / spacing).astype(int)
        last = np.ceil(np.asarray(high, dtype=float) / spacing).astype(int)
        self.axes = [(np.arange(a, b + 1) * spacing).astype(np.float32) for a, b in zip(first, last, strict=True)]
        self.distance = np.full([len(axis) for axis in reversed(self.axes)], FAR, np.float32)

    def like(self) -> Field:
        """An empty field on the same lattice."""
        other = object.__new__(Field)
        other.spacing, other.axes, other.distance = self.spacing, self.axes, np.full_like(self.distance, FAR)
        return other

    def box(self, low: ArrayLike, high: ArrayLike) -> Box:
        """The part of the lattice between two corners."""
        return box_between(self.axes, np.asarray(low, float), np.asarray(high, float))

    def coordinates(self, box: Box = WHOLE) -> tuple[Array, Array, Array]:
        """x, y, z [mm] of the lattice points, ready to broadcast."""
        z, y, x = box
        return self.axes[0][x][None, None, :], self.axes[1][y][None, :, None], self.axes[2][z][:, None, None]

    def join(self, distance: Array, blend: float = 0.0, box: Box = WHOLE) -> None:
        """Union with a distance given on a box."""
        self.distance[box] = smooth_min(self.distance[box], distance, blend)

    def cut(self, distance: Array, blend: float = 0.0, box: Box = WHOLE) -> None:
        """Take away what is inside a distance given on a box."""
        self.distance[box] = smooth_max(self.distance[box], -distance, blend)

    def curve(self, nodes: ArrayLike, blend: float = 0.0, *, step: float = 12.0, cut: bool = False) -> None:
        """A curve of varying thickness through nodes (n, 4): x, y, z and radius [mm]."""
        nodes = _refined(np.asarray(nodes, float), step)
        distance, box = self._union(np.stack([nodes[:-1], nodes[1:]], 1), self._cone)
        (self.cut if cut else self.join)(distance, blend, box)

    def plate(self, grid: ArrayLike, blend: float = 0.0, *, step: float = 12.0) -> None:
        """A curved plate through a grid of points (rows, cols, 4): its mid-surface x, y, z and half its thickness [mm]."""
        nodes = np.asarray(grid, float)
        nodes = np.swapaxes(_refined(np.swapaxes(_refined(nodes, step), 0, 1), step), 0, 1)
        corners = [nodes[:-1, :-1], nodes[1:, :-1], nodes[:-1, 1:], nodes[1:, 1:]]
        flat = [corner.reshape(-1, 4) for corner in corners]
        triangles = [np.stack([flat[0], flat[1], flat[2]], 1), np.stack([flat[3], flat[2], flat[1]], 1)]
        distance, box = self._union(np.concatenate(triangles), self._triangle)
        self.join(distance, blend, box)

    def ball(self, center: ArrayLike, radii: ArrayLike, blend: float = 0.0, *, cut: bool = False) -> None:
        """A sphere, or an ellipsoid along the axes (its distance is exact to first order)."""
        center, radii = np.asarray(center, float), np.broadcast_to(np.asarray(radii, float), 3)
        box = self.box(center - radii - MARGIN, center + radii + MARGIN)
        (self.cut if cut else self.join)(self.ellipsoid(center, radii, box), blend, box)

    def ellipsoid(self, center: ArrayLike, radii: ArrayLike, box: Box = WHOLE) -> Array:
        """Distance to an ellipsoid along the axes."""
        center, radii = np.asarray(center, float), np.broadcast_to(np.asarray(radii, float), 3)
        parts = [(p - np.float32(c)) / np.float32(r) for p, c, r in zip(self.coordinates(box), center, radii, strict=True)]
        value = np.sqrt(sum(p * p for p in parts)) + np.float32(1e-6)
        slope = np.sqrt(sum((p / np.float32(r)) ** 2 for p, r in zip(parts, radii, strict=True))) + np.float32(1e-6)
        return (value * (value - 1) / slope).astype(np.float32)

    def linear(self, normal: ArrayLike, point: ArrayLike, box: Box = WHOLE) -> Array:
        """normal . (p - point)."""
        n, c = np.asarray(normal, np.float32), np.asarray(point, np.float32)
        x, y, z = self.coordinates(box)
        return n[0] * (x - c[0]) + n[1] * (y - c[1]) + n[2] * (z - c[2])

    def _around(self, nodes: NDArray) -> Box:
        reach = nodes[:, 3:] + MARGIN
        return self.box((nodes[:, :3] - reach).min(0), (nodes[:, :3] + reach).max(0))

    def _union(self, parts: NDArray, distance_to: Callable[[NDArray, Box], Array]) -> tuple[Array, Box]:
        """Distance to the nearest of many parts, each (n, 4) nodes, and the box around all."""
        box = self._around(parts.reshape(-1, 4))
        distance = np.full(self.distance[box].shape, FAR, np.float32)
        for part in parts:
            around = self._around(part)
            local = tuple(slice(p.start - q.start, p.stop - q.start) for p, q in zip(around, box, strict=True))
            if distance[local].size:
                np.minimum(distance[local], distance_to(part, around), out=distance[local])
        return distance, box

    def _cone(self, ends: NDArray, box: Box) -> Array:
        a, b = ends
        along = b[:3] - a[:3]
        length2 = max(float(along @ along), 1e-9)
        x, y, z = self.coordinates(box)
        from_a = (x - np.float32(a[0])) ** 2 + (y - np.float32(a[1])) ** 2 + (z - np.float32(a[2])) ** 2
        t = self.linear(along / length2, a[:3], box)
        inside = np.clip(t, 0, 1)
        gap = from_a + np.float32(length2) * inside * (inside - 2 * t)
        return np.sqrt(np.maximum(gap, 0)) - np.float32(a[3]) - np.float32(b[3] - a[3]) * inside

    def _triangle(self, corners: NDArray, box: Box) -> Array:
        origin = corners[0, :3]
        u, v = corners[1, :3] - origin, corners[2, :3] - origin
        normal = np.cross(u, v)
        area2 = max(float(normal @ normal), 1e-9)
        # barycentric coordinates of the foot of each point; those of the nearest point are near these, clipped
        s = self.linear(np.cross(v, normal) / area2, origin, box)
        t = self.linear(np.cross(normal, u) / area2, origin, box)
        w = self.linear(normal / np.sqrt(area2), origin, box)
        r = np.maximum(1 - s - t, 0)
        s1, t1 = np.maximum(s, 0), np.maximum(t, 0)
        total = r + s1 + t1
        s1, t1 = s1 / total, t1 / total
        ds, dt = s - s1, t - t1
        gap = w * w + ds * ds * np.float32(u @ u) + 2 * ds * dt * np.float32(u @ v) + dt * dt * np.float32(v @ v)
        radius = corners[:, 3]
        thickness = np.float32(radius[0]) + s1 * np.float32(radius[1] - radius[0]) + t1 * np.float32(radius[2] - radius[0])
        return np.sqrt(np.maximum(gap, 0)) - thickness


def _refined(nodes: NDArray, step: float) -> NDArray:
    """A spline through the nodes along their first axis, sampled at most every `step` mm; straight between two."""
    lengths = np.linalg.norm(np.diff(nodes[..., :3], axis=0), axis=-1).reshape(len(nodes) - 1, -1).mean(1)
    knots = np.concatenate([[0], np.cumsum(np.maximum(lengths, 1e-6))])
    counts = np.maximum(1, np.ceil(lengths / step).astype(int))
    samples = np.concatenate([np.linspace(a, b, n, endpoint=False) for a, b, n in zip(knots[:-1], knots[1:], counts, strict=True)])
    samples = np.append(samples, knots[-1])
    if len(nodes) == 2:
        t = (samples / knots[-1]).reshape(-1, *[1] * (nodes.ndim - 1))
        return nodes[0] * (1 - t) + nodes[1] * t
    from scipy.interpolate import CubicSpline  # here, as it takes a while and few need a phantom

    return CubicSpline(knots, nodes, bc_type="natural")(samples)


def sample(values: Array, axes: Sequence[Array], targets: Sequence[NDArray]) -> Array:
    """Trilinear interpolation of values (z, y, x) on a lattice at the points of another axis-aligned lattice.

    axes, targets: (x, y, z) coordinates [mm]. Separable, so it costs three passes. Outside, the border's value.
    """
    for axis, (known, wanted) in enumerate(zip(reversed(axes), reversed(targets), strict=True)):
        step = known[1] - known[0]
        position = np.clip((np.asarray(wanted) - known[0]) / step, 0, len(known) - 1)
        index = np.minimum(position.astype(int), len(known) - 2)
        values = interpolate(values, axis, index, index + 1, position - index)
    return values


def interpolate(values: Array, axis: int, below: NDArray, above: NDArray, share: NDArray) -> Array:
    """Linear interpolation along one axis of three, between the values at two indices, by the share of the second."""
    shape = [1, 1, 1]
    shape[axis] = -1
    low, high = np.take(values, below, axis=axis), np.take(values, above, axis=axis)
    high -= low
    high *= share.astype(np.float32).reshape(shape)
    high += low
    return high


def box_between(axes: Sequence[NDArray], low: NDArray | Sequence[float], high: NDArray | Sequence[float]) -> Box:
    """The part of a lattice, whose (x, y, z) coordinates are `axes`, between two corners."""
    x, y, z = (slice(*np.searchsorted(axis, ends).tolist()) for axis, *ends in zip(axes, low, high, strict=True))
    return z, y, x
