"""xrcore: find where an X-ray was taken from, given the patient's CT."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xrcore import experiments, figures, metrics, phantom
    from xrcore.beam import Beam
    from xrcore.ct import Volume, read_ct
    from xrcore.errors import XrcoreError
    from xrcore.geometry import CArm, Pose
    from xrcore.models import PoseRegressor
    from xrcore.networks import Architecture
    from xrcore.refinement.multistart import SearchBox
    from xrcore.refinement.refine import refine
    from xrcore.refinement.result import Evidence, Registration
    from xrcore.refinement.settings import Level, Settings
    from xrcore.refinement.views import View, ViewSettings, register_views
    from xrcore.registration import register
    from xrcore.renderer import render, render_with_jacobian
    from xrcore.simulate import Acquisition, simulate
    from xrcore.training.settings import TrainingSettings
    from xrcore.training.train import train
    from xrcore.xray import Xray, read_carm, read_xray, write_carm, write_xray

__version__ = "0.1.0"

# Where each public name lives. They load when first used, because torch and numba take seconds that `xrcore --help` need not wait.
_HOME = {
    "Acquisition": "xrcore.simulate",
    "Architecture": "xrcore.networks",
    "Beam": "xrcore.beam",
    "CArm": "xrcore.geometry",
    "Pose": "xrcore.geometry",
    "Evidence": "xrcore.refinement.result",
    "Level": "xrcore.refinement.settings",
    "PoseRegressor": "xrcore.models",
    "Registration": "xrcore.refinement.result",
    "SearchBox": "xrcore.refinement.multistart",
    "refine": "xrcore.refinement.refine",
    "Settings": "xrcore.refinement.settings",
    "TrainingSettings": "xrcore.training",
    "View": "xrcore.refinement.views",
    "ViewSettings": "xrcore.refinement.views",
    "Volume": "xrcore.ct",
    "Xray": "xrcore.xray",
    "XrcoreError": "xrcore.errors",
    "read_carm": "xrcore.xray",
    "read_ct": "xrcore.ct",
    "read_xray": "xrcore.xray",
    "register": "xrcore.registration",
    "register_views": "xrcore.refinement.views",
    "render": "xrcore.renderer",
    "render_with_jacobian": "xrcore.renderer",
    "simulate": "xrcore.simulate",
    "train": "xrcore.training.train",
    "write_carm": "xrcore.xray",
    "write_xray": "xrcore.xray",
}
_MODULES = ("experiments", "figures", "metrics", "phantom")

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
    "experiments",
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


class _Package(ModuleType):
    """Importing the package `xrcore.simulate` must not hide the function of that name."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOME and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
