"""How far an estimated pose is from the true one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from xrcore._util.errors import XrcoreError
from xrcore.geometry import CArm, Pose, rigid


def mtre(
    pose: Pose,
    truth: Pose,
    landmarks: Float[Tensor, "n 3"] | np.ndarray,
    carm: CArm,
    isocenter: Float[Tensor, "3"] | np.ndarray | Sequence[float],
) -> Float[Tensor, "B"]:
    """Mean target registration error [mm]: mean distance between landmarks in the true and in the estimated camera frame.

    landmarks, isocenter: LPS world [mm]. Either pose may be a batch of one, compared with every pose of the other.
    Source: van de Kraats et al., Standardized evaluation methodology for 2-D-3-D registration, IEEE TMI 24(9), 2005.
    """
    estimated, true = _in_camera("mtre", pose, truth, landmarks, carm, isocenter)
    return torch.linalg.norm(estimated - true, dim=-1).mean(-1)


def mpd(
    pose: Pose,
    truth: Pose,
    landmarks: Float[Tensor, "n 3"] | np.ndarray,
    carm: CArm,
    isocenter: Float[Tensor, "3"] | np.ndarray | Sequence[float],
) -> Float[Tensor, "B"]:
    """Mean projection distance [mm]: mean distance between the landmarks' projections, measured on the detector.

    Arguments as in `mtre`. Infinite where a landmark is not in front of the source, so has no projection.
    """
    estimated, true = _in_camera("mpd", pose, truth, landmarks, carm, isocenter)
    spacing = torch.tensor(carm.spacing, dtype=torch.float64)
    distance = torch.linalg.norm((carm.project(estimated) - carm.project(true)) * spacing, dim=-1)
    seen = (estimated[..., 2] > 0) & (true[..., 2] > 0)
    return torch.where(seen, distance, torch.full_like(distance, math.inf)).mean(-1)


def pose_error(pose: Pose, truth: Pose) -> Float[Tensor, "B 6"]:
    """Absolute differences of the six numbers [deg, mm]; angles the short way round."""
    a, b = _numbers("pose_error", pose, "pose"), _numbers("pose_error", truth, "truth")
    _same_batch("pose_error", a, b)
    difference = a - b
    angles = torch.remainder(difference[:, :3] + 180, 360) - 180
    return torch.cat([angles, difference[:, 3:]], 1).abs()


def success_rate(mtre_values: Float[Tensor, "n"] | np.ndarray | Sequence[float], threshold: float = 10.0) -> float:
    """Share [%] of cases with mTRE below `threshold` [mm]; a case without a finite mTRE is a failure."""
    # a copy: arrays from tables may be read-only
    values = mtre_values.double() if isinstance(mtre_values, Tensor) else torch.from_numpy(np.array(mtre_values, dtype=np.float64))
    if values.numel() == 0:
        raise XrcoreError("success_rate: no mTRE values given")
    return 100.0 * float((values < threshold).double().mean())


def _in_camera(
    caller: str, pose: Pose, truth: Pose, landmarks: object, carm: CArm, isocenter: object
) -> tuple[Float[Tensor, "B n 3"], Float[Tensor, "B n 3"]]:
    """The landmarks in both camera frames [mm]."""
    points = torch.as_tensor(landmarks, dtype=torch.float64).detach()
    if points.ndim != 2 or points.shape[1] != 3 or len(points) == 0:
        raise XrcoreError(f"{caller}: landmarks must be (n, 3) points in mm, got shape {tuple(points.shape)}")
    if not torch.isfinite(points).all():
        raise XrcoreError(f"{caller}: landmarks must be finite")
    center = torch.as_tensor(isocenter, dtype=torch.float64)
    if center.shape != (3,):
        raise XrcoreError(f"{caller}: isocenter must be one point of 3 numbers in mm, got shape {tuple(center.shape)}")
    a, b = _numbers(caller, pose, "pose"), _numbers(caller, truth, "truth")
    _same_batch(caller, a, b)
    frames = (Pose(n).camera_from_world(carm, center) for n in (a, b))
    estimated, true = (rigid.apply(frame, points) for frame in frames)
    return estimated, true


def _numbers(caller: str, pose: Pose, name: str) -> Float[Tensor, "B 6"]:
    if not isinstance(pose, Pose):
        raise XrcoreError(f"{caller}: {name} must be a Pose, got {type(pose).__name__}; wrap six numbers as Pose([...])")
    return pose.numbers.detach().double().cpu()


def _same_batch(caller: str, pose: Tensor, truth: Tensor) -> None:
    if len(pose) != len(truth) and 1 not in (len(pose), len(truth)):
        raise XrcoreError(f"{caller}: pose holds {len(pose)} poses but truth holds {len(truth)}; give as many, or one")
