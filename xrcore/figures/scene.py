"""Draw source, patient and detector in space, as a far-away observer sees them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray

from xrcore.beam import Beam
from xrcore.ct import Volume
from xrcore.figures.blends import display_image
from xrcore.figures.colours import BLUE, ORANGE
from xrcore.geometry import CArm, Pose, rigid
from xrcore.renderer import render

VIEW_DIRECTION = (1.1, -0.75, 0.5)  # towards the observer: at the patient's left, in front and above
_AWAY = 8000.0  # [mm]: far enough that hardly any perspective is left
_ROWS, _COLUMNS = 420, 760  # pixels
_GRID = 4.0  # [mm]
_CELLS = 64  # of the picture on the detector, along each side
_BONE = "#31445c"


def scene_figure(volume: Volume, carm: CArm, pose: Pose, beam: Beam | None = None) -> Figure:
    """Draw the bones as an X-ray from the observer's side, the source, the beam's edges, and the detector with its DRR.

    Parameters
    ----------
    volume : Volume
        The CT.
    carm : CArm
        The C-arm.
    pose : Pose
        Its pose, one.
    beam : Beam, optional
        Of the DRR; default 90 kV.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.
    """
    observer = CArm(
        source_to_detector=1.2 * _AWAY,
        source_to_isocenter=_AWAY,
        shape=(_ROWS, _COLUMNS),
        pixel_spacing=1.2 * 1.3 * carm.source_to_detector / _COLUMNS,
    )
    view = _looking_from(observer, volume)
    from_world = view.camera_from_world(observer, volume.isocenter)

    def seen(points: Float[NDArray, "n 3"]) -> Float[NDArray, "n 2"]:
        """(x, y) pixels of points in the C-arm's camera frame."""
        world = rigid.apply(pose.world_from_camera(carm, volume.isocenter), torch.from_numpy(points)[None])
        return observer.project(rigid.apply(from_world, world))[0].numpy()[:, ::-1]

    figure = Figure(figsize=(_COLUMNS / 100, _ROWS / 100), dpi=100, facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    corners = carm.corners().numpy()
    cells = carm.resized((_CELLS, _CELLS))
    with torch.no_grad():
        drr = render(volume.coarser(_GRID), cells, pose, beam)
        bones = render(_bones(volume.coarser(_GRID)), observer, view)[0].cpu().numpy()
    across, down = np.meshgrid(np.linspace(0, 1, _CELLS + 1), np.linspace(0, 1, _CELLS + 1))
    upper_left, upper_right, _, lower_left = corners
    grid = upper_left + across[..., None] * (upper_right - upper_left) + down[..., None] * (lower_left - upper_left)
    x, y = seen(grid.reshape(-1, 3)).reshape(_CELLS + 1, _CELLS + 1, 2).transpose(2, 0, 1)
    axes.pcolormesh(x, y, display_image(drr), cmap="gray", vmin=0, vmax=1, zorder=1)
    axes.plot(*seen(corners[[0, 1, 2, 3, 0]]).T, color=BLUE, linewidth=2, zorder=2)
    shade = 0.85 * (1 - np.exp(-1.6 * bones / max(np.percentile(bones[bones > 0.05 * bones.max()], 90), 1e-6))) if bones.any() else bones
    silhouette = np.concatenate([np.broadcast_to(to_rgb(_BONE), (*bones.shape, 3)), shade[..., None]], -1)
    axes.imshow(silhouette, extent=(-0.5, _COLUMNS - 0.5, _ROWS - 0.5, -0.5), zorder=3)
    sources = carm.corner_sources().numpy()
    for source, corner in zip(sources, corners, strict=True):
        axes.plot(*seen(np.stack([source, corner])).T, color=BLUE, linewidth=1, zorder=4)
    axes.plot(*seen(sources[[0, 2]]).T, marker="o", markersize=10, linewidth=3, color=ORANGE, zorder=5)
    axes.set_xlim(-0.5, _COLUMNS - 0.5)
    axes.set_ylim(_ROWS - 0.5, -0.5)
    return figure


def _looking_from(observer: CArm, volume: Volume) -> Pose:
    forward = -np.array(VIEW_DIRECTION) / np.linalg.norm(VIEW_DIRECTION)
    right = np.cross(forward, (0.0, 0.0, 1.0))
    right /= np.linalg.norm(right)
    world_from_camera = np.eye(4)
    world_from_camera[:3, :3] = np.stack([right, np.cross(forward, right), forward], 1)
    world_from_camera[:3, 3] = volume.isocenter.numpy() - _AWAY * forward
    return Pose.from_world_from_camera(torch.from_numpy(world_from_camera), observer, volume.isocenter)


def _bones(volume: Volume) -> Volume:
    """All but soft tissue and air."""
    hard = [i for i, name in enumerate(volume.materials) if name not in ("soft", "air")] or list(range(len(volume.materials)))
    return replace(volume, density=volume.density[hard].contiguous(), materials=tuple(volume.materials[i] for i in hard))
