"""The methods by name; each is loaded when it is asked for."""

from __future__ import annotations

from importlib import import_module

from xrcore._util.errors import XrcoreError
from xrcore.learning.methods.base import Method, Prediction
from xrcore.learning.methods.batch import Batch
from xrcore.learning.settings import METHODS

__all__ = ["METHODS", "Batch", "Method", "Prediction", "method_named"]


def method_named(name: str) -> type[Method]:
    """Return the class of a method.

    Parameters
    ----------
    name : str
        One of `METHODS`.

    Returns
    -------
    type[Method]
        To be made with the settings of a training.

    Raises
    ------
    XrcoreError
        For another name.
    """
    if name not in METHODS:
        raise XrcoreError(f"unknown method {name!r}; choose from {', '.join(METHODS)}")
    module, kind = METHODS[name].split(":")
    return getattr(import_module(f"xrcore.learning.methods.{module}"), kind)
