"""All imaging geometry is expressed by CArm or SlotScan, and Pose."""

from xrcore.geometry import rigid
from xrcore.geometry.carm import CArm
from xrcore.geometry.pose import NAMES as POSE_NAMES
from xrcore.geometry.pose import Pose
from xrcore.geometry.presets import PAPER_CARM
from xrcore.geometry.rays import camera_rays, ray_origins, ray_twists
from xrcore.geometry.slot_scan import SlotScan, geometry_from_dict, require_pinhole

__all__ = [
    "PAPER_CARM",
    "POSE_NAMES",
    "CArm",
    "Pose",
    "SlotScan",
    "camera_rays",
    "geometry_from_dict",
    "ray_origins",
    "ray_twists",
    "require_pinhole",
    "rigid",
]
