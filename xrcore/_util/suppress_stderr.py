"""Libraries that print to the terminal past Python."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import SimpleITK as sitk


@contextmanager
def silent_libraries() -> Iterator[None]:
    """Keep remarks of ITK and of the C libraries behind it (libjpeg, libtiff) off the terminal.

    They write to the process's standard error itself, so it is sent nowhere while the block runs; keep the block short.
    """
    shown = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        kept = os.dup(2)
    except OSError:  # there is no standard error
        kept = None
    try:
        if kept is not None:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 2)
            os.close(nowhere)
        yield
    finally:
        if kept is not None:
            os.dup2(kept, 2)
            os.close(kept)
        sitk.ProcessObject.SetGlobalWarningDisplay(shown)
