"""From the intensity behind the patient to what the file holds: the steps of an acquisition that do not need the patient."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from xrcore.geometry import CArm
from xrcore.simulation import detector
from xrcore.simulation.acquisition import Acquisition


def expose(
    primary: Float[NDArray, "H W"], carm: CArm, settings: Acquisition, generator: np.random.Generator
) -> tuple[Float[NDArray, "H W"], Bool[NDArray, "H W"]]:
    """Grey values and the field of view, for the share of intensity that passed: scatter, blur, noise, grey levels, in this order."""
    intensity = detector.blurred(detector.with_scatter(primary, carm, settings), carm, settings)
    seen = detector.field_of_view(carm, settings)
    return detector.displayed(detector.counted(intensity, settings, generator), seen, settings), seen
