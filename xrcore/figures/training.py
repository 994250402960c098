"""The picture of a training: what it lost, what it learnt, and how fast it was let learn."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from xrcore._util.errors import XrcoreError

_INK, _QUIET, _LINE, _GRID = "#1a1a1a", "#6b6b6b", "#2358a6", "#e3e3e3"
_PARTS = ("#b8641b", "#3f8f5f", "#8a4fa3", "#a39a1f")
_DPI = 100
Curve = list[tuple[int, float]]


def training_figure(folder: str | os.PathLike[str]) -> Figure:
    """Loss and its parts, validation mTRE [mm], learning rate and success [%] against images seen, from a training's log.csv.

    It may be drawn while the training runs. Raises XrcoreError where `folder` holds no log with a row in it.
    """
    from xrcore.learning.training.log import CSV, read_log  # what draws registrations need not load training

    folder = Path(folder)
    rows = read_log(folder)
    if not rows:
        raise XrcoreError(f"{folder / CSV}: holds no row of a training's log yet")
    figure = Figure(figsize=(10, 6), dpi=_DPI, facecolor="white", layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1))
    (losses, errors), (rates, successes) = figure.subplots(2, 2, sharex=True)
    _loss(losses, _curve(rows, "loss"), _parts(rows))
    _panel(rates, "Learning rate", _curve(rows, "learning_rate"))
    rates.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    _panel(errors, "Validation mTRE [mm]", _measured(rows, "validation_mtre_mm"), best=min)
    _panel(successes, "Validation success [%]", _measured(rows, "validation_success"), best=max)
    successes.set_ylim(0, 100)
    for axes in (rates, successes):
        axes.set_xlabel("images seen", color=_QUIET)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}".replace(",", " ")))
        axes.set_xlim(0, max(int(row["images"]) for row in rows))
    return figure


def _loss(axes: Axes, total: Curve, parts: dict[str, Curve]) -> None:
    _style(axes, "Loss", f"now {total[-1][1]:.3g}")
    # broad and pale, since one part may be nearly all of it
    axes.plot(
        *zip(*total, strict=True), color=_LINE, alpha=0.35 if len(parts) > 1 else 1, linewidth=5 if len(parts) > 1 else 1.8, label="total"
    )
    if len(parts) > 1:
        for (name, curve), colour in zip(parts.items(), _PARTS, strict=False):
            axes.plot(*zip(*curve, strict=True), color=colour, linewidth=1.4, label=name)
        axes.legend(frameon=False, fontsize=9, labelcolor=_INK, ncols=len(parts) + 1, loc="best")
    if all(value > 0 for curve in (total, *parts.values()) for _, value in curve):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())


def _panel(axes: Axes, title: str, curve: Curve, *, best: Callable[..., float] | None = None) -> None:
    """A curve from zero up; with `best` (min or max) its points are marked and the best of them is told."""
    remark = ""
    if best is not None:
        remark = "not measured yet"
        if curve:
            reached = best(value for _, value in curve)
            remark = f"now {curve[-1][1]:.3g}, best {reached:.3g}"
    _style(axes, title, remark)
    if curve:
        axes.plot(*zip(*curve, strict=True), color=_LINE, linewidth=1.8, marker="o" if best else "", markersize=4, clip_on=best is None)
        axes.set_ylim(0, 1.08 * max(value for _, value in curve) or 1)


def _style(axes: Axes, title: str, remark: str) -> None:
    axes.set_title(title, loc="left", fontsize=12, fontweight="bold", color=_INK)
    axes.set_title(remark, loc="right", fontsize=10, color=_QUIET)
    axes.grid(color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_QUIET, which="both", labelsize=9)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(_QUIET)


def _curve(rows: list[dict[str, str]], column: str) -> Curve:
    """(images, value) where there is a finite one."""
    points = [(int(row["images"]), float(row[column])) for row in rows if row[column]]
    return [(images, value) for images, value in points if math.isfinite(value)]


def _measured(rows: list[dict[str, str]], column: str) -> Curve:
    """As `_curve`, but each validation once: the log repeats its figures until the next."""
    both = [(row["validation_mtre_mm"], row["validation_success"]) for row in rows]
    return _curve([row for row, now, before in zip(rows, both, [None, *both], strict=False) if now != before], column)


def _parts(rows: list[dict[str, str]]) -> dict[str, Curve]:
    """The loss's parts, written as "pose=41.55 edges=0.9258"."""
    parts: dict[str, Curve] = {}
    for row in rows:
        for name, _, value in (text.partition("=") for text in row["parts"].split()):
            parts.setdefault(name, []).append((int(row["images"]), float(value)))
    return parts
