"""The one exception a user is meant to read."""

from __future__ import annotations


class XrcoreError(ValueError):
    """Bad input: a one-line message saying what is wrong with what, and what to do.

    The command line prints the message and exits with code 2; no traceback.
    """

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows of it (IPython asks by this name): the one line."""
        return [f"xrcore: error: {self}"]


def require(owner: str, name: str, value: object, holds: bool, what: str) -> None:
    """Raise XrcoreError naming a field of settings that makes no sense, unless it `holds`."""
    if not holds:
        raise XrcoreError(f"{owner}: {name} must be {what}, got {value!r}")
