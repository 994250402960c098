"""Results of `track`: TrackedFrame and Track."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TypeGuard

import torch
from jaxtyping import Float
from torch import Tensor

from xrcore._util.errors import is_whole, require
from xrcore.geometry import CArm, Pose, rigid
from xrcore.registration.tracking.motion import BodyFrame, Filtered, Motion, MotionState, begin, correct, predict, smooth

GATE = 22.5  # squared Mahalanobis distance that one right answer in a thousand exceeds
_LIKELY = 0.3  # confidence from which a pose that is not trusted still tells where the body is
_TOLD = 5  # frames that are not trusted of which a summary says why
_MISSED = 0.5  # of its velocity that a body keeps through a frame in which it was not seen


@dataclass(frozen=True, kw_only=True, eq=False)
class TrackedFrame:
    """Where a body was found in one frame.

    Parameters
    ----------
    pose : Pose
        Of several views, the first one's.
    covariance : Float[Tensor, "6 6"] or None
        Of the six numbers [deg, mm]: of this frame where it was `checked`, else of the last one that was, as the camera sees it; or of
        the motion, where the frame cannot be registered.
    similarity : float
        On the last level; of several views, their mean; 0 where the frame cannot be registered, or a pose that was searched for was
        trusted and the refinement left it.
    confidence : float
        As of `Registration`, of this frame where it was `checked`, else of the last one that was.
    trusted : bool
        The verdict.
    reasons : tuple of str
        What spoke against trusting it.
    checked : bool
        Whether the verdict rests on this frame's own evidence, as `register` gathers it. Else the frame looks as like its DRR as those
        checked and moved as expected; or is not trusted, since it cannot be registered.
    searched : bool
        Whether the pose was searched for, as in the first frame and after one was lost.
    distance : float
        How far the pose is from where the motion had it: Mahalanobis.
    seconds : float
        Of work.
    """

    pose: Pose
    covariance: Float[Tensor, "6 6"] | None
    similarity: float
    confidence: float
    trusted: bool
    reasons: tuple[str, ...] = ()
    checked: bool = True
    searched: bool = False
    distance: float = 0.0
    seconds: float = 0.0


class MotionFilter:
    """The motion of a body over the frames so far.

    Parameters
    ----------
    frame : BodyFrame
        The first camera's.
    motion : Motion
        How steadily the body moves.

    Attributes
    ----------
    filtered : list of Filtered
        Of each frame; empty before the first.
    """

    def __init__(self, frame: BodyFrame, motion: Motion) -> None:
        self._frame, self._motion = frame, motion
        self.filtered: list[Filtered] = []

    def expected(self) -> Pose:
        """The pose in the next frame."""
        return self._frame.pose(self._next().placed)

    def bridged(self) -> tuple[Pose, Float[Tensor, "6 6"]]:
        """The pose expected in the next frame, and its covariance, for one that tells nothing."""
        state = self._next()
        pose = self._frame.pose(state.placed)
        return pose, self._frame.covariance(pose, state.covariance[:6, :6])

    def _next(self) -> MotionState:
        return predict(self.filtered[-1].state, self._motion)

    def carried(self, found: TrackedFrame, pose: Pose) -> Float[Tensor, "6 6"] | None:
        """The covariance of a frame's pose at another pose, see `BodyFrame.carried`."""
        return self._frame.carried(found.covariance, found.pose, pose) if _known(found.covariance) else found.covariance

    def distance(self, pose: Pose, covariance: Float[Tensor, "6 6"] | None) -> float:
        """Squared Mahalanobis distance of a pose of the next frame from where it is expected."""
        if not _known(covariance):
            return 0.0
        return correct(self._next(), self._frame.placed(pose), self._frame.variance(pose, covariance))[1]

    def take(self, found: TrackedFrame) -> None:
        """Go on to the next frame: a pose is believed as far as its verdict's confidence, and a trusted one that jumped begins a motion."""
        placed, covariance = self._frame.placed(found.pose), found.covariance if _known(found.covariance) else None
        variance = self._motion.variance if covariance is None else self._frame.variance(found.pose, covariance)
        if not self.filtered:
            self.filtered.append(Filtered(begin(placed, variance, self._motion), None))
            return
        state = self._next()
        if covariance is not None and (found.trusted or found.confidence >= _LIKELY):
            corrected, distance = correct(state, placed, variance if found.trusted else variance / found.confidence**2)
            if distance <= GATE:
                self.filtered.append(Filtered(corrected, state))
                return
            if found.trusted:
                self.filtered.append(Filtered(begin(placed, variance, self._motion), None))
                return
        bridged = state._replace(velocity=_MISSED * state.velocity)
        self.filtered.append(Filtered(bridged, bridged))


def _known(covariance: Float[Tensor, "6 6"] | None) -> TypeGuard[Float[Tensor, "6 6"]]:
    return covariance is not None and bool(torch.isfinite(covariance).all())


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Track:
    """Result of `track`.

    Parameters
    ----------
    frames : tuple of TrackedFrame
        In order.
    carm : CArm
        The first camera.
    isocenter : Float[Tensor, "3"]
        Of the volume [mm].
    motion : Motion
        How steadily the body was taken to move.
    names : tuple of str
        What each frame was read from, where known.
    """

    frames: tuple[TrackedFrame, ...]
    carm: CArm
    isocenter: Float[Tensor, "3"]
    motion: Motion = field(default_factory=Motion)
    names: tuple[str, ...] = ()

    @property
    def poses(self) -> Pose:
        """Of all frames, a batch; of several views, the first one's."""
        return Pose.cat([frame.pose for frame in self.frames])

    @property
    def trusted(self) -> tuple[bool, ...]:
        """The verdict on each frame."""
        return tuple(frame.trusted for frame in self.frames)

    @property
    def seconds(self) -> float:
        """Of work, all frames together."""
        return sum(frame.seconds for frame in self.frames)

    def smoothed(self, lag: int | None = None) -> Track:
        """Smooth the poses by the motion before and after each frame; frames that are not trusted are bridged, and stay not trusted.

        Where a trusted body jumped, the frames before and after are smoothed apart.

        Parameters
        ----------
        lag : int, optional
            How many frames after each count (fixed lag), as where a pose is wanted so soon; default all.

        Returns
        -------
        Track
            The same frames at smoothed poses, with their covariances.

        Raises
        ------
        XrcoreError
            If the lag is negative, or no whole number.

        Examples
        --------
        >>> import xrcore as xr
        >>> volume = xr.phantom.pelvis(seed=0, spacing=8.0)
        >>> carm = xr.CArm(source_to_detector=1020, source_to_isocenter=650, shape=(64, 64), pixel_spacing=6.0)
        >>> frames = [xr.simulate(volume, carm, xr.Pose(ry=ry)) for ry in (0.0, 1.0, 2.0)]
        >>> track = xr.track(frames, volume)
        >>> len(track.smoothed())
        3
        """
        require("smoothed", "lag", lag, lag is None or (is_whole(lag) and lag >= 0), "a whole number, not negative")
        where = BodyFrame(self.carm, self.isocenter)
        known = MotionFilter(where, self.motion)
        for frame in self.frames:
            known.take(frame)
        made = []
        for frame, state in zip(self.frames, smooth(known.filtered, lag), strict=True):
            pose = where.pose(state.placed)
            made.append(replace(frame, pose=pose, covariance=where.covariance(pose, state.covariance[:6, :6])))
        return replace(self, frames=tuple(made))

    @property
    def doubts(self) -> tuple[str, ...]:
        """What speaks against the first few frames that are not trusted, a line each."""
        lost = [(number, frame) for number, frame in enumerate(self.frames) if not frame.trusted]
        names = dict(enumerate(f" ({name})" for name in self.names))
        return tuple(f"frame {n}{names.get(n, '')}: {'; '.join(frame.reasons) or 'not trusted'}" for n, frame in lost[:_TOLD])

    def rig_from_ct(self, number: int, camera_from_rig: Float[Tensor, "4 4"]) -> Float[Tensor, "4 4"]:
        """Where the body is in a frame: the CT's LPS world into the rig [mm].

        Parameters
        ----------
        number : int
            Of the frame, counted from 0.
        camera_from_rig : Float[Tensor, "4 4"]
            The first camera's.

        Returns
        -------
        Float[Tensor, "4 4"]
            Rigid.
        """
        return rigid.invert(camera_from_rig) @ self.frames[number].pose.camera_from_world(self.carm, self.isocenter)[0]

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write track.jsonl and track.csv.

        Parameters
        ----------
        folder : path
            Made if it does not exist.

        Raises
        ------
        XrcoreError
            If it cannot be written.
        """
        from xrcore.registration.tracking.files import write_track

        write_track(folder, self)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Track:
        """Read what `save` or `xrcore track` wrote.

        Parameters
        ----------
        folder : path
            Of it.

        Returns
        -------
        Track
            The frames that are there.

        Raises
        ------
        XrcoreError
            If there is none, or it is damaged.
        """
        from xrcore.registration.tracking.files import read_track

        return read_track(folder)

    def __len__(self) -> int:
        return len(self.frames)

    def __iter__(self) -> Iterator[TrackedFrame]:
        return iter(self.frames)

    def __getitem__(self, number: int) -> TrackedFrame:
        return self.frames[number]

    def __repr__(self) -> str:
        count, trusted = len(self.frames), sum(self.trusted)
        rate = f", {count / self.seconds:.1f} frames a second" if self.seconds else ""
        lines = [f"Track: {count} frames, {trusted} trusted{rate}"]
        return "\n".join([*lines, *(f"  {line}" for line in self.doubts)])
