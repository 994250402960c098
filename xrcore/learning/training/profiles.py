"""The named sizes of a training."""

from __future__ import annotations

from xrcore._util.errors import XrcoreError
from xrcore.learning.methods import method_named
from xrcore.learning.networks.architecture import Architecture
from xrcore.learning.settings import TrainingSettings

PROFILES = {
    # a network that has seen too little, for tests: every part runs, in seconds
    "smoke": TrainingSettings(
        architecture=Architecture(pixels=64, bottleneck=32, hidden=64, tokens=32), spacing=8.0, images=256, validation=16,
        validate_every=128, checkpoint_every=128,
    ),
    "laptop": TrainingSettings(),
    "paper": TrainingSettings(
        architecture=Architecture(pixels=256), acquired=False, spacing=2.0, images=480_000, batch=64, scheme="growing", set_size=40_000,
        validation=512, validate_every=40_000, checkpoint_every=40_000,
    ),
}  # fmt: skip

# of a training that begins with a start model
FINE_TUNING: dict[str, object] = {"images": 4_000, "batch": 8, "ema": 0.98, "validate_every": 1_000}


def fine_tuning(settings: TrainingSettings) -> TrainingSettings:
    """Return the settings of a training that begins with a start model: few images, small batches, a short average of the weights.

    Parameters
    ----------
    settings : TrainingSettings
        Of a training from scratch.

    Returns
    -------
    TrainingSettings
        Of the same network.

    Examples
    --------
    >>> from xrcore.learning import fine_tuning, profile
    >>> fine_tuning(profile("laptop")).images
    4000
    """
    return settings.changed(**FINE_TUNING)


def profile(name: str, method: str = "psss") -> TrainingSettings:
    """Return the settings of a profile, with what the method's authors do otherwise.

    Parameters
    ----------
    name : str
        "smoke", "laptop" or "paper".
    method : str
        As in `TrainingSettings`.

    Returns
    -------
    TrainingSettings
        To be trained with, or changed.

    Raises
    ------
    XrcoreError
        For a name that is none.
    """
    if name not in PROFILES:
        raise XrcoreError(f"unknown profile {name!r}; choose from {', '.join(PROFILES)}")
    return PROFILES[name].changed(**{"method": method, **method_named(method).defaults})
