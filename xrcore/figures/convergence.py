"""Plot the course of a registration: similarity, and where the truth is known the error, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from matplotlib.figure import Figure

from xrcore.figures.colours import BLUE, DARK, MUTED, ORANGE, PALE
from xrcore.figures.style import log_scale, new_figure, style_axes
from xrcore.registration.events import Step

_LEAST_RANGE = 0.05  # of the similarity's axis, which is not enlarged further


def convergence_figure(
    history: Sequence[Step],
    errors: Sequence[float] | None = None,
    *,
    at: int | None = None,
    width: float = 4.4,
    height: float = 2.9,
) -> Figure:
    """Plot similarity over steps, each level a band with its name on it; below it the errors on a log scale, where there are any.

    Levels compare other images by other similarities, so the curve is broken between them.

    Parameters
    ----------
    history : sequence of Step
        The steps of a registration.
    errors : sequence of float, optional
        Error of each step [mm].
    at : int, optional
        Index of the step to mark; default the last.
    width, height : float
        Size of the figure [inches].

    Returns
    -------
    matplotlib.figure.Figure
        The figure.
    """
    figure = new_figure(height, width=width, padding=0.04)
    rows = 1 if errors is None else 2
    panels = list(figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0])
    if not len(history):
        panels[0].text(0.5, 0.5, "nothing registered yet", ha="center", va="center", color=MUTED, fontsize=10)
        for axes in panels:
            axes.set_axis_off()
        return figure
    steps = np.arange(len(history))
    level_of = [(step.level, step.level_name) for step in history]
    starts = [0, *(n for n in range(1, len(history)) if level_of[n] != level_of[n - 1]), len(history)]
    curves = [("similarity", [step.similarity for step in history], BLUE)]
    if errors is not None:
        curves.append(("mTRE [mm]", list(errors), ORANGE))
    mark = len(history) - 1 if at is None else at
    for axes, (title, values, colour) in zip(panels, curves, strict=True):
        style_axes(axes, grid="y")
        axes.set_title(title, loc="left", fontsize=9.5, color=DARK)
        for number, (first, last) in enumerate(pairwise(starts)):
            if number % 2:
                axes.axvspan(first - 0.5, last - 0.5, color=PALE, alpha=0.15, linewidth=0)
            axes.plot(steps[first:last], values[first:last], color=colour, linewidth=1.5, marker=".", markersize=4)
        if 0 <= mark < len(values):
            axes.plot(mark, values[mark], marker="o", markersize=7, markerfacecolor="none", markeredgecolor=DARK)
        axes.margins(y=0.15)
        axes.set_xlim(-0.5, max(len(history), 10) - 0.5)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.tick_params(labelsize=8.5)
        if title == "similarity":
            low, high = axes.get_ylim()
            middle, half = (low + high) / 2, max((high - low) / 2, _LEAST_RANGE / 2)
            axes.set_ylim(middle - half, middle + half)
            place = axes.get_xaxis_transform()
            for first in starts[:-1]:
                axes.text(first - 0.4, 0.04, level_of[first][1], transform=place, fontsize=7, color=MUTED, rotation=90, va="bottom")
        if title != "similarity" and len(values) and min(values) > 0:
            log_scale(axes, "y")
    panels[-1].set_xlabel("round of images", fontsize=9, color=MUTED)
    return figure
