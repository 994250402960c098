"""Describe the machine, and the versions of packages, that numbers depend on."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

_PACKAGES = ("xrcore", "torch", "numba", "numpy", "itk-rtk", "nanodrr")


def describe_machine() -> dict[str, Any]:
    """Describe the machine that this program runs on.

    Returns
    -------
    dict
        "cpu", "cores" this program may use, "threads" torch does use, "memory_gb", "system", "python", versions of "packages" and the
        "load" before the run; where torch sees a GPU also "gpu": its name, memory, driver, and the versions of CUDA, torch and Triton.
    """
    described = {
        "cpu": _cpu(),
        "cores": available_cores(),
        "threads": torch.get_num_threads(),
        "memory_gb": _memory_gb(),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "packages": {name: v for name in _PACKAGES if (v := _version(name))},
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }
    return described | ({"gpu": _gpu()} if torch.cuda.is_available() else {})


def available_cores() -> int:
    """Count the cores that this program may use.

    Returns
    -------
    int
        Those of its affinity mask where the system has one, else all.
    """
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine_text(machine: dict[str, Any]) -> str:
    """Format a machine's description for readers.

    Parameters
    ----------
    machine : dict
        What `describe_machine` returned.

    Returns
    -------
    str
        One line; one more for its GPU, and one where other programs were running.
    """
    text = f"{machine['cpu']}, {machine['cores']} cores, {machine['threads']} threads, {machine['system']}, Python {machine['python']}"
    text += "".join(f", {name} {v}" for name, v in machine["packages"].items())
    if "gpu" in machine:
        text += f"\n{gpu_text(machine['gpu'])}"
    if machine["load"] is not None and machine["load"] > 0.3 * machine["cores"]:
        text += f"\nOther programs were running (load {machine['load']:.1f} on {machine['cores']} cores), so these times are too long."
    return text


def package_versions(*packages: str) -> dict[str, str]:
    """Look up what wrote a file.

    Parameters
    ----------
    *packages : str
        Names of installed packages.

    Returns
    -------
    dict
        Versions of "xrcore", "python" and the packages.
    """
    return {"xrcore": version("xrcore"), "python": platform.python_version()} | {name: version(name) for name in packages}


def gpu_text(gpu: dict[str, Any]) -> str:
    """Format a GPU's description on one line.

    Parameters
    ----------
    gpu : dict
        "gpu" of what `describe_machine` returned.

    Returns
    -------
    str
        Name, memory and versions; what is not known is left out.
    """
    named = {"driver": "driver", "CUDA": "cuda", "torch": "torch", "Triton": "triton"}
    known = [f"{name} {gpu[key]}" for name, key in named.items() if gpu[key]]
    return f"{gpu['name']} ({gpu['memory_gb']:g} GB), {', '.join(known)}"


def _gpu() -> dict[str, Any]:
    index = torch.cuda.current_device()
    seen = torch.cuda.get_device_properties(index)
    return {
        "name": seen.name,
        "memory_gb": round(seen.total_memory / 1e9, 1),
        "capability": f"{seen.major}.{seen.minor}",
        "driver": _driver(),
        "cuda": torch.version.cuda,
        "torch": torch.__version__,
        "triton": _version("triton"),
    }


def _driver() -> str | None:
    """NVIDIA's, which torch does not tell."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return next(iter(answer.split()), None)


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
