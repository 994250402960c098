"""Shared helpers for figures: the paper's hollow mark, the line of success, rows of dots with intervals."""

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
    """Make the legend's entry of the paper's mark.

    Parameters
    ----------
    label : str
        What it says.


    Returns
    -------
    Line2D
        Not drawn.
    """
    return Line2D([], [], label=label, markersize=7, **PAPER)


def success_line(axes: Axes, threshold: float, which: str) -> Line2D:
    """Draw a dashed line at the error below which a case succeeds.

    Parameters
    ----------
    axes : Axes
        Where to draw.
    threshold : float
        The error [mm].
    which : str
        The axis that it crosses, "x" or "y".


    Returns
    -------
    Line2D
        The legend's entry.
    """
    look: dict[str, Any] = {"color": style.MUTED, "linewidth": 1, "linestyle": (0, (4, 3))}
    (axes.axvline if which == "x" else axes.axhline)(threshold, **look)
    return Line2D([], [], label=f"success: below {threshold:g} mm", **look)


def draw_interval(axes: Axes, place: float, middle: float, low: float, high: float, colour: str) -> None:
    """Draw a dot in a row, and its interval where there is one.

    Parameters
    ----------
    axes : Axes
        Where to draw.
    place : float
        Of the row.
    middle, low, high : float
        Dot and interval; NaN for none.
    colour : str
        Of both.
    """
    if not np.isnan(low):
        axes.plot([low, high], [place, place], color=colour, linewidth=2.4, solid_capstyle="round", alpha=0.55)
    axes.plot(middle, place, "o", color=colour, markersize=8)


def draw_paper(axes: Axes, place: float, value: float) -> None:
    """Draw the paper's value in a row, where there is one.

    Parameters
    ----------
    axes : Axes
        Where to draw.
    place : float
        Of the row.
    value : float
        NaN for none.
    """
    if not np.isnan(value):
        axes.plot(value, place + 0.24, markersize=6, zorder=4, **PAPER)  # below, so that neither hides the other


def name_rows(axes: Axes, names: list[str], title: str) -> None:
    """Title the axes, and name the rows from the top.

    Parameters
    ----------
    axes : Axes
        Where to draw.
    names : list of str
        A row each.
    title : str
        Of the axes.
    """
    style.style_axes(axes, title=title, grid="both")
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
