"""Registrations that nobody had to compute, and where their camera puts a point by the formula of the conventions alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

import xrcore as xr
from xrcore.registration.view import views_of

CARM = xr.CArm(
    source_to_detector=1100.0, source_to_isocenter=700.0, shape=(48, 64), pixel_spacing=(5.0, 4.5), principal_point=(20.25, 38.5)
)
POSE = xr.Pose(rx=12.0, ry=-35.0, rz=90.0, tx=6.0, ty=-7.0, tz=18.0)  # rolled by a quarter
ISOCENTER = np.array([12.5, -30.0, 41.0])
DEVIATIONS = torch.tensor([0.3, 0.2, 0.25, 0.5, 0.8, 4.0], dtype=torch.float64)  # [deg, mm]


def gradient_xray(carm: xr.CArm = CARM) -> xr.Xray:
    rows, cols = carm.shape
    return xr.Xray(image=torch.arange(rows * cols, dtype=torch.float32).reshape(rows, cols), carm=carm)


def registered(xray: xr.Xray | None = None, **changes: Any) -> xr.Registration:
    """A result with a covariance, at `POSE`."""
    correlated = torch.eye(6, dtype=torch.float64)
    correlated[3, 4] = correlated[4, 3] = 0.5
    basis: dict[str, Any] = {
        "views": views_of("test", gradient_xray() if xray is None else xray),
        "pose": POSE,
        "similarity": 0.9,
        "covariance": DEVIATIONS[:, None] * correlated * DEVIATIONS,
        "stop_reason": xr.StopReason("step below tolerance"),
        "initial": xr.Pose.zero(),
        "method": "gauss-newton",
        "similarity_name": "zncc",
        "evaluations": 42,
        "isocenter": torch.from_numpy(ISOCENTER),
    }
    return xr.Registration(**basis | changes)


def by_formula(points: np.ndarray, numbers: np.ndarray, carm: xr.CArm = CARM) -> np.ndarray:
    """(row, col) of LPS points: world_from_camera = T(isocentre) . A . [Rz Rx Ry | t] . T(0, 0, -source_to_isocenter)."""
    rx, ry, rz = np.radians(numbers[:3])
    about_x = np.array([[1, 0, 0], [0, np.cos(rx), -np.sin(rx)], [0, np.sin(rx), np.cos(rx)]])
    about_y = np.array([[np.cos(ry), 0, np.sin(ry)], [0, 1, 0], [-np.sin(ry), 0, np.cos(ry)]])
    about_z = np.array([[np.cos(rz), -np.sin(rz), 0], [np.sin(rz), np.cos(rz), 0], [0, 0, 1]])
    lps_from_axes = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
    in_axes = (np.asarray(points) - ISOCENTER) @ lps_from_axes  # its inverse is its transpose
    x, y, z = ((in_axes - numbers[3:]) @ (about_z @ about_x @ about_y)).T
    depth = z + carm.source_to_isocenter
    (row_step, col_step), (row, col) = carm.spacing, carm.center
    return np.stack([row + y / depth * carm.source_to_detector / row_step, col + x / depth * carm.source_to_detector / col_step], 1)
