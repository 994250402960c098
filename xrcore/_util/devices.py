"""Where work runs: the processor or a GPU, said in one line, and smaller portions where its memory does not suffice."""

from __future__ import annotations

import importlib.util
import math
import os
import re
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xrcore._util.errors import XrcoreError

T = TypeVar("T")

AUTO = "auto"
OUT_OF_MEMORY: type[BaseException] = torch.cuda.OutOfMemoryError

_MARKS = 64  # pairs of events that a stopwatch keeps before it reads them

_said: set[str] = set()


def triton_installed() -> bool:
    """Whether the GPU renderer's compiler is there; torch's CUDA builds for Linux bring it."""
    return importlib.util.find_spec("triton") is not None


class NoRoomError(XrcoreError):
    """A device's memory does not suffice."""


def kernel_obstacle(device: torch.device) -> str:
    """Why our kernels cannot run on this GPU, or nothing."""
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


def named_device(name: str | torch.device, work: str = "", *, always_say: bool = False) -> torch.device:
    """The device of that name; "auto" is a GPU with all that xrcore needs on it, or else the processor.

    In a process of a team (torchrun) "cuda" is the one of its own. work: such as "training"; with it, "auto" says on stderr in one line
    what was chosen and why: where there was a choice, once for each line; or always_say.
    Raises XrcoreError for another name, and where there is no such GPU. A torch.device is taken as it is, if it is there.
    """
    if name == AUTO:
        device, why = _chosen()
        if work and (always_say or torch.cuda.is_available()):
            say_once(f"{work} on {in_words(device)}" + (f" ({why})" if why else ""))
        return device
    if not isinstance(name, str | torch.device):
        raise XrcoreError(f"device must be a name or a torch.device, got {name!r}")
    if isinstance(name, str) and not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise XrcoreError(f"device {name!r}: not one of auto, cpu, cuda, cuda:0, cuda:1 and so on")
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
    """Why torch sees no GPU."""
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


def in_words(device: torch.device) -> str:
    """Such as "cuda (NVIDIA H100), rendering included" or "the CPU, 4 threads"."""
    if device.type == "cpu":
        threads = torch.get_num_threads()
        return f"the CPU, {threads} thread{'s' if threads > 1 else ''}"
    name = f" ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else ""
    return f"{device}{name}, rendering included"


def say_once(line: str) -> None:
    """A remark on stderr, the first time it is made by this process."""
    if line not in _said:
        _said.add(line)
        print(f"xrcore: note: {line}", file=sys.stderr, flush=True)


def on(device: torch.device) -> AbstractContextManager[object]:
    """Make a GPU the current one, which events, generators and kernels of Triton go to; nothing for others."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def on_device(table: NDArray, device: torch.device) -> Tensor:
    """A small table of the processor's as a tensor there, without waiting.

    `torch.tensor(..., device=...)` and a plain `.to` wait until all work under way on a GPU is done, and a copy from ordinary memory may.
    From pinned memory it is put in the queue; torch keeps that memory until it was read.
    """
    here = torch.from_numpy(np.ascontiguousarray(table))
    return (_pinned(here) if device.type == "cuda" else here).to(device, non_blocking=True)


def _pinned(tensor: Tensor) -> Tensor:
    return tensor.pin_memory()


class Glance:
    """A question to a GPU, asked again and again, whose answer is of `LAG` questions ago: what was queued since is not waited for."""

    LAG = 2

    def __init__(self, device: torch.device) -> None:
        self._on_gpu = device.type == "cuda"
        self._under_way: deque[tuple[torch.cuda.Event | None, Tensor]] = deque()
        self._spare: list[Tensor] = []

    def all(self, flags: Tensor) -> bool:
        """Whether all flags (not zero) were set `LAG` questions ago; False before. The same shape and type each time."""
        copy = self._spare.pop() if self._spare else torch.empty(flags.shape, dtype=flags.dtype, pin_memory=self._on_gpu)
        copy.copy_(flags, non_blocking=True)
        event = torch.cuda.Event() if self._on_gpu else None
        if event is not None:
            event.record()
        self._under_way.append((event, copy))
        if len(self._under_way) <= self.LAG:
            return False
        event, copy = self._under_way.popleft()
        if event is not None:
            event.synchronize()
        self._spare.append(copy)
        return bool(copy.all())


class Stopwatch:
    """Seconds spent inside `with stopwatch:`, on a GPU those that its own queue took, which the processor does not wait for."""

    def __init__(self, device: torch.device) -> None:
        self._on_gpu = device.type == "cuda"
        self._seconds = 0.0
        self._marks: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []
        self._began: Any = None

    def _now(self) -> Any:
        if not self._on_gpu:
            return time.perf_counter()
        mark = torch.cuda.Event(enable_timing=True)
        mark.record()
        return mark

    def __enter__(self) -> None:
        self._began = self._now()

    def __exit__(self, *_: object) -> None:
        if self._on_gpu:
            self._marks.append((self._began, self._now()))
            if len(self._marks) > _MARKS:
                self._read()
        else:
            self._seconds += self._now() - self._began

    @property
    def seconds(self) -> float:
        """So far; waits for what is under way."""
        self._read()
        return self._seconds

    def _read(self) -> None:
        for began, ended in self._marks:
            ended.synchronize()
            self._seconds += began.elapsed_time(ended) / 1e3
        self._marks.clear()


class Portions:
    """Work on a batch in as few portions as memory allows: in one, until a device runs out of memory; from then on in what has fitted.

    work: what it is called in the line that says so. least: items of a portion.
    """

    def __init__(self, work: str, *, least: int = 1) -> None:
        self.work, self.least = work, least
        self.room = math.inf  # sizes of items that are tried at once

    def pieces(self, count: int, size: float = 1) -> int:
        """In how many portions to work on so many items of that size."""
        if count * size <= self.room:
            return 1
        return min(-(-count // max(int(self.room / size), 1)), self._most(count))

    def _most(self, count: int) -> int:
        return max(1, count // self.least)

    def run(self, count: int, function: Callable[[slice], T], begin: Callable[[], None] = lambda: None, size: float = 1) -> list[T]:
        """`function` of slices that together cover `count`; after running out of memory all over again, with `begin` before.

        size: of an item, such as its pixels: what did not fit says nothing of fewer or smaller items.
        Raises XrcoreError where the smallest portion is still too much.
        """
        pieces, most = self.pieces(count, size), self._most(count)
        while True:
            begin()
            try:
                return [function(slice(count * i // pieces, count * (i + 1) // pieces)) for i in range(pieces)]
            except OUT_OF_MEMORY:
                if pieces >= most:
                    at_once = -(-count // pieces)
                    images = "one image" if at_once == 1 else f"{at_once} images"
                    raise XrcoreError(
                        f"{self.work}: the GPU's memory does not suffice even for {images} at a time; --device cpu, or a coarser spacing"
                    ) from None
            # outside the handler, whose traceback still holds what was allocated
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            pieces = min(2 * pieces, most)
            at_once = -(-count // pieces)
            self.room = at_once * size
            say_once(f"{self.work}: out of GPU memory, going on in {pieces} portions of {at_once}")
