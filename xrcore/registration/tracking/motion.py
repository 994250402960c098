"""Constant velocity on SE(3): where a body is to be expected in the next frame, and a whole track smoothed.

A body is placed in the first camera by T, camera_from_body [mm], the body's axes the CT's about its isocentre. It moves by twists in its
own frame, T exp(x), so that errors and velocities are six numbers (v, w) [mm, rad] about the isocentre; a Kalman filter works on them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from xrcore._util.errors import is_number, require
from xrcore.geometry import CArm, Pose, rigid

_FIRST = 3.0  # times the motion's own standard deviations: the velocity before any is seen


@dataclass(frozen=True, kw_only=True)
class Motion:
    """How steadily a body moves: standard deviations of how much its velocity changes from one frame to the next.

    Parameters
    ----------
    rotation : float
        About each axis [deg a frame].
    translation : float
        Along each axis, of its centre [mm a frame].

    Raises
    ------
    XrcoreError
        If a parameter makes no sense.
    """

    rotation: float = 1.0
    translation: float = 2.0

    def __post_init__(self) -> None:
        for name in ("rotation", "translation"):
            value = getattr(self, name)
            require("Motion", name, value, is_number(value) and value > 0, "positive")

    @property
    def variance(self) -> Float[Tensor, "6 6"]:
        """Of the change of velocity (v, w) from one frame to the next."""
        deviations = [self.translation] * 3 + [math.radians(self.rotation)] * 3
        return torch.tensor(deviations, dtype=torch.float64).square().diag()


class MotionState(NamedTuple):
    """Where a body is, how it moves, and the covariance of both.

    Parameters
    ----------
    placed : Float[Tensor, "4 4"]
        camera_from_body [mm].
    velocity : Float[Tensor, "6"]
        Twist of the body a frame.
    covariance : Float[Tensor, "12 12"]
        Of the body's twist and its velocity.
    """

    placed: Float[Tensor, "4 4"]
    velocity: Float[Tensor, "6"]
    covariance: Float[Tensor, "12 12"]


def begin(placed: Float[Tensor, "4 4"], variance: Float[Tensor, "6 6"], motion: Motion) -> MotionState:
    """The state of a body that was seen once."""
    zero = torch.zeros(6, dtype=torch.float64)
    return MotionState(placed, zero, torch.block_diag(variance, motion.variance * _FIRST**2))


def predict(state: MotionState, motion: Motion) -> MotionState:
    """The state one frame later."""
    step = rigid.exp(state.velocity)
    noise = motion.variance
    change = _transition(state.velocity)
    grown = torch.cat([torch.cat([noise / 4, noise / 2], 1), torch.cat([noise / 2, noise], 1)])
    return MotionState(state.placed @ step, state.velocity, change @ state.covariance @ change.T + grown)


def correct(state: MotionState, placed: Float[Tensor, "4 4"], variance: Float[Tensor, "6 6"]) -> tuple[MotionState, float]:
    """The state after a body was seen, and the squared Mahalanobis distance of where it was seen from where it was expected."""
    away = rigid.log(rigid.invert(state.placed) @ placed)
    spread = state.covariance[:6, :6] + variance
    gain = torch.linalg.solve(spread, state.covariance[:6]).T  # (12, 6)
    moved = gain @ away
    kept = torch.eye(12, dtype=torch.float64)
    kept[:, :6] -= gain
    covariance = kept @ state.covariance @ kept.T + gain @ variance @ gain.T
    after = MotionState(state.placed @ rigid.exp(moved[:6]), state.velocity + moved[6:], covariance)
    return after, float(away @ torch.linalg.solve(spread, away))


class Filtered(NamedTuple):
    """A body's state in a frame, and how the frames before had it.

    Parameters
    ----------
    state : MotionState
        Given the frames so far.
    expected : MotionState or None
        Given those before; None where a motion begins, of which they say nothing.
    """

    state: MotionState
    expected: MotionState | None


def smooth(filtered: Sequence[Filtered], lag: int | None = None) -> list[MotionState]:
    """The states given the frames after them too, all or `lag` of them: Rauch, Tung and Striebel's smoother.

    References
    ----------
    Rauch, Tung, Striebel, "Maximum likelihood estimates of linear dynamic systems", AIAA Journal 3(8), 1965.
    """
    if lag is not None:
        return [smooth(filtered[index : index + lag + 1])[0] for index in range(len(filtered))]
    states = [frame.state for frame in filtered]
    for index in range(len(states) - 2, -1, -1):
        here, later, expected = states[index], states[index + 1], filtered[index + 1].expected
        if expected is None:
            continue
        gain = torch.linalg.solve(expected.covariance, _transition(here.velocity) @ here.covariance).T
        away = torch.cat([rigid.log(rigid.invert(expected.placed) @ later.placed), later.velocity - expected.velocity])
        moved = gain @ away
        covariance = here.covariance + gain @ (later.covariance - expected.covariance) @ gain.T
        states[index] = MotionState(here.placed @ rigid.exp(moved[:6]), here.velocity + moved[6:], covariance)
    return states


def _transition(velocity: Float[Tensor, "6"]) -> Float[Tensor, "12 12"]:
    """Derivative of the next frame's twist and velocity by this one's."""
    change = torch.eye(12, dtype=torch.float64)
    change[:6, :6] = rigid.adjoint(rigid.exp(-velocity))
    change[:6, 6:] = torch.eye(6, dtype=torch.float64)
    return change


@dataclass(frozen=True, eq=False)
class BodyFrame:
    """Poses and their covariances as those of a body in the first camera, and back."""

    carm: CArm
    isocenter: Float[Tensor, "3"]

    @property
    def _world_from_body(self) -> Float[Tensor, "4 4"]:
        return rigid.rigid(torch.eye(3, dtype=torch.float64), torch.as_tensor(self.isocenter).double().cpu())

    def placed(self, pose: Pose) -> Float[Tensor, "4 4"]:
        """camera_from_body of one pose."""
        return pose.camera_from_world(self.carm, self.isocenter)[0] @ self._world_from_body

    def pose(self, placed: Float[Tensor, "4 4"]) -> Pose:
        """Inverse of `placed`."""
        return Pose.from_camera_from_world(placed @ rigid.invert(self._world_from_body), self.carm, self.isocenter)

    def variance(self, pose: Pose, covariance: Float[Tensor, "6 6"]) -> Float[Tensor, "6 6"]:
        """Of the body's twist, from that of the six numbers."""
        by_numbers = self._by_numbers(pose)
        return by_numbers @ covariance.double() @ by_numbers.T

    def covariance(self, pose: Pose, variance: Float[Tensor, "6 6"]) -> Float[Tensor, "6 6"]:
        """Inverse of `variance`."""
        numbers = torch.linalg.inv(self._by_numbers(pose))
        return numbers @ variance @ numbers.T

    def carried(self, covariance: Float[Tensor, "6 6"], pose: Pose, to: Pose) -> Float[Tensor, "6 6"]:
        """A pose's covariance at another pose, as the camera sees it: what is uncertain along its depth stays so."""
        turned = self.placed(to)[:3, :3].T @ self.placed(pose)[:3, :3]
        both = torch.block_diag(turned, turned)
        return self.covariance(to, both @ self.variance(pose, covariance) @ both.T)

    def _by_numbers(self, pose: Pose) -> Float[Tensor, "6 6"]:
        """Twist of the body for the change of each number: the camera's motion, turned round and carried into the body's frame."""
        return -rigid.adjoint(rigid.invert(self.placed(pose))) @ pose.twists(self.carm)[0]
