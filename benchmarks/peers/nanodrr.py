"""nanodrr (MIT, https://github.com/eigenvivek/nanodrr): trilinear ray marching in plain torch on a CPU, fused on a GPU."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version

import torch
from torch import Tensor

from xrcore.ct.volume import Volume
from xrcore.geometry import CArm, Pose


def installed() -> str | None:
    """Its version, or None."""
    try:
        return version("nanodrr")
    except PackageNotFoundError:
        return None


def projector(volume: Volume, carm: CArm, *, device: torch.device | str = "cpu") -> Callable[[Pose], Tensor]:
    """A function that projects a volume of one material: area densities (B, H, W) [g/cm2], differentiable in the pose.

    As many samples a ray as the grid's longest side has voxels, where xrcore and RTK take one per slice. device: where it renders.
    """
    from nanodrr.data import Subject
    from nanodrr.drr import render

    density = volume.density.to(device)[None]
    subject = Subject(
        density,
        torch.zeros_like(density),
        volume.world_from_voxel.float(),
        volume.voxel_from_world.float(),
        Subject._make_voxel_to_grid(density.shape),
        volume.isocenter.float(),
        max_label=0,
        convert_to_mu=False,
    ).to(device)
    intrinsics = carm.K.clone()
    intrinsics[:2, 2] += 0.5  # its pixel centres are at half integers
    k_inv = torch.linalg.inv(intrinsics).float()[None].to(device)
    depth = torch.tensor([carm.source_to_detector], device=device)

    def project(pose: Pose) -> Tensor:
        world_from_camera = pose.world_from_camera(carm, volume.isocenter).to(device, torch.float32)
        image = render(subject, k_inv, world_from_camera, depth, *carm.shape, n_samples=max(volume.shape))
        return image[:, 0] / 10  # mm to cm

    return project
