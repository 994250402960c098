"""xrcore: find where an X-ray was taken from, given the patient's CT."""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xrcore import figures, metrics, phantom
    from xrcore._util.errors import XrcoreError
    from xrcore.beam import Beam
    from xrcore.ct import Volume, read_ct
    from xrcore.geometry import CArm, Pose
    from xrcore.learning.models import PoseRegressor
    from xrcore.learning.networks import Architecture
    from xrcore.learning.settings import TrainingSettings
    from xrcore.learning.training import train
    from xrcore.registration.multi_view import View, ViewSettings, register_views
    from xrcore.registration.pipeline import register
    from xrcore.registration.refinement import refine
    from xrcore.registration.result import Evidence, Registration
    from xrcore.registration.search import SearchBox
    from xrcore.registration.settings import Level, Settings
    from xrcore.renderer import render, render_with_jacobian
    from xrcore.simulation import Acquisition, simulate
    from xrcore.xray import Xray, read_carm, read_xray, write_carm, write_xray

__version__ = "0.1.0"

logging.getLogger("xrcore").addHandler(logging.NullHandler())

# Where each public name lives. They load when first used, because torch and numba take seconds that `xrcore --help` need not wait.
_HOME = {
    "Acquisition": "xrcore.simulation",
    "Architecture": "xrcore.learning.networks",
    "Beam": "xrcore.beam",
    "CArm": "xrcore.geometry",
    "Pose": "xrcore.geometry",
    "Evidence": "xrcore.registration.result",
    "Level": "xrcore.registration.settings",
    "PoseRegressor": "xrcore.learning.models",
    "Registration": "xrcore.registration.result",
    "SearchBox": "xrcore.registration.search",
    "refine": "xrcore.registration.refinement",
    "Settings": "xrcore.registration.settings",
    "TrainingSettings": "xrcore.learning.settings",
    "View": "xrcore.registration.multi_view",
    "ViewSettings": "xrcore.registration.multi_view",
    "Volume": "xrcore.ct",
    "Xray": "xrcore.xray",
    "XrcoreError": "xrcore._util.errors",
    "read_carm": "xrcore.xray",
    "read_ct": "xrcore.ct",
    "read_xray": "xrcore.xray",
    "register": "xrcore.registration.pipeline",
    "register_views": "xrcore.registration.multi_view",
    "render": "xrcore.renderer",
    "render_with_jacobian": "xrcore.renderer",
    "simulate": "xrcore.simulation",
    "train": "xrcore.learning.training",
    "write_carm": "xrcore.xray",
    "write_xray": "xrcore.xray",
}
_MODULES = ("figures", "metrics", "phantom")

__all__ = [
    "Acquisition",
    "Architecture",
    "Beam",
    "CArm",
    "Evidence",
    "Level",
    "Pose",
    "PoseRegressor",
    "Registration",
    "SearchBox",
    "Settings",
    "TrainingSettings",
    "View",
    "ViewSettings",
    "Volume",
    "Xray",
    "XrcoreError",
    "__version__",
    "figures",
    "metrics",
    "phantom",
    "read_carm",
    "read_ct",
    "read_xray",
    "refine",
    "register",
    "register_views",
    "render",
    "render_with_jacobian",
    "simulate",
    "train",
    "write_carm",
    "write_xray",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"xrcore.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'xrcore' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
