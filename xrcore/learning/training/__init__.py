"""Training: DRRs on the fly, the incremental schemes, checkpoints, and the loop."""

from xrcore.learning.training.profiles import PROFILES, profile
from xrcore.learning.training.settings import TrainingSettings

__all__ = ["PROFILES", "TrainingSettings", "profile"]
