"""Trained models: a network, and what it was trained for."""

from xrcore.learning.models.regressor import PoseRegressor

__all__ = ["PoseRegressor"]
