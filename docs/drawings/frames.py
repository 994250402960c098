"""The frames, in one drawing."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

import xrcore as xr
from drawings.common import BLUE, CARM, DARK, GREEN, MUTED, ORANGE, PURPLE, grey, new_figure, patient, screen
from drawings.common import source as source_at
from drawings.scene import Scene, on_detector

_WHITE = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}


def frames() -> Figure:
    """World, C-arm, camera and detector at the zero pose, the patient between source and detector."""
    figure = new_figure(4.75)
    scene = Scene(figure.add_axes((0, 0, 1, 1)), (-0.74, -0.56, 0.30), width=1440, shape=(855, 1440), middle=(0, -105, -22))
    pose, volume = xr.Pose.zero(), patient()
    centre = volume.isocenter.numpy()
    camera = pose.world_from_camera(CARM, volume.isocenter)[0].numpy()
    source, axes = camera[:3, 3], camera[:3, :3].T
    small = CARM.resized((128, 128))
    corners = scene.detector(small, pose, grey(screen(pose, carm=small)), zorder=1)
    for corner in corners:
        scene.line([source, corner], color=MUTED, linewidth=0.7, zorder=3)
    middle = source + CARM.source_to_detector * axes[2]
    scene.line([source, middle], color=MUTED, linewidth=0.9, linestyle=(0, (6, 4)), zorder=3)
    scene.box(volume, color=MUTED, linewidth=0.6, zorder=1)
    scene.bones()

    # world: only its directions matter, so they stand beside the patient
    corner = centre + np.array([volume.extent[0] / 2 + 330, -volume.extent[1] / 2 - 190, 60])
    for direction, words in zip(np.eye(3), ("x: left", "y: posterior", "z: superior"), strict=True):
        scene.arrow(corner, corner + 130 * direction, words, color=GREEN, beyond=0.25)
    scene.text(corner - np.array([0, 0, 45]), "world (the CT's, LPS)", color=GREEN, fontweight="bold")

    # the C-arm's axes: where a millimetre of tx, ty and tz takes the source
    for name in "xyz":
        direction = source_at(xr.Pose(**{f"t{name}": 1.0})) - source_at(pose)
        scene.arrow(centre, centre + 175 * direction, f"{name}", color=ORANGE, beyond=0.13)
    scene.axes.plot(*scene.at(centre).T, "o", color=ORANGE, markersize=5, zorder=7)

    for direction, name in zip(axes, "xyz", strict=True):
        scene.arrow(source, source + 150 * direction, name, color=BLUE, beyond=0.15)
    scene.axes.plot(*scene.at(source).T, "o", color=BLUE, markersize=7, zorder=7)
    scene.text(source + np.array([0, 60, 95]), "camera, the source its origin", color=BLUE, fontweight="bold")

    first, right, down = on_detector(CARM, pose, [(0, 0), (0, 100), (100, 0)])
    for tip, name in ((right, "columns"), (down, "rows")):
        scene.arrow(first, tip, color=PURPLE)
        scene.text((first + tip) / 2 + 26 * (np.array([0, 0, 1.0]) if name == "columns" else np.array([-1.5, 0, 0])), name, color=PURPLE)
    scene.text(corners[0] + np.array([-40, 0, 85]), "pixel (row 0, col 0)", color=PURPLE, fontweight="bold", ha="left")
    scene.line([corners[0] + np.array([0, 0, 60]), first], color=PURPLE, linewidth=0.8)
    scene.axes.plot(*scene.at(first).T, "s", color=PURPLE, markersize=3.5, zorder=7)

    _distances(scene, source, centre, middle)
    scene.text(centre + np.array([0, 0, 245]), "C-arm axes at the isocentre", color=ORANGE, fontweight="bold")
    return figure


def _distances(scene: Scene, source: np.ndarray, centre: np.ndarray, middle: np.ndarray) -> None:
    """source_to_isocenter and source_to_detector, below the scene."""
    for end, drop, words in ((centre, 215.0, "source_to_isocenter"), (middle, 275.0, "source_to_detector")):
        down = np.array([0, 0, -drop])
        for point in (source, end):
            scene.line([point, point + down], color=MUTED, linewidth=0.5, linestyle=(0, (2, 3)), zorder=1)
        for a, b in ((source, end), (end, source)):
            scene.arrow((a + b) / 2 + down, b + down, color=DARK, linewidth=0.9)
        along = 0.5 if end is centre else 0.62
        scene.text(source + along * (end - source) + down, words, fontsize=8.5, bbox=_WHITE)
