"""Trained models: a network with the CT and geometry it was trained for."""

from xrcore.learning.models.regressor import PoseRegressor

__all__ = ["PoseRegressor"]
