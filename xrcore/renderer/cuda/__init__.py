"""The fast renderer for GPUs: one fused Triton kernel for image and pose Jacobian, for any number of views at once.

Under Triton's interpreter (TRITON_INTERPRET=1, set before the first import) the same kernel runs on CPU tensors, slowly: that is how it is
tested where there is no GPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, Int32
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from xrcore._util.devices import on, on_device
from xrcore._util.errors import XrcoreError
from xrcore.beam import Beam
from xrcore.ct.volume import Volume
from xrcore.geometry import CArm, Pose
from xrcore.renderer.packing import BLOCK, pack, padded_voxel_from_world

TILE = (8, 8)  # pixels a program renders
WARPS = 2
UNROLL = 4  # slices whose reads are under way together
STRIDE = 6  # slices between two looks at the occupancy map; half of it and one for the bilinear neighbour must be less than a block


def render(
    volume: Volume, carm: CArm, pose: Pose, beam: Beam | Sequence[Beam], *, with_jacobian: bool
) -> tuple[Float[Tensor, "B H W"], Float[Tensor, "B H W 6"] | None]:
    """Attenuation images, and their Jacobian by the six pose numbers [1/deg, 1/mm] if asked for; float32, on the volume's device.

    beam: of all poses, or one of each.
    """
    pose = pose.detach()
    views = views_of(volume, carm, pose.world_from_camera(carm, volume.isocenter))
    twists = on_device(pose.twists(carm).float().numpy(), volume.device) if with_jacobian else None
    return render_views(volume, carm, views, twists, beam)


def views_of(volume: Volume, carm: CArm, world_from_camera: Float[Tensor, "B 4 4"]) -> Float[Tensor, "B 5 3"]:
    """Cameras in the layout of the kernel, float32, on the volume's device.

    In padded voxels: what one mm along each camera axis is, the source, and the camera axis' point at the isocentre's depth, where single
    precision counts from.
    """
    views = (padded_voxel_from_world(volume) @ world_from_camera)[:, :3].mT
    point = views[:, 3] + carm.source_to_isocenter * views[:, 2]
    return on_device(torch.cat([views, point[:, None]], 1).float().numpy(), volume.device)


def render_views(
    volume: Volume, carm: CArm, views: Float[Tensor, "B 5 3"], twists: Float[Tensor, "B 6 6"] | None, beam: Beam | Sequence[Beam]
) -> tuple[Float[Tensor, "B H W"], Float[Tensor, "B H W 6"] | None]:
    """`render` for cameras that are on the device already; without synchronisation once the volume is packed.

    twists: columns are camera-frame twists [mm, rad]; the Jacobian is by their coefficients. Both float32 and contiguous.
    """
    from xrcore.renderer.cuda import kernel

    device = volume.device
    packed = pack(volume)
    if len(packed.words) >= 2**31:
        raise XrcoreError(f"Volume: {volume} is too large for the GPU renderer; read it at a coarser spacing")
    batch, (rows, cols) = len(views), carm.shape
    beams = (beam,) if isinstance(beam, Beam) else tuple(dict.fromkeys(beam))
    weights, attenuation = _lines(beams, volume.materials, device)
    which = _indices((0,) * batch if isinstance(beam, Beam) else tuple(map(beams.index, beam)), device)
    image = torch.empty((batch, rows, cols), dtype=torch.float32, device=device)
    jacobian = None if twists is None else torch.empty((batch, 6, rows, cols), dtype=torch.float32, device=device)
    programs = batch * -(-rows // TILE[0]) * -(-cols // TILE[1])
    with on(device):
        kernel.render[(programs,)](
            packed.words,
            packed.occupied,
            packed.scale,
            views,
            views if twists is None else twists,
            weights,
            attenuation,
            which,
            image,
            image if jacobian is None else jacobian,
            *packed.size,
            rows,
            cols,
            *carm.focal_lengths[::-1],
            *carm.center[::-1],
            *carm.source_steps[::-1],
            carm.source_to_isocenter,
            carm.source_to_detector,
            weights.shape[1],
            MATERIALS=len(volume.materials),
            PLANES=packed.planes,
            JACOBIAN=jacobian is not None,
            TILE_ROWS=TILE[0],
            TILE_COLS=TILE[1],
            BLOCK=BLOCK,
            STRIDE=STRIDE,
            UNROLL=UNROLL,
            num_warps=WARPS,
            enable_fp_fusion=True,
        )
    return image, None if jacobian is None else jacobian.permute(0, 2, 3, 1)


@lru_cache(maxsize=64)
def _lines(beams: tuple[Beam, ...], materials: tuple[str, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """Weights (b, n) and attenuation (b, n, M) of the beams' lines; of beams with fewer the last weigh nothing."""
    lines = zip(*(beam.compressed(materials) for beam in beams), strict=True)
    weights, attenuation = (on_device(pad_sequence(list(part), batch_first=True).float().numpy(), device) for part in lines)
    return weights, attenuation


@lru_cache(maxsize=64)
def _indices(indices: tuple[int, ...], device: torch.device) -> Int32[Tensor, " n"]:
    """On the device; kept, because a refinement asks for the same ones again and again."""
    return on_device(np.array(indices, dtype=np.int32), device)
