"""Widgets for notebooks: each is usable alone in three lines, and several can share one state.

    import xrcore as xr
    from xrcore.widgets import PoseExplorer
    PoseExplorer(xr.phantom.pelvis())

State (`PoseState`, `Session`) knows no widget; widgets observe a state and change it. They need the extra `notebooks`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from xrcore._util.errors import XrcoreError

if TYPE_CHECKING:
    from xrcore.widgets.attention import AttentionViewer
    from xrcore.widgets.cockpit import RegistrationCockpit
    from xrcore.widgets.explorer import PoseExplorer
    from xrcore.widgets.landscape import LandscapeViewer
    from xrcore.widgets.scene import CArmScene
    from xrcore.widgets.session import Session
    from xrcore.widgets.state import PoseState
    from xrcore.widgets.volume_sources import PHANTOMS, BuiltInPhantom, CtFile, VolumeSource

# Where each lives; they load when first used, so that one widget does not ask for what only another needs.
_HOME = {
    "AttentionViewer": "attention",
    "BuiltInPhantom": "volume_sources",
    "CArmScene": "scene",
    "CtFile": "volume_sources",
    "LandscapeViewer": "landscape",
    "PHANTOMS": "volume_sources",
    "PoseExplorer": "explorer",
    "RegistrationCockpit": "cockpit",
    "Session": "session",
    "PoseState": "state",
    "VolumeSource": "volume_sources",
}

__all__ = [
    "PHANTOMS",
    "AttentionViewer",
    "BuiltInPhantom",
    "CArmScene",
    "CtFile",
    "LandscapeViewer",
    "PoseExplorer",
    "PoseState",
    "RegistrationCockpit",
    "Session",
    "VolumeSource",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("xrcore"):
            raise
        raise XrcoreError(
            f"{name} needs the package {error.name}; install xrcore with its notebooks: pip install 'xrcore[notebooks]'"
        ) from None


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
