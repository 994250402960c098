"""The methods by name; each is loaded when it is asked for."""

from __future__ import annotations

from importlib import import_module

from xrcore._util.errors import XrcoreError
from xrcore.learning.methods.base import Method, Prediction

_HOME = {"psss": "Psss", "salehi": "Salehi", "grimm": "Grimm"}

METHODS = tuple(_HOME)

__all__ = ["METHODS", "Method", "Prediction", "method_named"]


def method_named(name: str) -> type[Method]:
    """The class of a method; raises XrcoreError for a name that is none."""
    if name not in _HOME:
        raise XrcoreError(f"unknown method {name!r}; choose from {', '.join(_HOME)}")
    return getattr(import_module(f"xrcore.learning.methods.{name}"), _HOME[name])
