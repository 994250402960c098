"""Find the pose of X-rays in a CT's space."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xrcore.registration.multi_view import View, ViewsRegistration, around, register_views, shadow
    from xrcore.registration.pipeline import Predictor, register
    from xrcore.registration.refinement import refine
    from xrcore.registration.result import Registration
    from xrcore.registration.settings import Settings, settings_for

# where each is; loaded when first used
_HOME = {
    "Predictor": "pipeline",
    "Registration": "result",
    "Settings": "settings",
    "View": "multi_view",
    "ViewsRegistration": "multi_view",
    "around": "multi_view",
    "refine": "refinement",
    "register": "pipeline",
    "register_views": "multi_view",
    "settings_for": "settings",
    "shadow": "multi_view",
}

__all__ = [
    "Predictor",
    "Registration",
    "Settings",
    "View",
    "ViewsRegistration",
    "around",
    "refine",
    "register",
    "register_views",
    "settings_for",
    "shadow",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
