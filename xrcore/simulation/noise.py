"""Quantum and electronic noise of an exposure."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from xrcore.simulation.acquisition import MOST_PHOTONS, Acquisition

SHADOW = math.exp(-0.1)  # transmitted share below which a pixel counts as behind the patient
FAINTEST = 1e-30  # share that stands for less in logarithms and quotients


def count_photons(intensity: Float[NDArray, "H W"], settings: Acquisition, generator: np.random.Generator) -> Float[NDArray, "H W"]:
    """Attenuation image -log(I / I0) of the photons counted; counts are clamped to at least 1."""
    if settings.photons is None:
        return -np.log(np.maximum(intensity, FAINTEST))
    shadow = intensity[intensity < SHADOW]
    needed = settings.exposure_control / max(float(np.median(shadow)), FAINTEST) if shadow.size else 0.0
    photons = max(settings.photons, min(needed, MOST_PHOTONS))
    counts = generator.poisson(intensity * photons) + generator.normal(0.0, settings.electronic_noise, intensity.shape)
    return -np.log(np.maximum(counts, 1.0) / photons)
