"""How time grows: with pixels, voxels, threads and batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from harness import case
from harness.timing import Timing, interleaved
from xrcore._util import machine
from xrcore.ct.volume import Volume
from xrcore.geometry import Pose
from xrcore.renderer import render, render_with_jacobian

Sweep = dict[int, dict[str, Timing]]
DRAWS: dict[str, Callable[..., Any]] = {"image": render, "image and Jacobian": render_with_jacobian}


def sweeps(body: Volume, *, quick: bool, rounds: int, say: Callable[[str], None]) -> dict[str, Sweep]:
    """{"pixels" | "voxels" | "threads" | "batch": {size: {"image" | "image and Jacobian": Timing}}}.

    Where it is not the one swept: 256 x 256 pixels, 256^3 voxels, all threads, one pose; half of that if `quick`.
    """
    side = 128 if quick else 256
    volume = case.resampled(body, side)
    say("scaling with pixels")
    pixels = _sweep([64, 128] if quick else [64, 96, 128, 192, 256, 384, 512], rounds, lambda n: (volume, case.carm(n), case.POSE))
    say("scaling with voxels")
    voxels = _sweep(
        [64, 128] if quick else [64, 96, 128, 192, 256, 320, 384],
        rounds,
        lambda n: (case.resampled(body, n), case.carm(side), case.POSE),
    )
    say("scaling with batch")
    batch = _sweep([1, 2] if quick else [1, 2, 4, 8, 16], rounds, lambda n: (volume, case.carm(side), Pose(case.POSE.numbers.expand(n, 6))))
    say("scaling with threads")
    return {"pixels": pixels, "voxels": voxels, "batch": batch, "threads": _thread_sweep(volume, side, rounds)}


def _sweep(sizes: list[int], rounds: int, arguments: Callable[[int], tuple[Any, ...]]) -> Sweep:
    tasks = {}
    for size in sizes:
        these = arguments(size)
        for name, draw in DRAWS.items():
            tasks[f"{size} {name}"] = lambda draw=draw, these=these: draw(*these)
    timings = interleaved(tasks, rounds)
    return {size: {name: timings[f"{size} {name}"] for name in DRAWS} for size in sizes}


def _thread_sweep(volume: Volume, side: int, rounds: int) -> Sweep:
    before, most = torch.get_num_threads(), machine.available_cores()
    counts = sorted({*(2**i for i in range(10) if 2**i <= most), most})

    def with_threads(count: int, draw: Callable[..., Any]) -> Callable[[], None]:
        def task() -> None:
            torch.set_num_threads(count)
            draw(volume, case.carm(side), case.POSE)

        return task

    try:
        timings = interleaved({f"{n} {name}": with_threads(n, draw) for n in counts for name, draw in DRAWS.items()}, rounds)
    finally:
        torch.set_num_threads(before)
    return {n: {name: timings[f"{n} {name}"] for name in DRAWS} for n in counts}
