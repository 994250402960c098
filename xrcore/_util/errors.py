"""XrcoreError, the error for users, and the checks that raise it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral, Real
from typing import TypeGuard


class XrcoreError(ValueError):
    """Bad input: a one-line message saying what is wrong with what, and what to do.

    The command line prints the message and exits with code 2; no traceback.
    """

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows of it (IPython asks by this name): the one line."""
        return [f"xrcore: error: {self}"]


def require(owner: str, name: str, value: object, holds: bool, what: str) -> None:
    """Check a parameter.

    Parameters
    ----------
    owner : str
        The function or class that the parameter belongs to.
    name : str
        The parameter's.
    value : object
        What was given.
    holds : bool
        Whether it makes sense.
    what : str
        What it must be, such as "a positive number".

    Raises
    ------
    XrcoreError
        "OWNER: NAME must be WHAT, got VALUE", unless it `holds`.
    """
    if not holds:
        raise XrcoreError(f"{owner}: {name} must be {what}, got {shown(value)}")


@contextmanager
def naming(what: str) -> Iterator[None]:
    """Put what an XrcoreError is about before its message, unless it is there."""
    try:
        yield
    except XrcoreError as error:
        if what in str(error):
            raise
        raise XrcoreError(f"{what}: {error}") from None


def shown(value: object) -> str:
    """Write a value into a message.

    Parameters
    ----------
    value : object
        Any.

    Returns
    -------
    str
        Its repr on one line, cut where it is long.
    """
    line = " ".join(repr(value).split())
    return line if len(line) <= 100 else f"{line[:97]}..."


def is_number(value: object) -> TypeGuard[float]:
    """Whether this is a finite real number, of Python or numpy; True and False are none."""
    try:
        return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # an integer beyond the floats
        return False


def is_whole(value: object) -> TypeGuard[int]:
    """Whether this is an integer, of Python or numpy; True and False are none."""
    return isinstance(value, Integral) and not isinstance(value, bool)
