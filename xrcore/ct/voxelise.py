"""Fill a triangle mesh: how much of each voxel lies inside."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32
from numpy import ndarray

from xrcore._util.code_cache import cached_njit

_SAMPLES = 4  # lines along each side of a voxel
# off the middle by what no coordinate of a mesh is, so that lines meet triangles inside and not on their edges
_OFFSET = 1e-4 * np.array([np.pi, np.e])


def coverage(triangles: Float[ndarray, "T 3 3"], shape: tuple[int, int, int]) -> Float32[ndarray, "D H W"]:
    """Find the share of each voxel inside a mesh.

    Lines along each axis are cut at the triangles, on which the orientation tells whether a line enters or leaves, so that bodies may
    overlap. A hole leads astray the lines that pass through it, along one axis or two; the median of the three counts.

    Parameters
    ----------
    triangles : Float[ndarray, "T 3 3"]
        Corners (x, y, z) [voxels], voxel centres at integers; outside is where normals, by the right hand, point.
    shape : tuple of int
        Voxels (z, y, x); of what lies beyond them nothing is returned.

    Returns
    -------
    Float32[ndarray, "D H W"]
        0 to 1.
    """
    low = high = np.empty(0)
    for axis in range(3):  # along x, y, z
        order = [(axis + 1) % 3, (axis + 2) % 3, axis]  # a cyclic permutation keeps the orientation
        turned = np.ascontiguousarray(triangles[:, :, order], dtype=np.float64)
        sizes = [shape[2 - a] for a in order]
        lengths = np.zeros((sizes[0], sizes[1], sizes[2] + 1), np.float64)
        _cut(turned, _SAMPLES, _OFFSET, lengths)
        # back from (first, second, along) to (z, y, x)
        back = [order.index(a) for a in (2, 1, 0)]
        found = lengths[:, :, :-1].transpose(back)
        if axis == 0:
            low = found
        elif axis == 1:
            low, high = np.minimum(low, found), np.maximum(low, found)
        else:  # the median of the three
            found = np.maximum(low, np.minimum(high, found))
    return np.clip(found / _SAMPLES**2, 0.0, 1.0).astype(np.float32)


@cached_njit(nogil=True)
def _cut(triangles, samples, offset, lengths):  # type: ignore[no-untyped-def]
    """Add the lengths inside along each line of voxels, summed over its sample lines."""
    rows, cols, count = lengths.shape
    for t in range(len(triangles)):
        ax, ay, az = triangles[t, 0]
        bx, by, bz = triangles[t, 1]
        cx, cy, cz = triangles[t, 2]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area == 0.0:
            continue
        # a line enters where the normal points back along it
        sign = -1.0 if area > 0 else 1.0
        first = max(0, int(np.floor((min(ax, bx, cx) + 0.5) * samples)) - 1)
        last = min(rows * samples, int(np.ceil((max(ax, bx, cx) + 0.5) * samples)) + 1)
        low = max(0, int(np.floor((min(ay, by, cy) + 0.5) * samples)) - 1)
        high = min(cols * samples, int(np.ceil((max(ay, by, cy) + 0.5) * samples)) + 1)
        for i in range(first, last):
            x = (i + 0.5) / samples - 0.5 + offset[0]
            for j in range(low, high):
                y = (j + 0.5) / samples - 0.5 + offset[1]
                u = ((x - ax) * (cy - ay) - (y - ay) * (cx - ax)) / area
                v = ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) / area
                if u < 0 or v < 0 or u + v > 1:
                    continue
                z = az + u * (bz - az) + v * (cz - az)
                k = int(np.floor(z + 0.5))
                if k < 0:
                    k, z = 0, -0.5
                if k >= count:
                    continue
                line = lengths[i // samples, j // samples]
                line[k] += sign * (k + 0.5 - z)
                for n in range(k + 1, count):
                    line[n] += sign
