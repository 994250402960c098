"""Measures of a registration: errors of a pose against the truth, and similarity of two images."""

from xrcore.metrics.image_measures import css, likeness, ncc, ssim, standardised
from xrcore.metrics.pose_measures import mpd, mtre, pose_error, success_rate

__all__ = ["css", "likeness", "mpd", "mtre", "ncc", "pose_error", "ssim", "standardised", "success_rate"]
