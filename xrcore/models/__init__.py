"""Trained models: a network, and what it was trained for."""

from xrcore.models.regressor import PoseRegressor

__all__ = ["PoseRegressor"]
