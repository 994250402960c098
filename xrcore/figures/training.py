"""Plot the course of a training: loss and its parts, validation error, learning rate, success."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from xrcore._util.errors import XrcoreError
from xrcore.figures.colours import BLUE, DARK, GREEN, MUTED, ORANGE, PURPLE
from xrcore.figures.style import log_scale, new_figure, style_axes

_PARTS = (ORANGE, GREEN, PURPLE, "#E69F00")
Curve = list[tuple[int, float]]


def training_figure(folder: str | os.PathLike[str]) -> Figure:
    """Plot loss and its parts, validation mTRE [mm], learning rate and success [%] against images seen; also while a training runs.

    Where the training saw DRRs more than once, the errors on these are drawn dashed beside those on the validation set: the gap between
    them is over-fitting.

    Parameters
    ----------
    folder : path
        A training's folder, which holds log.csv.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.

    Raises
    ------
    XrcoreError
        If the folder holds no log with a row in it.
    """
    from xrcore.learning.training.log import CSV, read_log  # what draws registrations need not load training

    folder = Path(folder)
    rows = read_log(folder)
    if not rows:
        raise XrcoreError(f"{folder / CSV}: holds no row of a training's log yet")
    figure = new_figure(6.0)
    (losses, errors), (rates, successes) = figure.subplots(2, 2, sharex=True)
    _loss(losses, _curve(rows, "loss"), _parts(rows))
    _panel(rates, "Learning rate", _curve(rows, "learning_rate"))
    rates.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    _panel(errors, "Validation mTRE [mm]", _measured(rows, "validation_mtre_mm"), best=min, beside=_curve(rows, "training_mtre_mm"))
    _panel(successes, "Validation success [%]", _measured(rows, "validation_success"), best=max, beside=_curve(rows, "training_success"))
    successes.set_ylim(0, 100)
    for axes in (rates, successes):
        axes.set_xlabel("images seen")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}".replace(",", " ")))
        axes.set_xlim(0, max(int(row["images"]) for row in rows))
    return figure


def _loss(axes: Axes, total: Curve, parts: dict[str, Curve]) -> None:
    _style(axes, "Loss", f"now {total[-1][1]:.3g}" if total else "no finite loss")
    # broad and pale, since one part may be nearly all of it
    alpha, linewidth = (0.35, 5) if len(parts) > 1 else (1, 1.8)
    axes.plot(*zip(*total, strict=True), color=BLUE, alpha=alpha, linewidth=linewidth, label="total")
    if len(parts) > 1:
        for (name, curve), colour in zip(parts.items(), _PARTS, strict=False):
            axes.plot(*zip(*curve, strict=True), color=colour, linewidth=1.4, label=name)
        axes.legend(frameon=False, fontsize=9, labelcolor=DARK, ncols=len(parts) + 1, loc="best")
    if all(value > 0 for curve in (total, *parts.values()) for _, value in curve):
        log_scale(axes, "y")


def _panel(axes: Axes, title: str, curve: Curve, *, best: Callable[..., float] | None = None, beside: Curve | None = None) -> None:
    """A curve from zero up; with `best` (min or max) its points are marked and the best of them is told. beside: on what was trained on."""
    remark = "not measured yet" if best and not curve else ""
    if best and curve:
        remark = f"now {curve[-1][1]:.3g}, best {best(value for _, value in curve):.3g}"
    _style(axes, title, remark)
    if curve:
        axes.plot(*zip(*curve, strict=True), color=BLUE, linewidth=1.8, marker="o" if best else "", markersize=4, clip_on=best is None)
        axes.set_ylim(0, 1.08 * max(value for _, value in curve) or 1)
    if beside:
        axes.plot(
            *zip(*beside, strict=True), color=_PARTS[0], linewidth=1.4, linestyle="--", marker="o", markersize=3, label="training set"
        )
        axes.legend(frameon=False, fontsize=9, labelcolor=DARK, loc="best")


def _style(axes: Axes, title: str, remark: str) -> None:
    style_axes(axes, title=title, grid="both")
    axes.tick_params(labelsize=9)
    axes.set_title(remark, loc="right", fontsize=10, color=MUTED)


def _curve(rows: list[dict[str, str]], column: str) -> Curve:
    """(images, value) where there is a finite one."""
    points = [(int(row["images"]), float(row[column])) for row in rows if row[column]]
    return [(images, value) for images, value in points if math.isfinite(value)]


def _measured(rows: list[dict[str, str]], column: str) -> Curve:
    """As `_curve`, but each validation once: logs of old repeat its figures until the next."""
    both = [(row["validation_mtre_mm"], row["validation_success"]) for row in rows]
    return _curve([row for row, now, before in zip(rows, both, [None, *both], strict=False) if now != before], column)


def _parts(rows: list[dict[str, str]]) -> dict[str, Curve]:
    """The loss's parts, written as "pose=41.55 edges=0.9258"."""
    parts: dict[str, Curve] = {}
    for row in rows:
        for name, _, value in (text.partition("=") for text in row["parts"].split()):
            parts.setdefault(name, []).append((int(row["images"]), float(value)))
    return parts
