"""The method from the CT to the drawing, each step with what it makes of the built-in patient."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

import xrcore as xr
from drawings.common import CARM, DARK, MUTED, grey
from drawings.drawn import bones, pelvis, registered
from drawings.verdicts import simulated_xray
from xrcore.drawing.artists import COLOURS, draw_label
from xrcore.figures import display_image, overlay
from xrcore.figures.colours import BAD, GOOD

_WIDTH, _HEIGHT, _DPI = 6.4, 8.1, 150  # [inches], and pixels an inch: letters are read on a phone
_SIDE, _ACROSS, _DOWN, _TOP = 1.5, 2.2, 2.7, 0.42  # [inches]: a picture, from one to the next, and the first's distance from the top
_UNITS = ("°", "°", "°", " mm", " mm", " mm")


def method() -> Figure:
    """Eight steps in three rows, the second read from the right."""
    figure = Figure(figsize=(_WIDTH, _HEIGHT), dpi=_DPI, facecolor="white")
    page = figure.add_axes((0, 0, 1, 1), xlim=(0, _WIDTH), ylim=(_HEIGHT, 0))
    page.set_axis_off()
    for (row, col), (title, remark, picture) in _STEPS.items():
        x, y = _corner(row, col)
        page.text(x, y - 0.1, title, fontsize=14, fontweight="bold", color=DARK)
        page.text(x, y + _SIDE + 0.08, remark, fontsize=11.5, color=MUTED, va="top", linespacing=1.15)
        axes = figure.add_axes((x / _WIDTH, 1 - (y + _SIDE) / _HEIGHT, _SIDE / _WIDTH, _SIDE / _HEIGHT))
        axes.set_axis_off()
        picture(axes)
    for line in _ARROWS:
        _arrow(page, line)
    return figure


def _corner(row: int, col: int) -> tuple[float, float]:
    """Of a step's picture [inches]."""
    return 0.25 + col * _ACROSS, _TOP + row * _DOWN


def _arrow(page: Axes, places: list[tuple[float, float]]) -> None:
    """Through places, given by (row, col) of pictures' middles and shares between them."""
    points = [(0.25 + col * _ACROSS + _SIDE / 2, _TOP + row * _DOWN + _SIDE / 2) for row, col in places]
    page.plot(*zip(*points, strict=True), color=DARK, linewidth=1.6, solid_joinstyle="miter")
    look = {"arrowstyle": "-|>", "color": DARK, "linewidth": 1.6, "mutation_scale": 15, "shrinkA": 0, "shrinkB": 0}
    page.annotate("", points[-1], points[-2], arrowprops=look)


def _show(axes: Axes, image: NDArray) -> None:
    axes.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="bilinear", aspect="auto")


def _ct(axes: Axes) -> None:
    """The middle of a coronal slice through the hips."""
    hu, grid = xr.phantom.pelvis_hu(0, 2.0)
    at = np.linalg.solve(grid, [*xr.phantom.pelvis_landmarks(0)["hip center left"], 1.0])
    image = np.clip((hu[::-1, round(at[1])] + 200.0) / 1000.0, 0, 1)
    side = min(image.shape)
    row, col = ((length - side) // 2 for length in image.shape)
    _show(axes, image[row : row + side, col : col + side])


def _drr(axes: Axes) -> None:
    _show(axes, grey(xr.render(pelvis(), CARM, xr.Pose())[0].numpy()))


def _training(axes: Axes) -> None:
    """DRRs of random poses, nine of very many."""
    poses = xr.Pose.random(9, generator=torch.Generator().manual_seed(0))
    tiles = [np.pad(grey(image)[::3, ::3], 1, constant_values=1.0) for image in xr.render(pelvis(), CARM, poses).numpy()]
    _show(axes, np.vstack([np.hstack(tiles[first : first + 3]) for first in (0, 3, 6)]))


def _edges(axes: Axes, pose: xr.Pose) -> None:
    xray = simulated_xray()
    _show(axes, overlay(xray.image, xr.render(pelvis(), CARM, pose)[0], xray.mask))


def _xray(axes: Axes) -> None:
    _show(axes, display_image(simulated_xray().image, simulated_xray().mask))


def _drawing(axes: Axes) -> None:
    """Outlines of the bones."""
    _xray(axes)
    labels = xr.project_labels(bones(), simulated_xray(), registered())
    for name, thickness, colour in zip(labels.names, labels.thickness, cycle(COLOURS)):
        draw_label(axes, thickness, colour, name, "outline", voxel=2.0)


def _verdict(axes: Axes) -> None:
    """Six numbers and whether to trust them."""
    result = registered()
    numbers = zip(result.pose.to_dict().items(), result.standard_deviation or (), _UNITS, strict=True)
    lines = [f"{name} {value:.1f} ± {deviation:.1g}{unit}".replace("-", "\u2212") for (name, value), deviation, unit in numbers]
    axes.text(0, 0.98, "\n".join(lines), fontsize=10.5, color=DARK, va="top", linespacing=1.2)
    text, colour = ("trusted", GOOD) if result.trusted else ("NOT trusted", BAD)
    axes.text(0, -0.02, text, fontsize=13, fontweight="bold", color=colour, va="bottom")


# (row, column) -> title, remark, what draws the picture
_STEPS: dict[tuple[int, int], tuple[str, str, Callable[[Axes], None]]] = {
    (0, 0): ("CT", "density of each\nmaterial", _ct),
    (0, 1): ("Renderer", "DRR, by spectrum\nand materials", _drr),
    (0, 2): ("Network", "learns poses\nfrom DRRs", _training),
    (1, 2): ("First pose", "by the network, a\nview or a search", lambda axes: _edges(axes, registered().initial)),
    (1, 1): ("Refinement", "least squares, from\ncoarse to fine", lambda axes: _edges(axes, registered().pose)),
    (1, 0): ("Pose, verdict", "how sure, and\nwhether to trust it", _verdict),
    (2, 0): ("Drawing", "the CT's structures\non the X-ray", _drawing),
    (2, 2): ("X-ray", "with the C-arm's\ngeometry", _xray),
}
_LEFT, _RIGHT = 0.36, 0.64  # shares of the way from one picture to the next, just beside them
_ARROWS = [
    [(0, _LEFT), (0, _RIGHT)],
    [(0, 1 + _LEFT), (0, 1 + _RIGHT)],
    [(0.53, 2), (0.61, 2)],
    [(0.53, 1), (0.61, 1)],
    [(1, 1 + _RIGHT), (1, 1 + _LEFT)],
    [(1, _RIGHT), (1, _LEFT)],
    [(1.53, 0), (1.61, 0)],
    [(1.61, 2), (1.53, 2)],
    [(2, 1 + _RIGHT), (2, _LEFT)],
    [(2, 1), (1.53, 1)],
]
