"""Draw the CT's structures onto an X-ray after a registration."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float64
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy import ndarray

from xrcore._util.errors import XrcoreError, require
from xrcore._util.file_suffixes import DRAWN_SUFFIXES, FIGURE_SUFFIXES
from xrcore.ct.label_maps import LabelMap, read_label_map
from xrcore.ct.mesh import read_surface
from xrcore.ct.volume import Volume
from xrcore.drawing import artists
from xrcore.drawing.label_projection import ProjectedLabels, projected
from xrcore.drawing.markups import read_landmarks, read_lines
from xrcore.drawing.secondary_capture import save_secondary_capture
from xrcore.figures import display_image, figure_png, save_figure
from xrcore.figures.colours import BAD, DARK, GOOD
from xrcore.geometry import CArm, Pose, rigid
from xrcore.registration.placement import Placement, placement_of
from xrcore.registration.result import Registration
from xrcore.xray.image import Xray

if TYPE_CHECKING:
    import SimpleITK as sitk

_LONGER, _LEAST = 9.0, 5.0  # [inches]: the image's longer side, the figure's width
_DPI, _MOST_DPI = 100, 400
_ROW, _VERDICT = 0.3, 0.38  # [inches], of the legend and of the line below
_MOST_ENTRIES = 80  # of the legend
_ALIKE = 0.7  # correlation of an image with what was registered of it
_MARK, _LETTER = 0.7, 0.105  # [inches], of an entry's mark with the gaps around it, and of a letter at most


@dataclass(frozen=True, eq=False, repr=False)
class DrawnXray:
    """Result of `draw`.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        The picture; x and y of its first axes are column and row.
    points : dict of str to Float64[ndarray, "2"]
        (row, col) of each landmark [pixels]; not a number where it is not before the source.
    covariances : dict of str to Float64[ndarray, "2 2"]
        Of these, from the pose's covariance [pixels^2]; empty where that is not known.
    labels : ProjectedLabels or None
        What is outlined.
    notes : tuple of str
        Remarks, such as on what lies outside the image.
    """

    figure: Figure
    points: dict[str, Float64[ndarray, "2"]] = field(default_factory=dict)
    covariances: dict[str, Float64[ndarray, "2 2"]] = field(default_factory=dict)
    labels: ProjectedLabels | None = None
    notes: tuple[str, ...] = ()

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the picture.

        Parameters
        ----------
        path : path
            Ending in .png, .svg, .pdf, or .dcm (a secondary capture without personal details).

        Returns
        -------
        pathlib.Path
            The path.

        Raises
        ------
        XrcoreError
            For another suffix, or if the file cannot be written.
        """
        path = Path(path)
        suffix = path.suffix.lower()
        if suffix not in DRAWN_SUFFIXES:
            raise XrcoreError(f"{path}: must end in {', '.join(DRAWN_SUFFIXES)}")
        return save_figure(self.figure, path) if suffix in FIGURE_SUFFIXES else save_secondary_capture(self.figure, path)

    def summary(self) -> list[str]:
        """Name what is drawn, as in the legend, and the pixels of landmarks.

        Returns
        -------
        list of str
            One for each structure.
        """
        legend = [text.get_text() for text in self.figure.legends[0].get_texts()]
        places = [f"{name} ({row:.1f}, {col:.1f})" for name, (row, col) in self.points.items()]
        if self.points and artists.LANDMARKS in legend:
            del legend[-1 - legend[::-1].index(artists.LANDMARKS)]
        return legend + places

    def __repr__(self) -> str:
        return "\n".join([f"DrawnXray: {', '.join(self.summary())}", *(f"  note: {note}" for note in self.notes)])

    def _repr_png_(self) -> bytes:
        """Show the picture in a notebook."""
        return figure_png(self.figure)


def draw(
    xray: Xray,
    result: Registration | Pose | str | os.PathLike[str],
    *,
    labels: str | os.PathLike[str] | sitk.Image | LabelMap | None = None,
    points: object = None,
    lines: object = None,
    meshes: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | Mapping[str, str | os.PathLike[str]] | None = None,
    keep: Sequence[int] | None = None,
    style: str = "outline",
    diameter: float | None = None,
    frame: str = "lps",
    volume: Volume | None = None,
    view: int = 0,
) -> DrawnXray:
    """Draw the CT's structures onto an X-ray: segmentations, landmarks with their uncertainty, plans and implants.

    Parameters
    ----------
    xray : Xray
        The X-ray that was registered, or a part of it.
    result : Registration or Pose or path
        What `register` returned, or the folder that `xrcore register` wrote; or a pose, which needs `volume`.
    labels : path or SimpleITK.Image, optional
        Label map in the CT's patient space.
    points : path or mapping or array, optional
        Landmarks, LPS [mm]: 3D Slicer's .mrk.json or .fcsv, a CSV with the columns name, x, y, z, points by name, or an (n, 3) array.
    lines : path or mapping or sequence of Line, optional
        Lines through points, such as planned screws: files as for `points`, where rows of one name are a line, or points by name.
    meshes : path or sequence of path or mapping of str to path, optional
        Surfaces (STL, PLY, OBJ), whose silhouettes are drawn.
    keep : sequence of int, optional
        Labels wanted; default all but 0.
    style : str
        Of labels: "outline", "filled", or "thickness" (the more opaque, the further the ray runs through it).
    diameter : float, optional
        Of lines that say none [mm]; they are drawn as tubes.
    frame : str
        The axes of mesh files: "lps" or "ras".
    volume : Volume, optional
        The CT, from whose isocentre a bare pose counts.
    view : int
        Which of several views the X-ray is, counted from 0.

    Returns
    -------
    DrawnXray
        The picture, to show or to save, and the places in numbers.

    Raises
    ------
    XrcoreError
        Naming what cannot be read, does not fit, or is not seen.

    Examples
    --------
    >>> import xrcore as xr
    >>> from xrcore.geometry.presets import PAPER_CARM
    >>> volume = xr.phantom.pelvis(spacing=8.0)
    >>> xray = xr.simulate(volume, PAPER_CARM.resized((64, 64)), xr.Pose())
    >>> drawn = xr.draw(xray, xr.Pose(), points={"isocentre": volume.isocenter.tolist()}, volume=volume)
    >>> drawn.points["isocentre"].round(2)
    array([31.5, 31.5])
    """
    require("draw", "xray", xray, isinstance(xray, Xray), "an Xray, such as read_xray gives")
    require("draw", "style", style, style in artists.STYLES, " or ".join(map(repr, artists.STYLES)))
    if labels is None and points is None and lines is None and not _named(meshes):
        raise XrcoreError("draw: nothing to draw; give labels, points, lines or meshes")
    placement = placement_of(result, xray.carm, volume=volume, view=view)
    carm = placement.image_carm(xray.carm)
    depth = float(rigid.apply(placement.camera_from_world, placement.isocenter[None])[0, 2])
    likeness = placement.likeness(xray)
    figure, axes = _canvas(-xray.image if likeness is not None and likeness < 0 else xray.image, xray)
    entries, notes, colours = list[Artist](), list[str](), cycle(artists.COLOURS)
    if likeness is not None and not abs(likeness) >= _ALIKE:
        notes.append("the X-ray is not the image that was registered: another one, or flipped; structures may be drawn in wrong places")

    seen = None
    if labels is not None:
        known = read_label_map(labels, keep)
        seen = projected(known, carm, placement)
        voxel = artists.voxel_on_image(np.linalg.norm(known.world_from_voxel[:3, :3], axis=0).tolist(), carm, depth)
        for name, thickness in zip(seen.names, seen.thickness, strict=True):
            if thickness.any():
                entries.append(artists.draw_label(axes, thickness, next(colours), name, style, voxel))
            else:
                notes.append(f"{name} lies outside the image")
        notes += seen.notes
    for name, path in _named(meshes):
        mesh = read_surface(Path(path), frame)
        entries.append(artists.draw_mesh(axes, mesh, name, placement, carm, next(colours)))
        notes += _outside(placement, carm, {name: np.asarray(mesh.vertices)})
    for line in [] if lines is None else read_lines(lines, diameter):
        entries.append(artists.draw_line(axes, line, placement, carm, next(colours)))
        notes += _outside(placement, carm, {line.name: line.points})
    drawn, spread, farthest = _landmarks(placement, carm, points)
    if drawn:
        visible = {name: place for name, place in drawn.items() if np.isfinite(place).all()}
        entries += artists.draw_landmarks(axes, visible, spread, farthest)
        notes += _outside(placement, carm, {name: place[None] for name, place in read_landmarks(points).items()})
        if not spread:
            notes.append("where landmarks may lie is not shown: the covariance of the pose is not known, or not finite")
    artists.draw_scale_bar(axes, carm, depth)
    _explain(figure, axes, entries, placement)
    return DrawnXray(figure, drawn, spread, seen, tuple(dict.fromkeys(notes)))


def _named(meshes: Any) -> list[tuple[str, Any]]:
    if meshes is None:
        return []
    if isinstance(meshes, Mapping):
        return list(meshes.items())
    paths = [meshes] if isinstance(meshes, (str, os.PathLike)) else list(meshes)
    return [(Path(path).stem, path) for path in paths]


def _landmarks(placement: Placement, carm: CArm, points: object) -> tuple[dict[str, ndarray], dict[str, ndarray], float]:
    """Pixels of landmarks, their covariances, and the longest half-axis of their ellipses [mm], each at its landmark's depth."""
    landmarks = {} if points is None else read_landmarks(points)
    if not landmarks:
        return {}, {}, 0.0
    places = torch.from_numpy(np.stack(list(landmarks.values())))
    pixels = dict(zip(landmarks, placement.project(places, carm).numpy(), strict=True))
    covariances = placement.covariances(places, carm)
    if covariances is None:
        return pixels, {}, 0.0
    depths = rigid.apply(placement.camera_from_world, places)[:, 2].tolist()
    spread = dict(zip(landmarks, covariances.numpy(), strict=True))
    seen = [(spread[name], depth) for (name, place), depth in zip(pixels.items(), depths, strict=True) if np.isfinite(place).all()]
    return pixels, spread, max((artists.radius_mm(one, carm.spacing_at(depth)) for one, depth in seen), default=0.0)


def _outside(placement: Placement, carm: CArm, named: dict[str, ndarray]) -> list[str]:
    """A remark on each structure of which no point is in the image."""
    notes = []
    for name, places in named.items():
        pixels = placement.project(torch.from_numpy(np.asarray(places, np.float64)), carm).numpy()
        if not ((pixels >= -0.5) & (pixels <= np.array(carm.shape) - 0.5)).all(1).any():
            notes.append(f"{name} lies outside the image")
    return notes


def _canvas(image: torch.Tensor, xray: Xray) -> tuple[Figure, Any]:
    """The X-ray in its pixels, at its own resolution or finer."""
    (rows, cols), (down, across) = xray.carm.shape, xray.carm.spacing
    tall, wide = rows * max(down / across, 1), cols * max(across / down, 1)  # in the smaller step of its pixels
    scale = _LONGER / max(tall, wide)
    width, height = max(wide * scale, _LEAST), tall * scale
    figure = Figure(figsize=(width, height), dpi=min(max(_DPI, round(1 / scale)), _MOST_DPI), facecolor="white")
    axes = figure.add_axes(((width - wide * scale) / 2 / width, 0, wide * scale / width, 1))
    axes.imshow(display_image(image, xray.mask), cmap="gray", vmin=0, vmax=1, interpolation="antialiased", aspect="auto", zorder=1)
    axes.set_axis_off()
    axes.autoscale(False)
    return figure, axes


def _explain(figure: Figure, axes: Any, entries: list[Artist], placement: Placement) -> None:
    """Make room below the image for the legend and the verdict."""
    if len(entries) > _MOST_ENTRIES:
        entries = [*entries[:_MOST_ENTRIES], Line2D([], [], linestyle="none", label=f"and {len(entries) - _MOST_ENTRIES} more")]
    for entry in entries:
        entry.set_label(artists.shown_name(str(entry.get_label())))
    width, height = figure.get_size_inches()
    widest = _MARK + _LETTER * max(len(str(entry.get_label())) for entry in entries)
    columns = max(1, int((width - 0.2) // widest))
    below = _ROW * -(-len(entries) // columns) + _VERDICT + 0.1
    figure.set_size_inches(width, height + below)
    left, _, wide, _ = axes.get_position().bounds
    axes.set_position((left, below / (height + below), wide, height / (height + below)))
    anchor = (0.01, (_VERDICT + 0.02) / (height + below))
    style: dict[str, Any] = {"frameon": False, "fontsize": 12, "labelcolor": DARK, "borderpad": 0, "borderaxespad": 0, "handlelength": 1.4}
    legend = figure.legend(handles=entries, ncols=columns, loc="lower left", bbox_to_anchor=anchor, columnspacing=1.6, **style)
    for text in legend.get_texts():
        text.set_parse_math(False)  # a $ in a name is a letter
    verdict, colour = {
        True: ("registration trusted", GOOD),
        False: ("registration NOT trusted", BAD),
        None: ("pose not judged", DARK),
    }[placement.trusted]
    figure.text(0.01, 0.12 / (height + below), verdict, color=colour, fontsize=12, fontweight="bold")
    if placement.trusted is False:
        axes.text(0.02, 0.98, "NOT TRUSTED", transform=axes.transAxes, color="white", fontsize=16, fontweight="bold", va="top", zorder=9,
                  bbox={"facecolor": BAD, "edgecolor": "none", "pad": 5})  # fmt: skip
