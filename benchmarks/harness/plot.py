"""The scaling figure."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from harness.scaling import Sweep

COLOURS = {"image": "#2a6f97", "image and Jacobian": "#d1495b"}
INK, QUIET = "#1a1a1a", "#8a8a8a"
PANELS = {
    "pixels": ("Pixels", "pixels along each side of the image", 2, "∝ pixels"),
    "voxels": ("Voxels", "voxels along each side of the volume", 1, "∝ slices"),
    "threads": ("Threads", "threads", -1, "∝ 1 / threads"),
    "batch": ("Batch", "images in one call", 1, "∝ images"),
}


def scaling_figure(sweeps: dict[str, Sweep], side: int, caption: str) -> Figure:
    """Four panels, time of a call against each size, on logarithmic axes; grey: what the work alone would make of it.

    side: pixels and voxels along each side where they are not swept. caption: the machine.
    """
    figure = Figure(figsize=(9.6, 6.8), dpi=150, facecolor="white")
    axes = figure.subplots(2, 2, gridspec_kw={"hspace": 0.42, "wspace": 0.2, "left": 0.075, "right": 0.965, "top": 0.86, "bottom": 0.115})
    for place, (name, (title, label, power, law)) in zip(axes.flat, PANELS.items(), strict=True):
        _panel(place, sweeps[name], title, label, power, law)
    figure.text(0.075, 0.955, "Time of a render on a CPU", fontsize=15, fontweight="bold", color=INK, va="center")
    unless = f"two materials, whole spectrum; {side} × {side} pixels, {side}³ voxels, all threads, one image where not varied"
    figure.text(0.075, 0.922, unless, fontsize=9.5, color=QUIET, va="center")
    figure.text(0.075, 0.02, caption, fontsize=7.5, color=QUIET, va="bottom")
    return figure


def _panel(axes: Axes, sweep: Sweep, title: str, label: str, power: int, law: str) -> None:
    sizes = sorted(sweep)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    below = 0.62e3 * min(min(sweep[size]["image"].seconds) / size**power for size in sizes)
    guide = [below * size**power for size in sizes]
    axes.plot(sizes, guide, color=QUIET, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
    for name, colour in COLOURS.items():
        medians = [sweep[size][name].median * 1e3 for size in sizes]
        low = [min(sweep[size][name].seconds) * 1e3 for size in sizes]
        axes.fill_between(sizes, low, medians, color=colour, alpha=0.15, linewidth=0)
        axes.plot(sizes, medians, color=colour, linewidth=1.8, marker="o", markersize=4.5, label=name, zorder=3)
    bottom, top = axes.get_ylim()
    axes.set_ylim(bottom / 1.15, max(top, 4 * bottom) * 1.15)
    axes.plot([], [], color=QUIET, linewidth=0.9, linestyle=(0, (4, 3)), label=law)
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold", color=INK)
    axes.set_xlabel(label, fontsize=9, color=INK)
    axes.set_ylabel("ms", fontsize=9, color=INK, rotation=0, labelpad=10)
    _ticks(axes, sizes)
    axes.legend(frameon=False, fontsize=8, loc="lower left" if power < 0 else "upper left", labelcolor=INK)


def _ticks(axes: Axes, sizes: Sequence[int]) -> None:
    axes.xaxis.set_major_locator(FixedLocator(sizes))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    axes.yaxis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5), numticks=20))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8.5, colors=INK, length=3, width=0.7)
    axes.tick_params(axis="y", which="both", length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(QUIET)
