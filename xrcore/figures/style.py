"""Shared style of the figures: an empty figure, plain axes, log scales."""

from __future__ import annotations

from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from xrcore.figures.colours import BAD as BAD
from xrcore.figures.colours import BLUE as BLUE
from xrcore.figures.colours import DARK as DARK
from xrcore.figures.colours import GOOD as GOOD
from xrcore.figures.colours import GREEN as GREEN
from xrcore.figures.colours import GRID as GRID
from xrcore.figures.colours import MUTED as MUTED
from xrcore.figures.colours import ORANGE as ORANGE
from xrcore.figures.colours import PALE as PALE
from xrcore.figures.colours import PURPLE as PURPLE

WIDTH = 10.0  # [inches], 1000 pixels in a notebook
_DPI = 100


def new_figure(height: float, *, width: float = WIDTH, padding: float = 0.09) -> Figure:
    """Make an empty white figure without pyplot.

    Parameters
    ----------
    height : float
        Height [inches]; an inch is 100 pixels.
    width : float
        Width [inches].
    padding : float
        Space around each panel [inches].

    Returns
    -------
    matplotlib.figure.Figure
        The figure; its panels are laid out when it is drawn.
    """
    return Figure(figsize=(width, height), dpi=_DPI, facecolor="white", layout=ConstrainedLayoutEngine(w_pad=padding, h_pad=padding))


def style_axes(axes: Axes, *, title: str = "", grid: Literal["x", "y", "both"] = "x") -> Axes:
    """Show only the left and the lower axis, a pale grid, and the title at the left.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        The axes to change.
    title : str
        Title of the panel.
    grid : {"x", "y", "both"}
        Which axis has grid lines.

    Returns
    -------
    matplotlib.axes.Axes
        The same axes.
    """
    axes.set_title(title, loc="left", fontsize=12, fontweight="bold", color=DARK)
    axes.grid(axis=grid, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=DARK, which="both", labelsize=10, length=0)
    axes.xaxis.label.set_color(MUTED)
    axes.yaxis.label.set_color(MUTED)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(MUTED)
    return axes


def log_scale(axes: Axes, which: Literal["x", "y"]) -> None:
    """Give an axis a log scale that reads 0.1, 1, 10; also 2 and 5 where it spans little.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        The axes to change; their limits must be set.
    which : {"x", "y"}
        The axis.
    """
    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    low, high = axes.get_xlim() if which == "x" else axes.get_ylim()
    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 300 * low else (1,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
