"""How the paper's own values, and its threshold of success, are marked in a figure."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from xrcore.figures.style import DARK, MUTED

PAPER: dict[str, Any] = {"marker": "D", "markerfacecolor": "white", "markeredgecolor": DARK, "markeredgewidth": 1.3, "linestyle": "none"}


def success_line(axes: Axes, threshold: float, which: str) -> Line2D:
    """Draw a dashed line across "x" or "y" at the error below which a case succeeds [mm], and return the legend's entry."""
    look: dict[str, Any] = {"color": MUTED, "linewidth": 1, "linestyle": (0, (4, 3))}
    (axes.axvline if which == "x" else axes.axhline)(threshold, **look)
    return Line2D([], [], label=f"success: below {threshold:g} mm", **look)


def paper_key(label: str = "the paper") -> Line2D:
    """Return the legend's entry of the paper's mark."""
    return Line2D([], [], label=label, markersize=7, **PAPER)
