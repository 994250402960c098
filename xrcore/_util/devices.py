"""Choose the device that work runs on, the CPU or a GPU."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
from contextlib import AbstractContextManager, nullcontext
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xrcore._util.device_memory import OUT_OF_MEMORY
from xrcore._util.errors import XrcoreError, shown
from xrcore._util.logs import log_once

AUTO = "auto"


def triton_installed() -> bool:
    """Check for the GPU renderer's compiler, which torch's CUDA builds for Linux bring.

    Returns
    -------
    bool
        Whether Triton is installed.
    """
    return importlib.util.find_spec("triton") is not None


def kernel_obstacle(device: torch.device) -> str:
    """Why the Triton kernels cannot run on this GPU, or an empty text."""
    if not triton_installed():
        return "Triton is not installed; pip install -e '.[gpu]'"
    try:
        return _launch_fails(device)
    except OUT_OF_MEMORY:  # which passes
        return "its memory is full"


@cache
def _launch_fails(device: torch.device) -> str:
    """Triton compiles with the machine's own C compiler, for GPUs it knows: whether all of that is there, a launch shows."""
    try:
        from xrcore._util.triton_check import launch

        launch(device)
    except OUT_OF_MEMORY:
        raise
    except subprocess.CalledProcessError:
        return "Triton cannot compile what it starts kernels with; it needs a C compiler and Python's headers (gcc, python3-dev)"
    except Exception as error:
        first = next(iter(str(error).splitlines()), "")
        return f"Triton cannot run a kernel there ({type(error).__name__}: {first})"
    return ""


def named_device(name: str | torch.device, work: str = "", *, always_log: bool = False) -> torch.device:
    """The device of that name; "auto" is a GPU with all that xrcore needs on it, or else the CPU.

    In a process of a team (torchrun) "cuda" is the one of its own. work: such as "training"; with it, "auto" logs in one line
    what was chosen and why: where there was a choice, once for each line; or always_log.
    Raises XrcoreError for another name, and where there is no such GPU. A torch.device is taken as it is, if it is there.
    """
    if name == AUTO:
        device, why = _chosen()
        if work and (always_log or torch.cuda.is_available()):
            log_once(f"{work} on {device_text(device)}" + (f" ({why})" if why else ""))
        return device
    if not isinstance(name, str | torch.device):
        raise XrcoreError(f"device must be a name or a torch.device, got {name!r}")
    if isinstance(name, str) and not re.fullmatch(r"cpu|cuda(:[0-9]+)?", name):
        raise XrcoreError(f"device {shown(name)}: not one of auto, cpu, cuda, cuda:0, cuda:1 and so on")
    if isinstance(name, str) and len(name) > len("cuda:99"):  # more than torch can count to
        raise XrcoreError(f"device {shown(name)}: not available here (there are not that many GPUs)")
    device = torch.device(name)
    if device.type == "cuda":
        if device.index is None and "LOCAL_RANK" in os.environ:
            device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        if not torch.cuda.is_available():
            raise XrcoreError(f"device {name!s}: not available here ({no_gpu()}); use cpu")
        if (device.index or 0) >= torch.cuda.device_count():
            raise XrcoreError(f"device {device!s}: not available here (GPUs are counted from 0, and there are {torch.cuda.device_count()})")
    return device


def no_gpu() -> str:
    """Explain why torch sees no GPU; only where it sees none.

    Returns
    -------
    str
        A few words for a message.
    """
    if torch.version.cuda is None:
        return "this PyTorch is a build without CUDA"
    return "torch sees no GPU: is one there, and its driver?"


def _chosen() -> tuple[torch.device, str]:
    """What "auto" means on this machine, and why it is not a GPU."""
    cpu = torch.device("cpu")
    if not torch.cuda.is_available():
        return cpu, no_gpu()
    gpu = named_device("cuda")
    why = kernel_obstacle(gpu)
    return (cpu, f"a GPU is there, but {why}") if why else (gpu, "")


def device_text(device: torch.device) -> str:
    """Such as "cuda (NVIDIA H100), rendering included" or "the CPU, 4 threads"."""
    if device.type == "cpu":
        threads = torch.get_num_threads()
        return f"the CPU, {threads} thread{'s' if threads > 1 else ''}"
    name = f" ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else ""
    return f"{device}{name}, rendering included"


def on(device: torch.device) -> AbstractContextManager[object]:
    """Make a GPU the current one, which events, generators and kernels of Triton go to; nothing for others."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def on_device(table: NDArray, device: torch.device) -> Tensor:
    """Transfer a small table from the CPU to a device without synchronisation.

    `torch.tensor(..., device=...)` and a plain `.to` wait until all work under way on a GPU is done, and a copy from ordinary memory may.
    From pinned memory it is put in the queue; torch keeps that memory until it was read.
    """
    here = torch.from_numpy(np.ascontiguousarray(table))
    return (_pinned(here) if device.type == "cuda" else here).to(device, non_blocking=True)


def _pinned(tensor: Tensor) -> Tensor:
    return tensor.pin_memory()
