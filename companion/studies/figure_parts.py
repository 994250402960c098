"""What the figures of the studies share: the paper's hollow mark, the line of success, rows of dots with intervals."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from xrcore.figures import style

FINEST = 1e-5  # [mm], to which results are kept; zero has no place on a logarithmic scale
PAPER: dict[str, Any] = {
    "marker": "D",
    "markerfacecolor": "white",
    "markeredgecolor": style.DARK,
    "markeredgewidth": 1.3,
    "linestyle": "none",
}


def paper_key(label: str = "the paper") -> Line2D:
    """The legend's entry of the paper's mark."""
    return Line2D([], [], label=label, markersize=7, **PAPER)


def success_line(axes: Axes, threshold: float, which: str) -> Line2D:
    """A dashed line across "x" or "y" at the error below which a case succeeds [mm]; returns the legend's entry."""
    look: dict[str, Any] = {"color": style.MUTED, "linewidth": 1, "linestyle": (0, (4, 3))}
    (axes.axvline if which == "x" else axes.axhline)(threshold, **look)
    return Line2D([], [], label=f"success: below {threshold:g} mm", **look)


def draw_interval(axes: Axes, place: float, middle: float, low: float, high: float, colour: str) -> None:
    """Draw a dot in row `place`, and its interval where there is one."""
    if not np.isnan(low):
        axes.plot([low, high], [place, place], color=colour, linewidth=2.4, solid_capstyle="round", alpha=0.55)
    axes.plot(middle, place, "o", color=colour, markersize=8)


def draw_paper(axes: Axes, place: float, value: float) -> None:
    """Draw the paper's value in row `place`, where there is one."""
    if not np.isnan(value):
        axes.plot(value, place + 0.24, markersize=6, zorder=4, **PAPER)  # below, so that neither hides the other


def name_rows(axes: Axes, names: list[str], title: str) -> None:
    """Title the axes, and name the rows from the top."""
    style.style_axes(axes, title=title, grid="both")
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
