"""Training: DRRs on the fly, the incremental schemes, checkpoints, and the loop."""

from xrcore.training.profiles import PROFILES, profile
from xrcore.training.settings import TrainingSettings

__all__ = ["PROFILES", "TrainingSettings", "profile"]
