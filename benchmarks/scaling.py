"""How does the time of a render grow with pixels, voxels, threads and batch?

python benchmarks/scaling.py [--quick] [--out results/scaling] [--figure figures/scaling.png]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from itertools import groupby
from typing import Any

import torch
from common import scenes
from common.report import MACHINE, RESULTS, out_path, publish, say
from common.timing import Timing, interleaved
from matplotlib.figure import Figure

import xrcore as xr
from xrcore import utilities
from xrcore.figures import save_figure

Sweep = dict[int, dict[str, Timing]]
DRAWS: dict[str, Callable[..., Any]] = {"image": xr.render, "image and Jacobian": xr.render_with_jacobian}
SIZES = {"pixels": (64, 96, 128, 192, 256, 384, 512), "voxels": (64, 96, 128, 192, 256, 320, 384), "batch": (1, 2, 4, 8, 16)}
LABELS = {
    "pixels": "pixels along each side of the image",
    "voxels": "voxels along each side of the volume",
    "threads": "threads",
    "batch": "images in one call",
}
TICKS = [m * 10**e for e in range(4) for m in (1, 2, 5)]
QUICK = {"pixels": (64, 128), "voxels": (64, 128), "batch": (1, 2)}


def sweeps(*, quick: bool) -> dict[str, Sweep]:
    """{"pixels" | "voxels" | "batch" | "threads": {size: {"image" | "image and Jacobian": Timing}}}.

    Where it is not the one swept: 256 x 256 pixels, 256^3 voxels, all threads, one pose; half of that if `quick`.
    """
    sizes, side, rounds = (QUICK, 128, 2) if quick else (SIZES, 256, 5)
    body = scenes.body(3.0 if quick else 1.5)
    volume, carm = scenes.resampled(body, side), scenes.carm(side)
    calls: dict[str, Callable[[int], tuple[Any, ...]]] = {
        "pixels": lambda n: (volume, scenes.carm(n), scenes.POSE),
        "voxels": lambda n: (scenes.resampled(body, n), carm, scenes.POSE),
        "batch": lambda n: (volume, carm, xr.Pose(scenes.POSE.numbers.expand(n, 6))),
    }
    found: dict[str, Sweep] = {}
    for varied, arguments in calls.items():
        say(f"scaling with {varied}")
        found[varied] = _timed({n: [_draw(draw, arguments(n)) for draw in DRAWS.values()] for n in sizes[varied]}, rounds)
    say("scaling with threads")
    return found | {"threads": _thread_sweep(volume, side, rounds)}


def _draw(draw: Callable[..., Any], arguments: tuple[Any, ...]) -> Callable[[], Any]:
    return lambda: draw(*arguments)


def _timed(tasks: dict[int, list[Callable[[], Any]]], rounds: int) -> Sweep:
    timings = interleaved({f"{n} {name}": task for n, calls in tasks.items() for name, task in zip(DRAWS, calls, strict=True)}, rounds)
    return {n: {name: timings[f"{n} {name}"] for name in DRAWS} for n in tasks}


def _thread_sweep(volume: xr.Volume, side: int, rounds: int) -> Sweep:
    before, most = torch.get_num_threads(), utilities.available_cores()
    counts = sorted({*(2**i for i in range(10) if 2**i <= most), most})

    def with_threads(count: int, draw: Callable[..., Any]) -> Callable[[], None]:
        def task() -> None:
            torch.set_num_threads(count)
            draw(volume, scenes.carm(side), scenes.POSE)

        return task

    try:
        return _timed({n: [with_threads(n, draw) for draw in DRAWS.values()] for n in counts}, rounds)
    finally:
        torch.set_num_threads(before)


def as_table(found: dict[str, Sweep]) -> list[dict[str, Any]]:
    """One row per size and kind of image."""
    return [
        {
            "varied": varied,
            "size": size,
            "what": name,
            "median_ms": round(1e3 * timing.median, 4),
            "min_ms": round(1e3 * min(timing.seconds), 4),
            "max_ms": round(1e3 * max(timing.seconds), 4),
            "repeats": len(timing.seconds),
        }
        for varied, sweep in found.items()
        for size, timings in sweep.items()
        for name, timing in timings.items()
    ]


def figure(table: list[dict[str, Any]], title: str) -> Figure:
    """Four panels, time of a call against each size, on logarithmic axes; shaded from the median to the fastest repeat."""
    drawn = Figure(figsize=(9.6, 6.8), dpi=150, layout="constrained")
    drawn.suptitle(title, fontsize=10)
    for axes, (varied, label) in zip(drawn.subplots(2, 2).flat, LABELS.items(), strict=True):
        rows = sorted((row for row in table if row["varied"] == varied), key=lambda row: (row["what"], row["size"]))
        for name, group in groupby(rows, key=lambda row: row["what"]):
            size, median, low = zip(*((row["size"], row["median_ms"], row["min_ms"]) for row in group), strict=True)
            axes.loglog(size, median, marker="o", markersize=4, label=name)
            axes.fill_between(size, low, median, alpha=0.2, linewidth=0)
        axes.set_xticks(size, labels=size)
        axes.minorticks_off()
        axes.set_yticks([t for t in TICKS if 0.7 * min(low) <= t <= 1.5 * max(median)], labels=[])
        axes.yaxis.set_major_formatter("{x:g}")
        axes.set_xlabel(label)
        axes.set_ylabel("ms")
        axes.grid(axis="y", alpha=0.4)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8)
    return drawn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smaller sizes and fewer repeats")
    parser.add_argument("--out", type=out_path, default=RESULTS / "scaling")
    parser.add_argument("--figure", type=out_path, default=RESULTS.parent / "figures" / "scaling.png")
    args = parser.parse_args()
    side = 128 if args.quick else 256
    table = as_table(sweeps(quick=args.quick))
    publish(args.out, table)
    title = f"{side} x {side} pixels, {side}³ voxels, one image, all threads where not varied; {MACHINE['cpu']}, {MACHINE['cores']} cores"
    save_figure(figure(table, title), args.figure)


if __name__ == "__main__":
    main()
