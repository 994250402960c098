"""The fast renderer for CPUs: fused numba kernels, one pass for image and pose Jacobian.

Bands of image rows are dealt to as many threads as torch uses (`torch.set_num_threads`, OMP_NUM_THREADS).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from xrcore._util.logs import logger
from xrcore._util.threads import rendering_threads
from xrcore._util.worker_pools import worker_pool
from xrcore.beam import Beam
from xrcore.ct.volume import Volume
from xrcore.geometry import CArm, Pose
from xrcore.renderer.cpu import kernels
from xrcore.renderer.packing import pack, padded_voxel_from_world

_WORTH_A_THREAD = 1 << 18  # samples; below it, handing work over costs more than it saves


def render(
    volume: Volume, carm: CArm, pose: Pose, beam: Beam, *, with_jacobian: bool
) -> tuple[Float[Tensor, "B H W"], Float[Tensor, "B H W 6"] | None]:
    """Attenuation images, and their Jacobian by the six pose numbers [1/deg, 1/mm] if asked for; float32."""
    packed = pack(volume)
    words_zyx, words_zxy = (words.numpy().view(np.uint32) for words in (packed.words_zyx, packed.words_zxy))
    size, scale, occupied = np.array(packed.size), packed.scale.numpy(), packed.occupied.numpy()
    pose = pose.detach()
    weights, attenuation = _lines(beam, volume.materials)
    views = (padded_voxel_from_world(volume) @ pose.world_from_camera(carm, volume.isocenter))[:, :3].contiguous().numpy()
    twists = pose.twists(carm).contiguous().numpy() if with_jacobian else np.zeros((len(pose), 6, 6))
    camera = np.array([*carm.focal_lengths[::-1], *carm.center[::-1], carm.source_to_detector, *carm.source_steps[::-1]])
    image = torch.empty(len(pose), *carm.shape, dtype=torch.float32)
    jacobian = torch.empty(*(image.shape if with_jacobian else (0, 0, 0)), 6, dtype=torch.float32)

    def work(first: int, step: int) -> None:
        kernels.render_bands(
            words_zyx,
            words_zxy,
            size,
            scale,
            occupied,
            views,
            twists,
            camera,
            weights,
            attenuation,
            first,
            step,
            with_jacobian,
            image.numpy(),
            jacobian.numpy(),
        )

    announce_compilation()
    threads = rendering_threads()
    samples = image.numel() * max(volume.shape)
    if threads == 1 or samples < _WORTH_A_THREAD:
        work(0, 1)
    else:
        # dealing bands out like cards evens the load without a queue
        list(worker_pool("render", threads).map(lambda i: work(i, threads), range(threads)))
    return image, jacobian if with_jacobian else None


@cache
def _lines(beam: Beam, materials: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    weights, attenuation = beam.compressed(materials)
    return np.asarray(weights, np.float32), np.ascontiguousarray(attenuation, np.float32)


@cache
def announce_compilation() -> None:
    """Log once that the first call compiles, unless a compiled kernel lies in numba's disk cache."""
    folder = kernels.render_bands.stats.cache_path  # type: ignore[attr-defined]
    if folder is None:
        logger.info("compiling the CPU renderer (about 15 s) ...")
        return
    written = Path(kernels.__file__).stat().st_mtime
    if not any(index.stat().st_mtime > written for index in Path(folder).glob(f"kernels.{kernels.render_bands.__qualname__}-*.nbi")):
        logger.info("compiling the CPU renderer, once on this machine (about 15 s) ...")
