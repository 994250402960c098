"""Errors of an estimated pose against the true one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from xrcore._util.conversion import as_tensor
from xrcore._util.errors import XrcoreError, is_number, require
from xrcore.geometry import CArm, Pose, rigid
from xrcore.geometry.pose import difference_of_numbers

Points = Shaped[Tensor, "..."] | Shaped[np.ndarray, "..."] | Sequence[Any]


def mtre(pose: Pose, truth: Pose, landmarks: Points, carm: CArm, isocenter: Points) -> Float[Tensor, " B"]:
    """Measure the mean target registration error: the mean distance of landmarks in the true and in the estimated camera frame.

    Parameters
    ----------
    pose, truth : Pose
        The estimated and the true poses. Either may be a batch of one, compared with every pose of the other.
    landmarks : Float[Tensor, "n 3"]
        LPS [mm].
    carm : CArm
        The imaging system of both.
    isocenter : Float[Tensor, "3"]
        LPS [mm]; a volume's is `volume.isocenter`.

    Returns
    -------
    Float[Tensor, "B"]
        mTRE of each pose [mm].

    References
    ----------
    van de Kraats et al., Standardized evaluation methodology for 2-D-3-D registration, IEEE TMI 24(9), 2005.

    Examples
    --------
    >>> import xrcore as xr
    >>> carm = xr.CArm(source_to_detector=1200, source_to_isocenter=800, shape=(256, 256), pixel_spacing=1.5)
    >>> landmarks, isocenter = [[0.0, 0.0, 0.0], [0.0, 0.0, 50.0]], [0.0, 0.0, 0.0]
    >>> xr.metrics.mtre(xr.Pose(tx=2), xr.Pose(), landmarks, carm, isocenter).tolist()
    [2.0]
    """
    estimated, true = _in_camera("mtre", pose, truth, landmarks, carm, isocenter)
    return torch.linalg.norm(estimated - true, dim=-1).mean(-1)


def mpd(pose: Pose, truth: Pose, landmarks: Points, carm: CArm, isocenter: Points) -> Float[Tensor, " B"]:
    """Measure the mean projection distance: the mean distance between the landmarks' projections, on the detector.

    Parameters
    ----------
    pose, truth : Pose
        The estimated and the true poses. Either may be a batch of one, compared with every pose of the other.
    landmarks : Float[Tensor, "n 3"]
        LPS [mm].
    carm : CArm
        The imaging system of both.
    isocenter : Float[Tensor, "3"]
        LPS [mm]; a volume's is `volume.isocenter`.

    Returns
    -------
    Float[Tensor, "B"]
        mPD of each pose [mm]; infinite where a landmark is not in front of the source, so has no projection.

    Examples
    --------
    >>> import xrcore as xr
    >>> carm = xr.CArm(source_to_detector=1200, source_to_isocenter=800, shape=(256, 256), pixel_spacing=1.5)
    >>> landmarks, isocenter = [[0.0, 0.0, 0.0], [0.0, 0.0, 50.0]], [0.0, 0.0, 0.0]
    >>> xr.metrics.mpd(xr.Pose(tx=2), xr.Pose(), landmarks, carm, isocenter).tolist()
    [3.0]
    """
    estimated, true = _in_camera("mpd", pose, truth, landmarks, carm, isocenter)
    spacing = torch.tensor(carm.spacing, dtype=torch.float64)
    distance = torch.linalg.norm((carm.project(estimated) - carm.project(true)) * spacing, dim=-1)
    seen = (estimated[..., 2] > 0) & (true[..., 2] > 0)
    return torch.where(seen, distance, torch.full_like(distance, math.inf)).mean(-1)


def pose_error(pose: Pose, truth: Pose) -> Float[Tensor, "B 6"]:
    """Measure how far the six numbers are apart, angles the short way round.

    Parameters
    ----------
    pose, truth : Pose
        The estimated and the true poses; either may be a batch of one.

    Returns
    -------
    Float[Tensor, "B 6"]
        Absolute differences [deg, mm].

    Examples
    --------
    >>> import xrcore as xr
    >>> xr.metrics.pose_error(xr.Pose(ry=179, tx=3), xr.Pose(ry=-179)).tolist()
    [[0.0, 2.0, 0.0, 3.0, 0.0, 0.0]]
    """
    a, b = _numbers("pose_error", pose, truth)
    return difference_of_numbers(a, b).abs()


def success_rate(mtre_values: Points, threshold: float = 10.0) -> float:
    """Count the cases that succeeded.

    Parameters
    ----------
    mtre_values : Float[Tensor, "n"]
        mTRE of each case [mm]; a case without a finite one is a failure.
    threshold : float
        Largest mTRE of a success [mm], exclusive.

    Returns
    -------
    float
        Share of the cases with an mTRE below the threshold [%].

    Examples
    --------
    >>> import xrcore as xr
    >>> xr.metrics.success_rate([0.4, 2.5, 30.0, float("nan")])
    50.0
    """
    values = as_tensor("success_rate", "mtre_values", mtre_values, "numbers of mm")
    if values.numel() == 0:
        raise XrcoreError("success_rate: no mTRE values given")
    require("success_rate", "threshold", threshold, is_number(threshold) and threshold > 0, "a positive length in mm")
    return 100.0 * float((values < threshold).double().mean())


def _in_camera(
    caller: str, pose: Pose, truth: Pose, landmarks: Points, carm: CArm, isocenter: Points
) -> tuple[Float[Tensor, "B n 3"], Float[Tensor, "T n 3"]]:
    """The landmarks in both camera frames [mm]."""
    points = as_tensor(caller, "landmarks", landmarks, "(n, 3) points in mm").detach()
    if points.ndim != 2 or points.shape[1] != 3 or len(points) == 0:
        raise XrcoreError(f"{caller}: landmarks must be (n, 3) points in mm, got shape {tuple(points.shape)}")
    if not torch.isfinite(points).all():
        raise XrcoreError(f"{caller}: landmarks must be finite")
    center = as_tensor(caller, "isocenter", isocenter, "one point of 3 numbers in mm")
    if center.shape != (3,):
        raise XrcoreError(f"{caller}: isocenter must be one point of 3 numbers in mm, got shape {tuple(center.shape)}")
    frames = (Pose(n).camera_from_world(carm, center) for n in _numbers(caller, pose, truth))
    estimated, true = (rigid.apply(frame, points) for frame in frames)
    return estimated, true


def _numbers(caller: str, pose: Pose, truth: Pose) -> tuple[Float[Tensor, "B 6"], Float[Tensor, "C 6"]]:
    for name, given in (("pose", pose), ("truth", truth)):
        if not isinstance(given, Pose):
            raise XrcoreError(f"{caller}: {name} must be a Pose, got {type(given).__name__}; wrap six numbers as Pose([...])")
    if len(pose) != len(truth) and 1 not in (len(pose), len(truth)):
        raise XrcoreError(f"{caller}: pose holds {len(pose)} poses but truth holds {len(truth)}; give as many, or one")
    return pose.numbers.detach().double().cpu(), truth.numbers.detach().double().cpu()
