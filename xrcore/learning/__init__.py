"""Networks that predict a pose from an X-ray: architectures, methods, trained models, training."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xrcore.learning.models import PoseRegressor
    from xrcore.learning.networks import Architecture
    from xrcore.learning.settings import TrainingSettings
    from xrcore.learning.training import fine_tuning, profile, shipped_start_model, train, train_start

# loaded when first used: a registration needs a model, and none of what trains it
_HOME = {
    "Architecture": "xrcore.learning.networks",
    "PoseRegressor": "xrcore.learning.models",
    "TrainingSettings": "xrcore.learning.settings",
    "fine_tuning": "xrcore.learning.training",
    "profile": "xrcore.learning.training",
    "shipped_start_model": "xrcore.learning.training",
    "train": "xrcore.learning.training",
    "train_start": "xrcore.learning.training",
}

__all__ = [
    "Architecture",
    "PoseRegressor",
    "TrainingSettings",
    "fine_tuning",
    "profile",
    "shipped_start_model",
    "train",
    "train_start",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
