"""Launch the kernels of noise and rods on a GPU."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from xrcore._util.devices import kernel_obstacle, on, on_device
from xrcore.geometry import CArm

LANES = 128  # pixels of a program
WARPS = 4


def serves(images: Tensor) -> bool:
    """Whether the kernels apply to these images: float32 on a GPU with Triton."""
    return images.device.type == "cuda" and images.dtype == torch.float32 and not kernel_obstacle(images.device)


def detect(
    intensity: Float[Tensor, "B H W"], photons: Float[Tensor, "B 1 1"], electronic: Float[Tensor, "B 1 1"], seeds: Sequence[int]
) -> Float[Tensor, "B H W"]:
    """As `noise.detect`, by the kernel, float32."""
    from xrcore.simulation.batch import kernels

    intensity = intensity.contiguous()
    out = torch.empty_like(intensity)
    keys = on_device(np.array(seeds, dtype=np.uint64).view(np.int64), intensity.device)
    pixels = intensity[0].numel()
    blocks = -(-pixels // LANES)
    with on(intensity.device):
        kernels.detect[(len(intensity) * blocks,)](
            intensity, photons.contiguous(), electronic.contiguous(), keys, out, pixels, blocks, LANES=LANES, num_warps=WARPS
        )
    return out


def shade(
    intensity: Float[Tensor, "B H W"], carm: CArm, chosen: Sequence[int], rods: Float[NDArray, "n 8"], spectra: Float[NDArray, "2 n E"]
) -> Float[Tensor, "B H W"]:
    """The intensities behind rods, float32.

    rods: tip, axis, length and radius of the rod in each chosen image. spectra: weights, and attenuation by length [1/mm].
    """
    from xrcore.simulation.batch import kernels

    images, device = intensity.clone(memory_format=torch.contiguous_format), intensity.device
    rows, cols = carm.shape
    (row, col), steps = carm.center, [s / carm.source_to_detector for s in carm.spacing]
    lines = np.array([-col * steps[1], steps[1], -row * steps[0], steps[0]])
    blocks = -(-rows * cols // LANES)
    with on(device):
        kernels.shade[(len(chosen) * blocks,)](
            images,
            on_device(np.array(chosen, dtype=np.int64), device),
            on_device(rods, device),
            on_device(spectra.astype(np.float32), device),
            rows,
            cols,
            blocks,
            spectra.shape[2],
            on_device(lines, device),
            LANES=LANES,
            num_warps=WARPS,
        )
    return images
