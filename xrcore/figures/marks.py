"""What the figures of the reproduction share: colours that the colour-blind tell apart, quiet axes, the paper's hollow mark."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

INK, QUIET, GRID = "#1a1a1a", "#6b6b6b", "#e6e6e6"
# of Okabe and Ito's palette (Color Universal Design, 2008): ours is always the blue
OURS, SECOND, THIRD, FOURTH = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
PALE = "#9aa5b1"  # what the others are compared with
PAPER: dict[str, Any] = {"marker": "D", "markerfacecolor": "white", "markeredgecolor": INK, "markeredgewidth": 1.3, "linestyle": "none"}
WIDTH = 10.0  # [inches], 1000 pixels in a notebook
_DPI = 100


def canvas(height: float) -> Figure:
    """An empty white figure. height: [inches]."""
    return Figure(figsize=(WIDTH, height), dpi=_DPI, facecolor="white", layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08))


def quiet(axes: Axes, *, title: str = "", grid: str = "x") -> Axes:
    """Only the axes that are read, a pale grid along `grid` ("x", "y", "both"), the title at the left."""
    axes.set_title(title, loc="left", fontsize=12, fontweight="bold", color=INK)
    axes.grid(axis=grid, color=GRID, linewidth=0.8)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, which="both", labelsize=10, length=0)
    axes.xaxis.label.set_color(QUIET)
    axes.yaxis.label.set_color(QUIET)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(QUIET)
    return axes


def logarithmic(axes: Axes, which: str) -> None:
    """A log scale along "x" or "y" that reads 0.1, 1, 10; also 2 and 5 where it spans little."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    low, high = axes.get_xlim() if which == "x" else axes.get_ylim()
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 300 * low else (1,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def success_line(axes: Axes, threshold: float, which: str) -> Line2D:
    """A dashed line across "x" or "y" at the error below which a case succeeds [mm]; returns the legend's entry."""
    look: dict[str, Any] = {"color": QUIET, "linewidth": 1, "linestyle": (0, (4, 3))}
    (axes.axvline if which == "x" else axes.axhline)(threshold, **look)
    return Line2D([], [], label=f"success: below {threshold:g} mm", **look)


def paper_key(label: str = "the paper") -> Line2D:
    """The legend's entry of the paper's mark."""
    return Line2D([], [], label=label, markersize=7, **PAPER)
