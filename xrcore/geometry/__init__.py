"""Geometry enters once, as `(CArm, Pose)`; no other module builds a rotation matrix."""

from xrcore.geometry import rigid
from xrcore.geometry.carm import CArm
from xrcore.geometry.pose import NAMES as POSE_NAMES
from xrcore.geometry.pose import Pose
from xrcore.geometry.presets import PAPER_CARM
from xrcore.geometry.rays import camera_rays

__all__ = ["PAPER_CARM", "POSE_NAMES", "CArm", "Pose", "camera_rays", "rigid"]
