"""What the six numbers do, and views by their clinical names."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

import xrcore as xr
from drawings.common import BLUE, CARM, DARK, MUTED, ORANGE, new_figure, patient, screen, show, source
from drawings.scene import on_detector
from xrcore.geometry import rigid

_SIDES = (("right", "left"), ("front", "back"), ("feet", "head"))  # of the negative and positive LPS axes
# radiographers name obliques and laterals by the side that lies at the detector
VIEWS: dict[str, dict[str, float]] = {
    "AP": {},
    "left lateral": {"ry": 90},
    "LPO 45": {"ry": 45},
    "RPO 45": {"ry": -45},
    "PA": {"ry": 180},
    "right lateral": {"ry": -90},
    "inlet": {"rx": -40},
    "outlet": {"rx": 40},
}
STEPS = {"rx": 25.0, "ry": 25.0, "rz": 25.0, "tx": 60.0, "ty": 60.0, "tz": 200.0}
_REACH = 1060  # of the plans, from the isocentre [mm]
_SHOWN = ("hip center", "pubic tubercle", "iliac spine", "sacral endplate", "ischial tuberosity")
_ARROW = {"arrowstyle": "-|>,head_width=1.4,head_length=2.8", "color": ORANGE, "linewidth": 0.9, "shrinkA": 0, "shrinkB": 0}
_MEANING = {
    "rx": "cranial/caudal",
    "ry": "LAO/RAO",
    "rz": "roll",
    "tx": "across",
    "ty": "along the body",
    "tz": "depth",
}


def where(pose: xr.Pose, least: float = 100.0) -> str:
    """Where the source is, in words: "front, right"; what lies within `least` [mm] of the isocentre's planes is left out."""
    sides = [(abs(v), _SIDES[axis][int(v > 0)]) for axis, v in enumerate(source(pose)) if abs(v) >= least]
    return ", ".join(word for _, word in sorted(sides, reverse=True))


def numbers() -> Figure:
    """A DRR at minus and plus each number; arrows take landmarks from where the zero pose shows them to where this one does."""
    figure = new_figure(3.55)
    zero = xr.Pose.zero()
    white = float(np.percentile(screen(zero), 97))
    before = _landmarks(zero)
    for col, (name, step) in enumerate(STEPS.items()):
        for row, sign in enumerate((-1, 1)):
            axes = figure.add_axes((0.004 + col * 0.1665, 0.475 - row * 0.472, 0.160, 0.36))
            pose = xr.Pose(**{name: sign * step})
            axes.imshow(screen(pose), cmap="gray", vmin=0, vmax=white, interpolation="bilinear")
            axes.set_axis_off()
            for start, end in zip(before, _landmarks(pose), strict=True):
                axes.add_patch(FancyArrowPatch(start, end, **_ARROW))  # type: ignore[arg-type]
                axes.plot(*start, "o", color=ORANGE, markersize=1.6)
            rows, cols = CARM.shape
            axes.set_xlim(-0.5, cols - 0.5)
            axes.set_ylim(rows - 0.5, -0.5)
            unit = "°" if name[0] == "r" else " mm"
            moved = source(pose) - source(zero)
            axis = int(np.abs(moved).argmax())
            told = f"source to the {_SIDES[axis][int(moved[axis] > 0)]}" if abs(moved[axis]) > 1 else "source stays"
            title = f"{name} {sign * step:+.0f}{unit}".replace("-", "−")
            axes.set_title(title, fontsize=8.5, fontweight="bold", color=DARK, loc="left", pad=10)
            axes.text(0, -6, told, fontsize=7, color=MUTED, va="bottom")
        figure.text(0.004 + col * 0.1665, 0.945, _MEANING[name], fontsize=9, color=BLUE)
    return figure


def _landmarks(pose: xr.Pose) -> np.ndarray:
    """(x, y) pixels of landmarks that lie in the zero pose's image."""
    points = np.stack([p for n, p in xr.phantom.pelvis_landmarks(0).items() if any(word in n for word in _SHOWN)])
    camera = rigid.apply(pose.camera_from_world(CARM, patient().isocenter), torch.from_numpy(points)[None])
    return np.asarray(CARM.project(camera)[0].numpy()[:, ::-1])


def views() -> Figure:
    """DRRs of the named views, each over two plans of where source and detector stand."""
    figure = new_figure(6.6)
    for i, (name, turned) in enumerate(VIEWS.items()):
        row, col = divmod(i, 4)
        left, bottom = 0.006 + col * 0.25, 0.5 * (1 - row)
        pose = xr.Pose(**turned)
        axes = figure.add_axes((left, bottom + 0.165, 0.236, 0.286))
        show(axes, screen(pose))
        said = ", ".join(f"{n} = {v:g}".replace("-", "−") for n, v in turned.items()) or "the zero pose"
        axes.set_title(name, loc="left", fontsize=9.5, fontweight="bold", color=DARK, pad=4)
        axes.set_title(said, loc="right", fontsize=8, color=MUTED, pad=4)
        _plan(figure.add_axes((left, bottom + 0.01, 0.115, 0.14)), pose, (0, 1), ("R", "L", "A", "P"))
        _plan(figure.add_axes((left + 0.121, bottom + 0.01, 0.115, 0.14)), pose, (1, 2), ("A", "P", "F", "H"))
    return figure


def _plan(axes: Axes, pose: xr.Pose, plane: tuple[int, int], letters: tuple[str, str, str, str]) -> None:
    """The patient's shadow along the third axis, like an axial slice (x, y) or from the left (y, z), with source and detector."""
    volume = patient()
    across, upward = plane
    down = upward == 1  # y grows down the picture, as in a slice
    third = ({0, 1, 2} - set(plane)).pop()
    shadow = (volume.density.sum(0) > 0).any(2 - third).numpy()  # arrays are (z, y, x), so rows are the later axis of the plane
    reach = [length / 2 for length in volume.extent]
    extent = (-reach[across], reach[across], *((reach[upward], -reach[upward]) if down else (-reach[upward], reach[upward])))
    axes.imshow(np.where(shadow, 0.86, 1.0), cmap="gray", vmin=0, vmax=1, extent=extent, origin="upper" if down else "lower")
    centre = volume.isocenter.numpy()
    rows, cols = CARM.shape
    ends = on_detector(CARM, pose, [(-0.5, -0.5), (-0.5, cols - 0.5), (rows - 0.5, cols - 0.5), (rows - 0.5, -0.5)]) - centre
    spot = source(pose)
    for end in ends:
        axes.plot(*np.stack([spot, end])[:, plane].T, color=MUTED, linewidth=0.4)
    axes.fill(*ends[:, plane].T, facecolor=(*to_rgb(ORANGE), 0.3), edgecolor=ORANGE, linewidth=1.6)
    axes.plot(*spot[list(plane)], "o", color=BLUE, markersize=4)
    axes.set_xlim(-_REACH, _REACH)
    axes.set_ylim(*((_REACH, -_REACH) if down else (-_REACH, _REACH)))
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color("#d8d8d8")
    places = ((0.04, 0.5, "left"), (0.96, 0.5, "right"), (0.5, 0.93 if down else 0.08, "center"), (0.5, 0.08 if down else 0.93, "center"))
    for letter, (px, py, side) in zip(letters, places, strict=True):
        axes.text(px, py, letter, transform=axes.transAxes, fontsize=6, color=MUTED, ha=side, va="center")
