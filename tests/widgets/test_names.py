"""The names of xrcore.widgets: listed, loaded when used, and what is said where a package is missing."""

from __future__ import annotations

import sys

import ipywidgets as ipw
import pytest
import support.small_pelvis  # noqa: F401  (skips where the widgets cannot be used)

import xrcore.widgets
from xrcore import XrcoreError
from xrcore.widgets import PoseExplorer


@pytest.mark.parametrize(
    ("name", "package", "home"),
    [
        ("PoseExplorer", "ipywidgets", "explorer"),
        ("PoseExplorer", "anywidget", "canvas"),
        ("CArmScene", "k3d", "scene"),
        ("CArmScene", "skimage", "scene"),
        ("Session", "traitlets", "state"),
        ("PoseState", "traitlets", "state"),
    ],
)
def test_a_missing_package_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch, name: str, package: str, home: str):
    for module in [module for module in sys.modules if module.startswith("xrcore.widgets.")]:
        monkeypatch.delitem(sys.modules, module)
    for module in [module for module in sys.modules if module == package or module.startswith(f"{package}.")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(XrcoreError, match=rf"{name} needs the package {package}.*xrcore\[notebooks\]") as error:
        getattr(xrcore.widgets, name)
    assert "\n" not in str(error.value)


def test_names_are_listed_and_others_are_not_there():
    assert set(xrcore.widgets.__all__) <= set(dir(xrcore.widgets))
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        xrcore.widgets.Nothing  # noqa: B018
    assert issubclass(PoseExplorer, ipw.VBox)
