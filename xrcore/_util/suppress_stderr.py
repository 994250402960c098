"""Suppress what libraries write to the terminal past our messages."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import SimpleITK as sitk

_lock = threading.Lock()
_depth = 0
_undo = ExitStack()


@contextmanager
def suppress_library_output() -> Iterator[None]:
    """Suppress Python's warnings, and what ITK and the C libraries behind it (libjpeg, libtiff) write to standard error.

    Both belong to the whole process, so blocks of several threads share one suppression, from the first that begins to the last that ends.
    Keep the block short.
    """
    global _depth
    with _lock:
        if _depth == 0:
            _begin()
        _depth += 1
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            if _depth == 0:
                _undo.close()


def _begin() -> None:
    _undo.enter_context(warnings.catch_warnings())
    warnings.simplefilter("ignore")
    _undo.callback(sitk.ProcessObject.SetGlobalWarningDisplay, sitk.ProcessObject.GetGlobalWarningDisplay())
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        kept = os.dup(2)
    except OSError:  # there is no standard error
        return
    _undo.callback(os.close, kept)
    _undo.callback(os.dup2, kept, 2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
