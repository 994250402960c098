"""The fast renderer for GPUs: one fused Triton kernel for image and pose Jacobian, for any number of views at once.

Under Triton's interpreter (TRITON_INTERPRET=1, set before the first import) the same kernel runs on CPU tensors, slowly: that is how it is
tested where there is no GPU.
"""

from __future__ import annotations

from contextlib import nullcontext
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

from xrcore.beam import Beam
from xrcore.ct.volume import Volume
from xrcore.errors import XrcoreError
from xrcore.geometry import CArm, Pose
from xrcore.renderer.packing import BLOCK, PAD_LOW, pack

TILE = (8, 8)  # pixels a program renders
WARPS = 2
UNROLL = 4  # slices whose reads are under way together
STRIDE = 6  # slices between two looks at the occupancy map; half of it and one for the bilinear neighbour must be less than a block


def render(
    volume: Volume, carm: CArm, pose: Pose, beam: Beam, *, with_jacobian: bool
) -> tuple[Float[Tensor, "B H W"], Float[Tensor, "B H W 6"] | None]:
    """Attenuation images, and their Jacobian by the six pose numbers [1/deg, 1/mm] if asked for; float32, on the volume's device."""
    pose = Pose(pose.numbers.detach().cpu())
    twists = pose.twists(carm) if with_jacobian else None
    return render_views(volume, carm, pose.world_from_camera(carm, volume.isocenter), twists, beam)


def render_views(
    volume: Volume, carm: CArm, world_from_camera: Float[Tensor, "B 4 4"], twists: Float[Tensor, "B 6 6"] | None, beam: Beam
) -> tuple[Float[Tensor, "B H W"], Float[Tensor, "B H W 6"] | None]:
    """The same for cameras given as matrices, with the Jacobian by the coefficients of any six camera-frame twists (columns; mm, rad).

    Matrices that are on the device already (float64) stay there: nothing waits for anything.
    """
    from xrcore.renderer.cuda import kernel

    device = volume.density.device
    packed = pack(volume)
    if len(packed.words) >= 2**31:
        raise XrcoreError(f"Volume: {volume} is too large for the GPU renderer; read it at a coarser spacing")
    weights, attenuation = _lines(beam, volume.materials, device)
    k = carm.K
    batch, (rows, cols) = len(world_from_camera), carm.shape
    views = _views(volume, world_from_camera, carm.source_to_isocenter)
    with_jacobian = twists is not None
    turns = views if twists is None else twists.to(device, torch.float32).contiguous()
    image = torch.empty((batch, rows, cols), dtype=torch.float32, device=device)
    jacobian = torch.empty((batch, 6, rows, cols) if with_jacobian else (1,), dtype=torch.float32, device=device)
    programs = batch * -(-rows // TILE[0]) * -(-cols // TILE[1])
    with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
        kernel.render[(programs,)](
            packed.words,
            packed.occupied,
            packed.scale,
            views,
            turns,
            weights,
            attenuation,
            image,
            jacobian,
            *packed.size,
            rows,
            cols,
            float(k[0, 0]),
            float(k[1, 1]),
            float(k[0, 2]),
            float(k[1, 2]),
            carm.source_to_isocenter,
            carm.source_to_detector,
            len(weights),
            MATERIALS=len(volume.materials),
            PLANES=packed.planes,
            JACOBIAN=with_jacobian,
            TILE_ROWS=TILE[0],
            TILE_COLS=TILE[1],
            BLOCK=BLOCK,
            STRIDE=STRIDE,
            UNROLL=UNROLL,
            num_warps=WARPS,
            enable_fp_fusion=True,
        )
    return image, jacobian.permute(0, 2, 3, 1) if with_jacobian else None


def _views(volume: Volume, world_from_camera: Tensor, middle: float) -> Float[Tensor, "B 5 3"]:
    device = volume.density.device
    voxel_from_world = volume.voxel_from_world.clone()
    voxel_from_world[:3, 3] += PAD_LOW
    views = (voxel_from_world.to(world_from_camera.device) @ world_from_camera)[:, :3].mT
    point = views[:, 3] + middle * views[:, 2]
    return torch.cat([views, point[:, None]], 1).to(device, torch.float32).contiguous()


@cache
def _lines(beam: Beam, materials: tuple[str, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    weights, attenuation = beam.compressed(materials)
    return weights.to(device, torch.float32), attenuation.to(device, torch.float32).contiguous()
