"""Line integrals by the midpoint rule: trilinear samples at a fixed step. Shares no code with the registration's renderer."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numba import njit
from scipy.ndimage import maximum_filter
from torch import Tensor

from xrcore._util.bounds import LARGEST_SIDE
from xrcore._util.code_cache import cached_njit
from xrcore._util.errors import XrcoreError, is_number, require
from xrcore.ct.volume import Volume
from xrcore.geometry import CArm, Pose, camera_rays, ray_origins
from xrcore.geometry.pose import require_one_pose

_CHUNK = 2048  # rays a task
_BLOCK = 8  # voxels along the side of a block that is skipped when empty
_LARGEST_COUNT = 1 << 20  # samples along the grid's diagonal; single precision counts them and the rim's without loss
# comparisons with what is not a number are false, as fastmath would not have it
_careful: Any = {"nsz", "arcp", "contract", "afn", "reassoc"}


@dataclass(frozen=True, eq=False)
class _Grid:
    """One material, cropped to what it holds, with a rim of zeros so that no sample needs a bounds check."""

    values: np.ndarray  # flat float32, (z, y, x)
    size: tuple[int, int, int]  # (x, y, z), rim included
    start: np.ndarray  # (x, y, z) index, in the volume, of the first value
    occupied: np.ndarray  # (z, y, x) blocks, True where a block or one next to it holds anything


def area_density(volume: Volume, carm: CArm, pose: Pose, *, step: float = 1.0) -> Float[Tensor, "H W M"]:
    """Integrate the density along the ray of each pixel, from source to detector, on as many threads as torch has.

    Density falls to zero over one voxel beyond the grid.

    Parameters
    ----------
    volume : Volume
        The patient.
    carm : CArm
        The imaging system.
    pose : Pose
        One pose.
    step : float
        Distance between samples [mm], which lie at (k + 1/2) step from the source.

    Returns
    -------
    Float[Tensor, "H W M"]
        Area density of each material [g/cm2], float32.

    Raises
    ------
    XrcoreError
        If there is not one pose, or the step is longer than the grid or a millionth of it; for a grid that is too large.
    """
    diagonal = math.hypot(*volume.extent)
    shortest = diagonal / _LARGEST_COUNT
    good = is_number(step) and shortest <= step <= diagonal
    require("area_density", "step", step, good, f"a length in mm between {shortest:.1g} and the grid's diagonal, {diagonal:.4g}")
    require_one_pose("area_density", "pose", pose)
    world_from_camera = pose.world_from_camera(carm, volume.isocenter)[0].detach()
    voxel_from_camera = (volume.voxel_from_world @ world_from_camera).numpy()
    rays = camera_rays(carm).reshape(-1, 3)
    lengths = torch.linalg.norm(rays, dim=1)
    rays = rays / lengths[:, None]
    ends = carm.source_to_detector * lengths.numpy()  # mm along each ray
    axes = voxel_from_camera[:3, :3].T
    directions = np.ascontiguousarray(rays.numpy() @ axes)  # voxels per mm
    sources = ray_origins(carm).reshape(-1, 3).numpy() @ axes + voxel_from_camera[:3, 3]
    result = np.zeros((len(volume.materials), len(directions)), dtype=np.float32)
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        tasks = []
        for grid, row in zip(_grids_of(volume), result, strict=True):
            if grid is None:
                continue
            origins = sources - grid.start
            for first in range(0, len(directions), _CHUNK):
                part = slice(first, first + _CHUNK)
                of_rays = origins[part], directions[part], ends[part]
                tasks.append(pool.submit(_march, grid.values, *grid.size, grid.occupied, *of_rays, step, row[part]))
        for task in tasks:
            task.result()
    return torch.from_numpy(result.T.reshape(*carm.shape, -1) * np.float32(step / 10))  # mm to cm


def _grids_of(volume: Volume) -> list[_Grid | None]:
    return volume.derived("grids", lambda: [_grid(density) for density in volume.density.detach().cpu().float().numpy()])


def _grid(density: np.ndarray) -> _Grid | None:
    bounds = []
    for axis in range(3):
        held = np.flatnonzero(density.any(axis=tuple(a for a in range(3) if a != axis)))
        if len(held) == 0:
            return None
        bounds.append((held[0], held[-1] + 1))
    values = np.pad(density[tuple(slice(*b) for b in bounds)], 1)
    if values.size >= 2**31 or max(values.shape) > LARGEST_SIDE:
        raise XrcoreError(f"simulate: a volume of {values.size} voxels is too large; read the CT at a coarser spacing")
    start = np.array([b[0] - 1 for b in reversed(bounds)], dtype=np.float64)
    whole = np.pad(values > 0, [(0, -n % _BLOCK) for n in values.shape])
    blocks = whole.reshape([m for n in whole.shape for m in (n // _BLOCK, _BLOCK)]).any((1, 3, 5))
    return _Grid(values.ravel(), values.shape[::-1], start, maximum_filter(blocks, 3))


@njit(inline="always")
def _clamped(x, top):  # type: ignore[no-untyped-def]
    """A coordinate from 0 to top, whatever it is."""
    x = x if x > np.float32(0) else np.float32(0)
    return x if x < top else top


@cached_njit(_BLOCK, _LARGEST_COUNT, nogil=True, error_model="numpy", fastmath=_careful)
def _march(values, nx, ny, nz, occupied, origins, directions, ends, step, out):  # type: ignore[no-untyped-def]
    """Sum of the samples along each ray; origins [voxels] and directions [voxels per mm] from the grid's first value, ends [mm]."""
    high = (nx - 1.0, ny - 1.0, nz - 1.0)
    along_y, along_z, one = np.uint32(nx), np.uint32(nx * ny), np.uint32(1)
    # rounding may put the outermost samples a hair outside
    top_x, top_y, top_z = np.float32(nx - 1.001), np.float32(ny - 1.001), np.float32(nz - 1.001)
    for ray in range(len(directions)):
        origin = origins[ray]
        enter, leave, fastest = 0.0, ends[ray], 1e-12
        for axis in range(3):
            slope, place = directions[ray, axis], origin[axis]
            fastest = max(fastest, abs(slope))
            if abs(slope) > 1e-12:
                low, far = -place / slope, (high[axis] - place) / slope
                enter, leave = max(enter, min(low, far)), min(leave, max(low, far))
            elif place < 0.0 or place > high[axis]:
                leave = -1.0
        first = np.ceil(enter / step - 0.5)
        samples = np.floor(leave / step - 0.5) - first + 1
        # not so for numbers that are none
        count = int(samples) if leave > enter and 0 < samples <= 4 * _LARGEST_COUNT else 0
        # float32 from here on: coordinates inside the grid are small
        t = (first + 0.5) * step
        x0, dx = np.float32(origin[0] + t * directions[ray, 0]), np.float32(step * directions[ray, 0])
        y0, dy = np.float32(origin[1] + t * directions[ray, 1]), np.float32(step * directions[ray, 1])
        z0, dz = np.float32(origin[2] + t * directions[ray, 2]), np.float32(step * directions[ray, 2])
        # a run of samples spans at most a block, so the block at its middle and those next to it hold all it reads
        span = _BLOCK / (step * fastest)
        run = max(1, int(span) if span < count else count)
        total = np.float32(0)
        for begin in range(0, count, run):
            end = min(begin + run, count)
            n = np.float32(0.5) * np.float32(begin + end - 1)
            x = _clamped(x0 + n * dx, top_x)
            y = _clamped(y0 + n * dy, top_y)
            z = _clamped(z0 + n * dz, top_z)
            if not occupied[int(z) // _BLOCK, int(y) // _BLOCK, int(x) // _BLOCK]:
                continue
            for k in range(begin, end):
                n = np.float32(k)
                x = _clamped(x0 + n * dx, top_x)
                y = _clamped(y0 + n * dy, top_y)
                z = _clamped(z0 + n * dz, top_z)
                i, j, l = np.uint32(x), np.uint32(y), np.uint32(z)
                fx, fy, fz = x - np.float32(i), y - np.float32(j), z - np.float32(l)
                p = l * along_z + j * along_y + i
                a = values[p] + fx * (values[p + one] - values[p])
                p += along_y
                b = values[p] + fx * (values[p + one] - values[p])
                p += along_z
                d = values[p] + fx * (values[p + one] - values[p])
                p -= along_y
                c = values[p] + fx * (values[p + one] - values[p])
                a += fy * (b - a)
                c += fy * (d - c)
                total += a + fz * (c - a)
        out[ray] = total
