"""Training: DRRs on the fly, the incremental schemes, checkpoints, and the loop."""

from xrcore.learning.settings import TrainingSettings
from xrcore.learning.training.loop import TrainingStep, train, training_steps
from xrcore.learning.training.profiles import PROFILES, fine_tuning, profile
from xrcore.learning.training.start_models import shipped_start_model, train_start

__all__ = [
    "PROFILES",
    "TrainingSettings",
    "TrainingStep",
    "fine_tuning",
    "profile",
    "shipped_start_model",
    "train",
    "train_start",
    "training_steps",
]
