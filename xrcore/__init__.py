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
    from xrcore.registration.events import Stage, Step, StopReason
    from xrcore.registration.joint_problem import View
    from xrcore.registration.multi_view import register_views
    from xrcore.registration.pipeline import register, register_steps
    from xrcore.registration.refinement import refine, refine_steps
    from xrcore.registration.result import Evidence, Registration
    from xrcore.registration.search import SearchBox
    from xrcore.registration.settings import Level, RefinementSettings
    from xrcore.registration.solvers.adam import Adam
    from xrcore.registration.solvers.cma_es import CMAES
    from xrcore.registration.solvers.gauss_newton import GaussNewton
    from xrcore.registration.solvers.lbfgs import LBFGS
    from xrcore.registration.solvers.powell import Powell
    from xrcore.registration.view_pyramid import ViewLevel, ViewSettings
    from xrcore.renderer import render, render_with_jacobian
    from xrcore.simulation import Acquisition, simulate
    from xrcore.xray import Xray, read_carm, read_xray, write_carm, write_xray

__version__ = "0.1.0"

logging.getLogger("xrcore").addHandler(logging.NullHandler())

# Where each public name lives. They load when first used, because torch and numba take seconds that `xrcore --help` need not wait.
_HOME = {
    "Acquisition": "xrcore.simulation",
    "Adam": "xrcore.registration.solvers.adam",
    "Architecture": "xrcore.learning.networks",
    "Beam": "xrcore.beam",
    "CArm": "xrcore.geometry",
    "CMAES": "xrcore.registration.solvers.cma_es",
    "Evidence": "xrcore.registration.result",
    "GaussNewton": "xrcore.registration.solvers.gauss_newton",
    "LBFGS": "xrcore.registration.solvers.lbfgs",
    "Level": "xrcore.registration.settings",
    "Pose": "xrcore.geometry",
    "PoseRegressor": "xrcore.learning.models",
    "Powell": "xrcore.registration.solvers.powell",
    "read_carm": "xrcore.xray",
    "read_ct": "xrcore.ct",
    "read_xray": "xrcore.xray",
    "refine": "xrcore.registration.refinement",
    "refine_steps": "xrcore.registration.refinement",
    "RefinementSettings": "xrcore.registration.settings",
    "register": "xrcore.registration.pipeline",
    "register_steps": "xrcore.registration.pipeline",
    "register_views": "xrcore.registration.multi_view",
    "Registration": "xrcore.registration.result",
    "render": "xrcore.renderer",
    "render_with_jacobian": "xrcore.renderer",
    "SearchBox": "xrcore.registration.search",
    "simulate": "xrcore.simulation",
    "Stage": "xrcore.registration.events",
    "Step": "xrcore.registration.events",
    "StopReason": "xrcore.registration.events",
    "train": "xrcore.learning.training",
    "TrainingSettings": "xrcore.learning.settings",
    "View": "xrcore.registration.joint_problem",
    "ViewLevel": "xrcore.registration.view_pyramid",
    "ViewSettings": "xrcore.registration.view_pyramid",
    "Volume": "xrcore.ct",
    "write_carm": "xrcore.xray",
    "write_xray": "xrcore.xray",
    "Xray": "xrcore.xray",
    "XrcoreError": "xrcore._util.errors",
}
_MODULES = ("figures", "metrics", "phantom")

__all__ = [
    "CMAES",
    "LBFGS",
    "Acquisition",
    "Adam",
    "Architecture",
    "Beam",
    "CArm",
    "Evidence",
    "GaussNewton",
    "Level",
    "Pose",
    "PoseRegressor",
    "Powell",
    "RefinementSettings",
    "Registration",
    "SearchBox",
    "Stage",
    "Step",
    "StopReason",
    "TrainingSettings",
    "View",
    "ViewLevel",
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
    "refine_steps",
    "register",
    "register_steps",
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
