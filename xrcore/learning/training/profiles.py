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
