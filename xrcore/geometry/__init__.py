"""All imaging geometry is expressed by CArm and Pose."""

from xrcore.geometry import rigid
from xrcore.geometry.carm import CArm
from xrcore.geometry.pose import NAMES as POSE_NAMES
from xrcore.geometry.pose import Pose
from xrcore.geometry.presets import PAPER_CARM
from xrcore.geometry.rays import camera_rays

__all__ = ["PAPER_CARM", "POSE_NAMES", "CArm", "Pose", "camera_rays", "rigid"]
