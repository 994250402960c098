"""HuCanvas: the Hounsfield units of the phantom, painted part by part."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from xrcore.phantom.shapes import Array, Box, Field, box_between, interpolate, sample

AIR = -1000.0
Value = float | Callable[[Array], Array]  # constant, or a function of height z [mm]

_TILE = 64  # texture repeats after this many lattice points
_TILE_SPACING = {"fine": 1.6, "coarse": 6.0}  # [mm]


class HuCanvas:
    """A grid of HU over the box from `low` to `high` [mm], and seeded textures that do not depend on its spacing."""

    def __init__(self, low: NDArray, high: NDArray, spacing: float, rng: np.random.Generator) -> None:
        self.spacing = spacing
        counts = np.maximum(1, np.round((high - low) / spacing).astype(int))
        start = (low + high) / 2 - (counts - 1) / 2 * spacing
        self.axes = [a + spacing * np.arange(n) for a, n in zip(start, counts, strict=True)]
        self.hu = np.full(tuple(reversed(counts.tolist())), AIR, np.float32)
        self.textures = {}
        for name in _TILE_SPACING:
            # white noise less its own blur: a band of frequencies, and periodic
            white = rng.standard_normal((_TILE, _TILE, _TILE)).astype(np.float32)
            band = ndimage.gaussian_filter(white, 0.7, mode="wrap") - ndimage.gaussian_filter(white, 2.2, mode="wrap")
            self.textures[name] = band / band.std()

    def box(self, field: Field) -> Box:
        """The part of the canvas that a field covers."""
        return box_between(self.axes, [axis[0] for axis in field.axes], [axis[-1] for axis in field.axes])

    def targets(self, box: Box) -> list[NDArray]:
        z, y, x = box
        return [self.axes[0][x], self.axes[1][y], self.axes[2][z]]

    def texture(self, name: str, box: Box) -> Array:
        """Band-limited noise of unit variance, at each voxel of the box."""
        return self.texture_on(name, self.targets(box))

    def texture_on(self, name: str, axes: Sequence[NDArray]) -> Array:
        """The same noise at the points of any axis-aligned lattice; axes are its (x, y, z) coordinates [mm]."""
        tile, step = self.textures[name], _TILE_SPACING[name]
        for axis, wanted in enumerate(reversed(axes)):
            position = np.asarray(wanted, float) / step
            index = np.floor(position).astype(int)
            tile = interpolate(tile, axis, index % _TILE, (index + 1) % _TILE, position - index)
        return tile

    def paint(self, field: Field, value: Value, *, shell: Value | None = None, thickness: Value = 0.0, texture: float = 0.0) -> None:
        """Fill a field with `value` [HU] under a shell `thickness` mm thick; voxels on a boundary share both by volume."""
        box = self.box(field)
        if not all(part.stop > part.start for part in box):
            return
        targets = self.targets(box)
        distance = sample(field.distance, field.axes, targets)
        blur = max(self.spacing, 0.8)
        index = np.flatnonzero(distance.ravel() < blur)
        d = distance.ravel()[index]
        k, j, i = np.unravel_index(index, distance.shape)
        z = targets[2].astype(np.float32)[k]

        def evaluate(value: Value) -> Array:
            return value(z) if callable(value) else np.full_like(z, value)

        inside = _share(-d, blur)
        hu = evaluate(value)
        if texture:
            hu = hu + np.float32(texture) * self.texture("fine", box).ravel()[index]
        if shell is not None:
            core = _share(-d - evaluate(thickness), blur)
            filled = core * hu + (inside - core) * evaluate(shell)
        else:
            filled = inside * hu
        view = self.hu[box]
        view[k, j, i] = view[k, j, i] * (1 - inside) + filled


def _share(depth: Array, blur: float) -> Array:
    """How much of a voxel lies inside a surface `depth` below it: a smooth step over twice `blur`, as a scanner blurs."""
    t = np.clip(0.5 + depth / np.float32(2 * blur), 0, 1)
    return t * t * (3 - 2 * t)
