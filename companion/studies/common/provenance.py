"""Provenance of a result: commit, seed, machine, minutes."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

from xrcore.utilities import atomic_file, describe_machine, package_versions, read_json

_PACKAGES = ("efficientnet-pytorch", "numba", "numpy", "SimpleITK", "torch")
_CODE = ("xrcore", "companion", "workflow")  # what a result depends on


def origin(root: Path, *, seed: int, minutes: float, **more: Any) -> dict[str, Any]:
    """Describe where a result comes from.

    Parameters
    ----------
    root : Path
        The repository.
    seed : int
        Of the result.
    minutes : float
        That it took.
    **more : object
        Further entries of the description.

    Returns
    -------
    dict
        As given, and: commit of `root`, None outside a repository; uncommitted, whether the code differed from it; machine, versions,
        when it was finished.
    """
    return {
        "commit": _git(root, "rev-parse", "HEAD"),
        "uncommitted": bool(_git(root, "status", "--porcelain", "--", *_CODE)),
        "seed": seed,
        "minutes": round(minutes, 2),
        "machine": describe_machine(),
        "versions": package_versions(*_PACKAGES),
        "finished": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        **more,
    }


def write(path: Path, record: dict[str, Any]) -> None:
    """Write a description as JSON, atomically.

    Parameters
    ----------
    path : Path
        Of the .json; its folder is made.
    record : dict
        Such as of `origin`.
    """
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def is_of(path: Path, setup: str) -> bool:
    """Return whether a description is there, and is of a setup.

    Parameters
    ----------
    path : Path
        Of the .json.
    setup : str
        The digest of what its result depends on.

    Returns
    -------
    bool
        False where the result must be made.
    """
    return path.exists() and read_json(path).get("setup") == setup


def _git(root: Path, *arguments: str) -> str | None:
    try:
        answer = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None
