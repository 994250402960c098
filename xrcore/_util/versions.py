"""What wrote a file: the versions that its numbers depend on."""

from __future__ import annotations

import platform
from importlib.metadata import version

import xrcore


def versions(*packages: str) -> dict[str, str]:
    """Of xrcore, Python and the packages."""
    return {"xrcore": xrcore.__version__, "python": platform.python_version()} | {name: version(name) for name in packages}
