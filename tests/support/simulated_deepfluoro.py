"""A small file of DeepFluoro's layout whose fluoroscopies are simulated."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import h5py
import numpy as np
import torch
from numpy import ndarray

from xrcore import CArm, Pose, Volume, simulate
from xrcore.ct import HuImage, volume_from_hu
from xrcore.geometry import rigid
from xrcore.phantom import pelvis_hu

CARM = CArm(source_to_detector=1020.0, source_to_isocenter=750.0, shape=(260, 260), pixel_spacing=1.5)
POSES = (Pose(rx=3, ry=-6, tx=8, ty=-5, tz=9), Pose(rx=-4, ry=14, rz=2, tx=-6, ty=4, tz=-8))
_LANDMARKS = 8
_HALF_ROUND_Y = np.diag([-1.0, 1.0, -1.0, 1.0])  # the file's camera looks from the detector to the source


def write_deepfluoro(path: str | os.PathLike[str], specimens: Sequence[str] = ("17-1882",), spacing: float = 4.0) -> None:
    """Write a phantom of each specimen's name, seen from `POSES`.

    Parameters
    ----------
    path : str or path
        Of the file.
    specimens : sequence of str
        Names.
    spacing : float
        Of the CTs' voxels [mm].
    """
    rows, cols = CARM.shape
    row, col = CARM.center
    focal = CARM.source_to_detector / CARM.spacing[0]
    with h5py.File(path, "w") as file:
        known: dict[str, Any] = {"extrinsic": np.eye(4), "intrinsic": np.array([[-focal, 0, cols - 1 - col], [0, -focal, row], [0, 0, 1]])}
        known |= {"num-rows": rows, "num-cols": cols, "pixel-row-spacing": CARM.spacing[0], "pixel-col-spacing": CARM.spacing[1]}
        for name, value in known.items():
            file[f"proj-params/{name}"] = value
        for seed, specimen in enumerate(specimens):
            hu, world_from_voxel = pelvis_hu(seed, spacing)
            _write_image(file.create_group(f"{specimen}/vol"), hu, np.full(3, spacing), world_from_voxel[:3, 3])
            volume = volume_from_hu(HuImage(hu=hu, world_from_voxel=world_from_voxel), spacing=None)
            points = volume.surface_points(_LANDMARKS)
            for k, point in enumerate(points):
                file[f"{specimen}/vol-landmarks/point-{k}"] = point.numpy()[:, None]
            for number, pose in enumerate(POSES):
                _write_view(file.create_group(f"{specimen}/projections/{number:03d}"), volume, pose, points, number)


def _write_view(group: h5py.Group, volume: Volume, pose: Pose, points: torch.Tensor, seed: int) -> None:
    camera_from_ct = pose.camera_from_world(CARM, volume.isocenter)[0].numpy()
    xray = simulate(volume, CARM, pose, seed=seed)
    intensity = 60000 * np.exp(-xray.image.numpy()[:, ::-1])
    _write_image(group.create_group("image"), intensity.astype(np.float32), np.array(CARM.spacing), np.zeros(2))
    group["gt-poses/cam-to-pelvis-vol"] = np.linalg.inv(camera_from_ct) @ _HALF_ROUND_Y
    seen = CARM.project(rigid.apply(torch.from_numpy(camera_from_ct), points))
    for k, (row, col) in enumerate(seen.tolist()):
        group[f"gt-landmarks/point-{k}"] = np.array([[CARM.shape[1] - 1 - col], [row]])
    group["rot-180-for-up"] = 0


def _write_image(group: h5py.Group, pixels: ndarray, spacing: ndarray, origin: ndarray) -> None:
    group["dir-mat"] = np.eye(len(spacing))
    group["spacing"], group["origin"] = spacing[:, None], origin[:, None]
    group.create_dataset("pixels", data=pixels, compression="gzip")
