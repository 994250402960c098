"""Measuring a registration: errors of a pose against the truth, and likeness of two images."""

from xrcore.metrics.likeness import css, ncc, ssim
from xrcore.metrics.pose_error import mpd, mtre, pose_error, success_rate

__all__ = ["css", "mpd", "mtre", "ncc", "pose_error", "ssim", "success_rate"]
