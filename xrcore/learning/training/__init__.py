"""Training: DRRs on the fly, the incremental schemes, checkpoints, and the loop."""

from xrcore.learning.settings import TrainingSettings
from xrcore.learning.training.loop import TrainingStep, train, training_steps
from xrcore.learning.training.profiles import PROFILES, profile

__all__ = ["PROFILES", "TrainingSettings", "TrainingStep", "profile", "train", "training_steps"]
