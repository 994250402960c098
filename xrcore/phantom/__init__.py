"""Procedural patients: the embedded default, and ground truth without a download."""

from xrcore.phantom.pelvis import pelvis, pelvis_hu, pelvis_labels, pelvis_landmarks

__all__ = ["pelvis", "pelvis_hu", "pelvis_labels", "pelvis_landmarks"]
