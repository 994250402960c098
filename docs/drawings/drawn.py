"""The CT's structures on an X-ray, the scene for 3D Slicer, and a registration as it goes."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import trimesh
from matplotlib.figure import Figure

import xrcore as xr
from drawings.common import BLUE, ORANGE, new_figure
from drawings.verdicts import simulated_xray
from xrcore.ct.label_maps import LabelMap
from xrcore.drawing import animate, write_slicer
from xrcore.drawing.markups import read_landmarks, read_lines
from xrcore.registration.placement import placement_of

_SHOWN = ("hip center left", "hip center right", "sacral endplate")


@cache
def pelvis() -> xr.Volume:
    return xr.phantom.pelvis(0, 2.0)


@cache
def registered() -> xr.Registration:
    return xr.register(simulated_xray(), pelvis())


def bones() -> LabelMap:
    labels, grid, values = xr.phantom.pelvis_labels(0, 2.0)
    return LabelMap(labels.astype(np.int32), grid, tuple(values.values()), tuple(values))


def _landmarks() -> dict[str, np.ndarray]:
    known = xr.phantom.pelvis_landmarks(0)
    return {name: known[name] for name in _SHOWN}


def _screw() -> dict[str, np.ndarray]:
    """From the wing of the right hip bone into the sacrum."""
    endplate = xr.phantom.pelvis_landmarks(0)["sacral endplate"]
    return {"planned screw": endplate + np.array([[-76.0, 38.0, -12.0], [-4.0, 20.0, -17.0]])}


def drawn() -> Figure:
    """Outlines, landmarks and a screw."""
    given = {"labels": bones(), "points": _landmarks(), "lines": _screw(), "diameter": 7.0}
    return xr.draw(simulated_xray(), registered(), **given).figure


def thickness() -> Figure:
    """The same labels by how far the rays run through them."""
    return xr.draw(simulated_xray(), registered(), labels=bones(), style="thickness").figure


def slicer_scene() -> Figure:
    """The files of `--slicer`, as they read, and the bones."""
    with tempfile.TemporaryDirectory() as name:
        folder, xray, result = Path(name), simulated_xray(), registered()
        write_slicer(folder, xray, placement_of(result, xray.carm), _landmarks())
        image = sitk.ReadImage(str(folder / "xray.nrrd"))
        beam = trimesh.load_mesh(folder / "camera.ply")
        landmarks, (ray,) = read_landmarks(folder / "landmarks.mrk.json"), read_lines(folder / "camera.mrk.json")
    figure = new_figure(4.0)
    axes = figure.add_axes((-0.115, -0.636, 1.05, 2.1), projection="3d", computed_zorder=False)
    cols, rows, _ = image.GetSize()
    step = 4  # pixels of a cell
    across, down = np.arange(0, cols + 1, step) - 0.5, np.arange(0, rows + 1, step) - 0.5
    edges = [[image.TransformContinuousIndexToPhysicalPoint((c, r, 0.0)) for c in across] for r in down]
    x, y, z = np.array(edges).transpose(2, 0, 1)
    grey = sitk.GetArrayFromImage(image)[0].reshape(rows // step, step, cols // step, step).mean((1, 3))
    low, high = np.percentile(grey, (2, 98))
    shade = np.repeat(np.clip((grey - low) / (high - low), 0, 1)[..., None], 3, -1)
    axes.plot_surface(x, y, z, facecolors=shade, rstride=1, cstride=1, shade=False, zorder=1)
    labels, grid, _ = xr.phantom.pelvis_labels(0, 6.0)
    bones = np.argwhere(labels > 0)[:, ::-1] @ grid[:3, :3].T + grid[:3, 3]
    axes.scatter(*bones.T, s=3, color="#31445c", alpha=0.4, linewidths=0, depthshade=False, zorder=3)
    for face in beam.triangles:
        axes.plot(*face[[0, 1, 2, 0]].T, color=BLUE, linewidth=0.8, zorder=2)
    axes.plot(*ray.points.T, color=ORANGE, linewidth=1.5, zorder=4)
    axes.scatter(*ray.points[:1].T, s=60, color=ORANGE, zorder=4)
    axes.scatter(*np.array(list(landmarks.values())).T, s=45, color="#FFE14D", edgecolors="black", depthshade=False, zorder=5)
    axes.set_aspect("equal")
    axes.view_init(elev=18, azim=-20)
    axes.set_axis_off()
    return figure


def registration(path: Path) -> Path:
    """The animation."""
    return animate(registered(), pelvis(), path)
