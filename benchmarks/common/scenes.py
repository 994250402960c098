"""Test scenes: the pelvis phantom on grids of any size, seen by the paper's C-arm."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from xrcore.ct.volume import Volume
from xrcore.geometry import CArm, Pose
from xrcore.geometry.presets import PAPER_CARM
from xrcore.phantom import pelvis
from xrcore.simulation import simulate
from xrcore.xray.image import Xray

# A view as during an operation: no ray is parallel to the grid.
POSE = Pose(rx=8, ry=-12, rz=5, tx=15, ty=-20, tz=25)


def carm(pixels: int) -> CArm:
    """The paper's C-arm, its detector cut into `pixels` x `pixels`."""
    return PAPER_CARM.resized((pixels, pixels))


def body(spacing: float = 1.5) -> Volume:
    """The phantom whose size the grids of `resampled` share; air fills a third of its box."""
    return pelvis(spacing=spacing)


def resampled(volume: Volume, voxels: int) -> Volume:
    """The same box on a grid of `voxels` cubed, interpolated trilinearly."""
    density = F.interpolate(volume.density[None], size=(voxels,) * 3, mode="trilinear", align_corners=False)[0]
    scale = torch.diag(torch.tensor([n / voxels for n in (*reversed(volume.shape), voxels)], dtype=torch.float64))
    scale[:3, 3] = (scale.diagonal()[:3] - 1) / 2  # voxel centres sit at integers, edges at -0.5
    return Volume(density=density, materials=volume.materials, world_from_voxel=volume.world_from_voxel @ scale, isocenter=volume.isocenter)


def one_material(volume: Volume) -> Volume:
    """All mass as soft tissue, for projectors of a single material."""
    return Volume(
        density=volume.density.sum(0, keepdim=True),
        materials=("soft",),
        world_from_voxel=volume.world_from_voxel,
        isocenter=volume.isocenter,
    )


def radiograph(volume: Volume, pixels: int) -> Xray:
    """An X-ray of `volume` from POSE as acquired: noise, scatter, blur, another beam and integrator."""
    return simulate(volume, carm(pixels), POSE, seed=0)


def with_backward(draw: Callable[[Pose], Tensor], pose: Pose, weights: Tensor) -> Callable[[], Tensor]:
    """A call that goes from the pose's six numbers to their gradient of the weighted sum of the image."""

    def call() -> Tensor:
        numbers = pose.numbers.clone().requires_grad_()
        (draw(Pose(numbers)) * weights).sum().backward()
        assert numbers.grad is not None
        return numbers.grad

    return call
