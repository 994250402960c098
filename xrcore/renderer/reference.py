"""Joseph's projector in plain torch, the reference for all others.

Slow, obvious, on any device and in any precision, differentiable in the pose and in the volume. Every fast
backend is held to it by a test.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from xrcore.beam import Beam
from xrcore.ct.volume import Volume
from xrcore.geometry import CArm, Pose, camera_rays, ray_origins

_SAMPLES_AT_ONCE = 1 << 22


def area_density(volume: Volume, carm: CArm, pose: Pose) -> Float[Tensor, "B H W M"]:
    """Area density [g/cm2] of each material along each ray, by Joseph's method.

    On every slice of the ray's dominant axis the density is sampled bilinearly, and weighted by the ray's length
    between two slices. Outside the grid the density is zero; so it is behind the source and beyond the detector.
    Source: Joseph, *An improved algorithm for reprojecting rays through pixel images*, IEEE TMI 1(3), 1982.
    """
    dtype, device = volume.density.dtype, volume.density.device
    world_from_camera = pose.world_from_camera(carm, volume.isocenter).to(device)
    voxel_from_world = volume.voxel_from_world.to(device)
    rays, origins = camera_rays(carm).to(device).reshape(-1, 3), ray_origins(carm).to(device).reshape(-1, 3)
    length = torch.linalg.norm(rays, dim=-1)
    views = []
    for view in world_from_camera:
        voxel_from_camera = voxel_from_world @ view
        axes = voxel_from_camera[:3, :3].T
        views.append(
            _project(volume.density, origins @ axes + voxel_from_camera[:3, 3], rays @ axes, length, carm.source_to_detector, dtype)
        )
    stacked = torch.stack(views) if views else volume.density.new_zeros(0)
    return stacked.reshape(len(pose), *carm.shape, len(volume.materials))


def _project(
    density: Tensor, origins: Tensor, directions: Tensor, length: Tensor, depth: float, dtype: torch.dtype
) -> Float[Tensor, "N M"]:
    dominant = directions.detach().abs().argmax(-1)
    result = density.new_zeros(len(directions), density.shape[0])
    for axis in range(3):
        members = torch.nonzero(dominant == axis).squeeze(-1)
        # voxel axes are (x, y, z), the array's are (M, z, y, x)
        others = [a for a in (2, 1, 0) if a != axis]
        grid = density.permute(0, 3 - axis, 3 - others[0], 3 - others[1])
        chunk = max(1, _SAMPLES_AT_ONCE // (grid.shape[1] * density.shape[0]))
        for part in members.split(chunk):
            o, d = origins[part], directions[part]
            sums = _sum_over_slices(grid, o[:, [axis, *others]], d[:, [axis, *others]], depth, dtype)
            step = (length[part] / d[:, axis].abs() / 10).to(dtype)  # mm to cm
            result = result.index_add(0, part, sums * step.unsqueeze(-1))
    return result


def _sum_over_slices(grid: Tensor, origins: Tensor, directions: Tensor, depth: float, dtype: torch.dtype) -> Float[Tensor, "n M"]:
    materials, slices, rows, cols = grid.shape
    k = torch.arange(slices, device=grid.device, dtype=torch.float64)
    t = (k - origins[:, :1]) / directions[:, :1]
    v = origins[:, 1:2] + t * directions[:, 1:2]
    u = origins[:, 2:3] + t * directions[:, 2:3]
    between = (t > 0) & (t <= depth)
    flat = grid.reshape(materials, -1)
    v0, u0 = torch.floor(v.detach()), torch.floor(u.detach())
    wv, wu = (v - v0).to(dtype), (u - u0).to(dtype)
    total = torch.zeros((materials, *t.shape), dtype=dtype, device=grid.device)
    for dv, weight_v in ((0, 1 - wv), (1, wv)):
        for du, weight_u in ((0, 1 - wu), (1, wu)):
            row, col = v0.long() + dv, u0.long() + du
            inside = between & (row >= 0) & (row < rows) & (col >= 0) & (col < cols)
            index = (k.long() * rows + row) * cols + col
            value = flat[:, torch.where(inside, index, 0)]
            total = total + torch.where(inside, value * (weight_v * weight_u), 0.0)
    return total.sum(-1).T


def render(volume: Volume, carm: CArm, pose: Pose, beam: Beam) -> Float[Tensor, "B H W"]:
    """Attenuation image from every energy bin of the beam; autograd does the derivatives."""
    return beam.image(area_density(volume, carm, pose), volume.materials)


def render_with_jacobian(volume: Volume, carm: CArm, pose: Pose, beam: Beam) -> tuple[Float[Tensor, "B H W"], Float[Tensor, "B H W 6"]]:
    """Image and exact Jacobian, by forward-mode differentiation along each of the six numbers."""
    numbers = pose.numbers.detach().double()

    def image(values: Tensor) -> Tensor:
        return render(volume, carm, Pose(values), beam)

    columns = []
    for i in range(6):
        tangent = torch.zeros_like(numbers)
        tangent[:, i] = 1
        value, column = torch.func.jvp(image, (numbers,), (tangent,))  # type: ignore[misc]
        columns.append(column)
    return value, torch.stack(columns, -1)
