"""Pictures side by side, and the legend of their red and blue edges."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure, FigureBase
from matplotlib.patches import Patch
from numpy.typing import NDArray

from xrcore.figures.blends import edge_colours
from xrcore.figures.colours import DARK, MUTED
from xrcore.figures.style import new_figure


def panels_figure(panels: Sequence[tuple[str, str, NDArray | None]], fixed: str = "X-ray") -> Figure:
    """Draw pictures of one case in a row, above the legend of their edges.

    Parameters
    ----------
    panels : sequence of (str, str, array or None)
        Title, remark below, and picture: (H, W) or (H, W, 3) in [0, 1], or None for an empty place.
    fixed : str
        What the red edges belong to.

    Returns
    -------
    matplotlib.figure.Figure
        The figure, a panel a picture.
    """
    figure = new_figure(3.2)
    for axes, (title, remark, picture) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        show_picture(axes, np.ones((8, 8)) if picture is None else picture, title, remark)
    edge_legend(figure, fixed)
    return figure


def show_picture(axes: Axes, picture: NDArray, title: str = "", remark: str = "") -> None:
    """Show a picture without ticks, its title above at the left, a remark below.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Where to draw.
    picture : Float[NDArray, "H W"] or Float[NDArray, "H W 3"]
        Grey values or colours in [0, 1].
    title, remark : str
        Text above and below; "" for none.
    """
    axes.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="antialiased")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold", color=DARK)
    axes.set_xlabel(remark, fontsize=10, color=MUTED)


def edge_legend(figure: FigureBase, fixed: str = "X-ray") -> None:
    """Explain the colours of edges below a figure.

    Parameters
    ----------
    figure : matplotlib.figure.FigureBase
        A figure or subfigure with a constrained layout.
    fixed : str
        What the red edges belong to.
    """
    figure.legend(handles=edge_patches(fixed), frameon=False, ncols=3, loc="outside lower center", fontsize=10)


def edge_patches(fixed: str = "X-ray") -> list[Patch]:
    """Legend entries of red, blue and purple edges."""
    return [Patch(color=to_hex(tuple(colour)), label=name) for name, colour in edge_colours(fixed).items()]
