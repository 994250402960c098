"""The machine that the figures belong to."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

_PACKAGES = ("xrcore", "torch", "numba", "numpy", "itk-rtk", "nanodrr")


def describe() -> dict[str, Any]:
    """Processor, cores this program may use, threads it does use, memory [GB], system, versions, and load before the run."""
    return {
        "cpu": _cpu(),
        "cores": cores(),
        "threads": torch.get_num_threads(),
        "memory_gb": _memory_gb(),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "packages": {name: v for name in _PACKAGES if (v := _version(name))},
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_words(machine: dict[str, Any]) -> str:
    """One line, and a second where other programs were running."""
    text = f"{machine['cpu']}, {machine['cores']} cores, {machine['threads']} threads, {machine['system']}, Python {machine['python']}"
    text += "".join(f", {name} {v}" for name, v in machine["packages"].items())
    if machine["load"] is not None and machine["load"] > 0.3 * machine["cores"]:
        text += f"\nOther programs were running (load {machine['load']:.1f} on {machine['cores']} cores), so these times are too long."
    return text


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _memory_gb() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    except (AttributeError, OSError, ValueError):
        return None


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
