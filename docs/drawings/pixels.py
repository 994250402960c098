"""Pixel centres and edges, what `resized` keeps, and where a voxel's index points."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

import xrcore as xr
from drawings.common import BLUE, DARK, GREEN, MUTED, ORANGE, new_figure

_CARM = xr.CArm(source_to_detector=1000, source_to_isocenter=600, shape=(4, 6), pixel_spacing=10)


def pixels() -> Figure:
    """A detector of 4 x 6 pixels, the same as 2 x 3, and two readings of one row of voxels."""
    figure = new_figure(2.75)
    fine = figure.add_axes((0.02, 0.02, 0.32, 0.86))
    coarse = figure.add_axes((0.36, 0.02, 0.32, 0.86))
    _grid(fine, _CARM, "4 × 6 pixels of 10 mm")
    _grid(coarse, _CARM.resized((2, 3)), ".resized((2, 3)): 20 mm")
    _voxels(figure.add_axes((0.72, 0.02, 0.27, 0.86)))
    return figure


def _grid(axes: Axes, carm: xr.CArm, title: str) -> None:
    """Drawn in mm from the detector's upper left corner, so that what stays, stays."""
    rows, cols = carm.shape
    height, width = carm.spacing
    for row in range(rows):
        for col in range(cols):
            axes.add_patch(Rectangle((col * width, row * height), width, height, fill=False, edgecolor="#b9bec4", linewidth=0.8))
            axes.plot((col + 0.5) * width, (row + 0.5) * height, ".", color=BLUE, markersize=5)
            axes.text((col + 0.5) * width, (row + 0.5) * height - 1.3, f"{row}, {col}", fontsize=6.3, color=BLUE, ha="center", va="bottom")
    axes.add_patch(Rectangle((0, 0), cols * width, rows * height, fill=False, edgecolor=DARK, linewidth=1.6))
    row, col = carm.center
    axes.plot((col + 0.5) * width, (row + 0.5) * height, "+", color=ORANGE, markersize=11, markeredgewidth=1.6)
    point = f"principal_point = ({row:g}, {col:g})"
    axes.text(cols * width / 2, rows * height + 2.2, point, fontsize=8, color=ORANGE, ha="center", va="top")
    for value, x in ((-0.5, 0), (0, 0.5 * width), (cols - 0.5, cols * width)):
        side = "right" if value == -0.5 else "center"
        axes.text(x + (value == -0.5), -1.6, f"{value:g}".replace("-", "−"), fontsize=7.5, color=DARK, ha=side, va="bottom")
    for value, y in ((-0.5, 1.0), (0, 0.5 * height), (rows - 0.5, rows * height)):
        axes.text(-1.2, y, f"{value:g}".replace("-", "−"), fontsize=7.5, color=DARK, ha="right", va="center")
    axes.set_title(title, fontsize=9.5, fontweight="bold", color=DARK, loc="left", pad=3)
    axes.set_xlim(-6, 61)
    axes.set_ylim(46, -5)
    axes.set_aspect("equal")
    axes.set_axis_off()


def _voxels(axes: Axes) -> None:
    """One row of voxels, laid out by the right matrix and by one that takes its origin for a corner."""
    values = np.array([0.15, 0.3, 0.85, 0.6, 0.2])
    spacing = 2.0
    matrix = np.diag([spacing, spacing, spacing, 1.0])
    right = (matrix @ np.stack([np.arange(5), *np.zeros((2, 5)), np.ones(5)]))[0]  # world x of voxel centres
    for level, (name, first, colour) in enumerate(
        (("index = centre", right, GREEN), ("index taken for the corner", right + spacing / 2, ORANGE))
    ):
        top = level * 2.7
        for x, value in zip(first, values, strict=True):
            axes.add_patch(Rectangle((x - spacing / 2, top), spacing, 1.2, facecolor=str(value), edgecolor="white", linewidth=0.8))
            axes.plot(x, top + 0.6, ".", color=colour, markersize=5)
        axes.text(-1.0, top - 0.22, name, fontsize=8.5, color=colour, fontweight="bold", va="bottom")
    for x in (right[2], right[2] + spacing / 2):
        axes.plot([x, x], [0.6, 4.1], color=MUTED, linewidth=0.7, linestyle=(0, (3, 3)))
    axes.annotate(
        "", (right[2] + spacing / 2, 1.72), (right[2], 1.72), arrowprops={"arrowstyle": "-|>", "color": DARK, "shrinkA": 0, "shrinkB": 0}
    )
    axes.text(right[2] + spacing / 2 + 0.25, 1.72, "half a voxel", fontsize=8, va="center", color=DARK)
    axes.plot([-1.2, 10.4], [4.6, 4.6], color=DARK, linewidth=0.8)
    for x in range(0, 11, 2):
        axes.plot([x, x], [4.6, 4.72], color=DARK, linewidth=0.8)
        axes.text(x, 4.85, f"{x}", fontsize=7.5, ha="center", va="top", color=DARK)
    axes.text(4.6, 5.35, "world x [mm], origin at 0, voxels of 2 mm", fontsize=7.5, ha="center", va="top", color=MUTED)
    axes.set_title("a row of voxels", fontsize=9.5, fontweight="bold", color=DARK, loc="left", pad=3)
    axes.set_xlim(-1.5, 10.8)
    axes.set_ylim(6.0, -0.7)
    axes.set_axis_off()
