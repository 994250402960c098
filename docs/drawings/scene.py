"""A scene in space, seen by a second camera: lines are projected by `CArm.project`, bones are what `render` makes of that view."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from numpy.typing import ArrayLike, NDArray

import xrcore as xr
from drawings.common import DARK, bone, patient
from xrcore.geometry import camera_rays, rigid


class Scene:
    """Axes on which points of the world [mm, LPS] are drawn as a distant camera sees them.

    viewer: the direction it stands in, from `middle`, LPS; the patient's head stays up. middle: of the picture, relative to the patient's
    isocentre. width: of what it sees there [mm]. shape: pixels.
    """

    def __init__(self, axes: Axes, viewer: ArrayLike, *, width: float, shape: tuple[int, int], middle: ArrayLike = (0, 0, 0)) -> None:
        away = 6000.0
        spacing = 1.2 * width / shape[1]
        self.axes = axes
        self.camera = xr.CArm(source_to_detector=1.2 * away, source_to_isocenter=away, shape=shape, pixel_spacing=spacing)
        self.centre = patient().isocenter
        away_from_us = -np.asarray(viewer, dtype=float) / np.linalg.norm(viewer)
        right = np.cross(away_from_us, (0, 0, 1)) / np.linalg.norm(np.cross(away_from_us, (0, 0, 1)))
        world_from_camera = np.eye(4)
        world_from_camera[:3, :3] = np.stack([right, np.cross(away_from_us, right), away_from_us], 1)
        world_from_camera[:3, 3] = self.centre.numpy() + np.asarray(middle, dtype=float) - away * away_from_us
        self.pose = xr.Pose.from_world_from_camera(torch.from_numpy(world_from_camera), self.camera, self.centre)
        self._from_world = self.pose.camera_from_world(self.camera, self.centre)
        axes.set_xlim(-0.5, shape[1] - 0.5)
        axes.set_ylim(shape[0] - 0.5, -0.5)
        axes.set_aspect("equal")
        axes.set_axis_off()

    def at(self, points: ArrayLike) -> Float[NDArray, "n 2"]:
        """(x, y) on the axes."""
        world = torch.as_tensor(np.atleast_2d(np.asarray(points, dtype=float)))
        return self.camera.project(rigid.apply(self._from_world, world[None]))[0].numpy()[:, ::-1]

    def bones(self, colour: str = "#31445c", strength: float = 0.85) -> None:
        """The patient's skeleton, as that camera's X-ray of it."""
        rows, cols = self.camera.shape
        image = xr.render(bone(patient()), self.camera, self.pose)[0].numpy()
        opacity = strength * (1 - np.exp(-1.6 * image / np.percentile(image[image > 0.05 * image.max()], 90)))
        picture = np.concatenate([np.broadcast_to(to_rgb(colour), (rows, cols, 3)), opacity[..., None]], -1)
        self.axes.imshow(picture, extent=(-0.5, cols - 0.5, rows - 0.5, -0.5), interpolation="bilinear", zorder=2)

    def line(self, points: ArrayLike, **style: Any) -> None:
        self.axes.plot(*self.at(points).T, **({"color": DARK, "linewidth": 1.0, "solid_capstyle": "round"} | style))

    def arrow(self, start: ArrayLike, end: ArrayLike, text: str = "", *, color: str = DARK, beyond: float = 0.16, **style: Any) -> None:
        """text stands `beyond` the tip, as a share of the arrow."""
        a, b = self.at([start, end])  # type: ignore[list-item]
        arrow = {"arrowstyle": "-|>,head_width=0.22,head_length=0.45", "color": color, "linewidth": 1.8, "shrinkA": 0, "shrinkB": 0}
        self.axes.annotate("", b, a, arrowprops=arrow | style, zorder=6)
        if text:
            self.text(np.asarray(end) + beyond * (np.asarray(end, dtype=float) - np.asarray(start)), text, color=color)

    def text(self, point: ArrayLike, words: str, **style: Any) -> None:
        look = {"ha": "center", "va": "center", "fontsize": 9, "color": DARK, "zorder": 8}
        self.axes.text(*self.at(point)[0], words, **(look | style))

    def box(self, volume: xr.Volume, **style: Any) -> None:
        """The edges of a CT: its outermost voxels' faces."""
        z, y, x = volume.shape
        corners = np.array([[i, j, k, 1] for i in (-0.5, x - 0.5) for j in (-0.5, y - 0.5) for k in (-0.5, z - 0.5)])
        world = (corners @ volume.world_from_voxel.numpy().T)[:, :3]
        for a in range(8):
            for b in (1, 2, 4):
                if not a & b:
                    self.line(world[[a, a | b]], **style)

    def detector(self, carm: xr.CArm, pose: xr.Pose, image: Float[NDArray, "H W"] | None = None, **style: Any) -> Float[NDArray, "4 3"]:
        """A detector where it stands, with the image it shows; returns its corners, from the image's upper left clockwise."""
        rows, cols = carm.shape
        corners = on_detector(carm, pose, [(-0.5, -0.5), (-0.5, cols - 0.5), (rows - 0.5, cols - 0.5), (rows - 0.5, -0.5)])
        if image is not None:
            row, col = np.meshgrid(np.arange(rows + 1) - 0.5, np.arange(cols + 1) - 0.5, indexing="ij")
            edges = self.at(on_detector(carm, pose, np.stack([row, col], -1).reshape(-1, 2)))
            x, y = edges.reshape(rows + 1, cols + 1, 2).transpose(2, 0, 1)
            self.axes.pcolormesh(x, y, image, cmap="gray", vmin=0, vmax=1, zorder=style.get("zorder", 1), rasterized=True)
        self.line(corners[[0, 1, 2, 3, 0]], **({"linewidth": 1.2} | style))
        return corners


def on_detector(carm: xr.CArm, pose: xr.Pose, pixels: ArrayLike) -> Float[NDArray, "n 3"]:
    """World points [mm] of (row, col) pixels on the detector."""
    row, col = np.atleast_2d(np.asarray(pixels, dtype=float)).T
    k = np.linalg.inv(carm.K.numpy())
    camera = carm.source_to_detector * (k @ np.stack([col, row, np.ones_like(row)])).T
    # the same rays as the renderer's, wherever these have one
    assert np.allclose(camera_rays(carm)[0, 0].numpy() * carm.source_to_detector, carm.source_to_detector * k @ np.array([0, 0, 1]))
    matrix = pose.world_from_camera(carm, patient().isocenter)[0]
    return rigid.apply(matrix, torch.from_numpy(camera)).numpy()
