"""Put structures into a figure whose axes are an X-ray's pixels: x the column, y the row."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D
from matplotlib.patches import Ellipse, Patch
from matplotlib.patheffects import withStroke
from numpy import ndarray
from scipy.ndimage import binary_erosion, gaussian_filter

from xrcore.drawing.markups import Line
from xrcore.drawing.silhouettes import silhouette
from xrcore.geometry import CArm
from xrcore.registration.placement import Placement

# bright on grey: Okabe and Ito's for the colour-blind, lighter and without the dark blue, and three more
COLOURS = ("#56B4E9", "#E69F00", "#2DC99A", "#F0E442", "#E58FBF", "#FF7A33", "#B99CFF", "#FF4FD8", "#9BE64A")
LANDMARK = "#FFE14D"
LANDMARKS = "landmark"  # in the legend, all of them
PROBABILITY = 0.95  # that a landmark lies in its ellipse
_RADIUS = float(np.sqrt(-2 * np.log(1 - PROBABILITY)))  # of that ellipse, in standard deviations
_HALO: list[Any] = [withStroke(linewidth=3, foreground="black", alpha=0.65)]
_SMOOTHED = 0.4  # of a voxel's size on the image: takes off its steps, and keeps what is one voxel wide
_OPACITY = {"outline": 0.0, "filled": 0.35, "thickness": 0.8}
STYLES = tuple(_OPACITY)
_LONGEST_NAME = 60  # letters
_BARS = (5, 10, 20, 50, 100, 200)  # [mm]


def shown_name(name: str) -> str:
    """A name as one short line that can be drawn, whatever is in a file."""
    line = " ".join(name.encode("utf-8", "replace").decode().split())
    return line if len(line) <= _LONGEST_NAME else f"{line[: _LONGEST_NAME - 3]}..."


def draw_label(axes: Axes, thickness: Float32[ndarray, "H W"], colour: str, name: str, style: str, voxel: float) -> Artist:
    """Outline, and fill, one label; returns its legend entry. voxel: its size on the image [pixels]."""
    mask = (thickness > 0).astype(np.float32)
    smooth = gaussian_filter(mask, _SMOOTHED * voxel, mode="nearest") if voxel > 1 else mask
    if smooth.min() < 0.5 < smooth.max():
        axes.contour(smooth, levels=[0.5], colors=[colour], linewidths=1.8, zorder=3)
    if _OPACITY[style]:
        share = mask if style == "filled" else thickness / thickness.max()
        shade = np.concatenate([np.broadcast_to(to_rgb(colour), (*mask.shape, 3)), _OPACITY[style] * share[..., None]], -1)
        axes.imshow(shade, interpolation="nearest", zorder=2)
    deep = f", up to {thickness.max():.0f} mm" if style == "thickness" else ""
    return Patch(facecolor=(*to_rgb(colour), _OPACITY[style]), edgecolor=colour, linewidth=1.8, label=name + deep)


def outlined(picture: Float64[ndarray, "H W"] | Float64[ndarray, "H W 3"], masks: Bool[ndarray, "L H W"]) -> Float64[ndarray, "H W 3"]:
    """The picture with the outermost pixels of each mask in its colour, for where each frame counts."""
    colours = np.array(np.repeat(picture[..., None], 3, -1) if picture.ndim == 2 else picture)
    for mask, colour in zip(masks, cycle(COLOURS)):
        colours[mask & ~binary_erosion(mask, border_value=1)] = to_rgb(colour)
    return colours


def draw_landmarks(
    axes: Axes, pixels: dict[str, Float64[ndarray, "2"]], covariances: dict[str, Float64[ndarray, "2 2"]], farthest: float
) -> list[Artist]:
    """A cross and a name at each (row, col), and the ellipse where its covariance is known; returns the legend entries.

    farthest: the largest `radius_mm`.
    """
    for name, (row, col) in pixels.items():
        axes.plot([col], [row], "+", color=LANDMARK, markersize=11, markeredgewidth=1.8, path_effects=_HALO, zorder=6)
        place: dict[str, Any] = {"xytext": (7, 5), "textcoords": "offset points", "annotation_clip": True}
        axes.annotate(shown_name(name), (col, row), color=LANDMARK, fontsize=12, path_effects=_HALO, zorder=7, parse_math=False, **place)
        if name in covariances:
            axes.add_patch(ellipse(row, col, covariances[name]))
    look: dict[str, Any] = {"linestyle": "none", "color": "#b89b00"}
    entries: list[Artist] = [Line2D([], [], marker="+", markersize=11, markeredgewidth=1.8, label=LANDMARKS, **look)]
    if covariances:
        text = f"95 % within {farthest:.2g} mm"
        entries.append(Line2D([], [], marker="o", markerfacecolor="none", markersize=9, label=text, **look))
    return entries


def radius_mm(covariance: Float64[ndarray, "2 2"], spacing: tuple[float, float]) -> float:
    """The longer half of the ellipse that holds a place with `PROBABILITY` [mm]. spacing: of pixels at its depth, (row, col) [mm]."""
    return _RADIUS * float(np.sqrt(max(np.linalg.eigvalsh(covariance * np.outer(spacing, spacing)).max(), 0)))


def ellipse(row: float, col: float, covariance: Float64[ndarray, "2 2"]) -> Ellipse:
    """The ellipse that holds a place with `PROBABILITY`. covariance: of (row, col) [pixels^2]."""
    variances, axes = np.linalg.eigh(covariance)
    height, width = 2 * _RADIUS * np.sqrt(np.clip(variances, 0, None))
    angle = np.degrees(np.arctan2(axes[0, 1], axes[1, 1]))  # of the long axis, from the columns to the rows
    return Ellipse((col, row), width, height, angle=angle, fill=False, edgecolor=LANDMARK, linewidth=1.5, path_effects=_HALO, zorder=8)


def draw_line(axes: Axes, line: Line, placement: Placement, carm: CArm, colour: str) -> Artist:
    """A line, or the outline of the tube around it; returns its legend entry."""
    share = np.linspace(0, 1, 17)[:, None]  # a straight line is none on a slot scan
    dense = np.concatenate([a + share * (b - a) for a, b in zip(line.points, line.points[1:], strict=False)])
    row, col = placement.project(torch.from_numpy(dense), carm).T.numpy()
    thin = line.diameter is not None
    axes.plot(col, row, color=colour, linewidth=1.0 if thin else 2.0, linestyle=(0, (5, 4)) if thin else "-", zorder=4)
    if line.diameter is None:
        return Line2D([], [], color=colour, linewidth=2.0, label=line.name)
    import trimesh

    for a, b in zip(line.points, line.points[1:], strict=False):
        tube = trimesh.creation.cylinder(radius=line.diameter / 2, segment=np.stack([a, b]), sections=48)
        _edges(axes, silhouette(tube, placement, carm), colour)
    return Line2D([], [], color=colour, linewidth=2.0, label=f"{line.name}, {line.diameter:g} mm")


def draw_mesh(axes: Axes, mesh: Any, name: str, placement: Placement, carm: CArm, colour: str) -> Artist:
    """A surface's silhouette; returns its legend entry."""
    _edges(axes, silhouette(mesh, placement, carm), colour)
    return Line2D([], [], color=colour, linewidth=2.0, label=name)


def _edges(axes: Axes, ends: Float64[ndarray, "n 2 2"], colour: str) -> None:
    axes.add_collection(LineCollection(list(ends[..., ::-1]), colors=colour, linewidths=1.6, capstyle="round", zorder=4), autolim=False)


def draw_scale_bar(axes: Axes, carm: CArm, depth: float) -> None:
    """A round length at some distance from the source, a quarter of the image long or less; none where the image is too small."""
    rows, cols = carm.shape
    spacing = carm.spacing_at(depth)[1]
    length = max((bar for bar in _BARS if bar <= 0.25 * cols * spacing), default=None)
    if length is None:
        return
    x, y = 0.03 * cols, rows - 1 - 0.04 * rows
    axes.plot([x, x + length / spacing], [y, y], color="white", linewidth=3, solid_capstyle="butt", path_effects=_HALO, zorder=8)
    text = f"{length} mm at the isocentre's depth"
    axes.annotate(
        text, (x, y), xytext=(0, 5), textcoords="offset points", color="white", fontsize=11, path_effects=_HALO, va="bottom", zorder=8
    )


def voxel_on_image(spacing: Sequence[float], carm: CArm, depth: float) -> float:
    """The size of a voxel [pixels], at some distance from the source."""
    return float(max(spacing)) / min(carm.spacing_at(depth))
