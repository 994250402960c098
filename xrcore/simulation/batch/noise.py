"""Quantum and electronic noise of a batch of images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from xrcore.simulation.batch import launches
from xrcore.simulation.batch.random_numbers import poisson, uniforms


def detect(
    intensity: Float[Tensor, "B H W"], photons: Float[Tensor, "B 1 1"], electronic: Float[Tensor, "B 1 1"], seeds: Sequence[int]
) -> Float[Tensor, "B H W"]:
    """Attenuation images of the photons counted; counts are clamped to at least 1.

    photons: of a pixel without a patient, 0 for no noise. electronic: standard deviation [photons]. Images of float32 on a GPU go through
    a kernel that does the same.
    """
    if launches.serves(intensity):
        return launches.detect(intensity, photons, electronic, seeds)
    for_quanta, for_electronics = uniforms(seeds, (intensity.shape[1], intensity.shape[2]), intensity)
    counts = poisson(intensity * photons, for_quanta) + electronic * torch.special.ndtri(for_electronics)
    noisy = -(counts.clamp_min(1.0) / torch.where(photons > 0, photons, 1.0)).log()
    return torch.where(photons > 0, noisy, -intensity.clamp_min(1e-30).log())
