"""Track a body through a sequence: each frame starts from the motion so far, and is searched anew where that was lost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from statistics import median
from typing import Literal

import torch

from xrcore._util.errors import XrcoreError, is_whole, naming, require
from xrcore._util.threads import single_torch_thread
from xrcore.beam import Beam
from xrcore.ct.volume import Volume
from xrcore.geometry import CArm, Pose
from xrcore.registration.bone_only import is_bone_only
from xrcore.registration.events import WorkClock
from xrcore.registration.pipeline import check_start, register
from xrcore.registration.predictor import Predictor
from xrcore.registration.search import SearchBox
from xrcore.registration.settings import Level
from xrcore.registration.solvers.gauss_newton import GaussNewton
from xrcore.registration.tracking.frame_reading import Frames, attempts
from xrcore.registration.tracking.motion import BodyFrame, Motion
from xrcore.registration.tracking.result import GATE, MotionFilter, Track, TrackedFrame
from xrcore.registration.tracking.tracked_body import Appearance, TrackedBody
from xrcore.registration.view import View, check_images
from xrcore.renderer import place
from xrcore.xray.image import Xray

# A frame's start is near, so that few levels do. A quarter of the X-ray's rays through the fine grid find what all would.
LEVELS = (
    Level(pixels=64, spacing=4.0, iterations=4, similarity="gradient-zncc"),
    Level(pixels=128, spacing=2.0, iterations=4, similarity="robust-local-zncc"),
)
# Of implants and bones alone, edges to the end; and as many pixels as `register` takes, since they are small
EDGE_LEVELS = (
    Level(pixels=128, spacing=4.0, iterations=6, similarity="gradient-zncc"),
    Level(pixels=256, spacing=2.0, iterations=6, similarity="gradient-zncc"),
)
_LOOKS = 0.05  # how much less like its DRR than those checked a frame may be without being checked
_REMEMBERED = 20  # checked frames that this is compared with
_NEAR = SearchBox(rotation=(5.0, 5.0, 5.0), translation=(10.0, 10.0, 15.0), candidates=48)  # about where a lost body is expected

Frame = Xray | Sequence[View] | XrcoreError


def track(
    frames: Iterable[Frame],
    volume: Volume,
    initial: Pose | Predictor | None = None,
    *,
    motion: Motion | None = None,
    settings: GaussNewton | None = None,
    search: SearchBox | Literal["anywhere"] | None = None,
    check_every: int = 10,
    beam: Beam | None = None,
    watch: Callable[[TrackedFrame], None] | None = None,
    device: str | torch.device | None = None,
) -> Track:
    """Follow a body through a sequence of X-rays, or of several calibrated views, and say which frames to trust.

    The first frame is registered. Each later one is refined at few levels from where the motion before has it (constant velocity on
    SE(3), a Kalman filter). The whole verdict, which takes longer than the refinement, is made of each `check_every`-th frame, and
    of every one that looks less like its DRR than those checked, or moved otherwise than expected. What it does not trust is searched
    for; what is not found then is not trusted, and the motion is bridged. So is a frame that cannot be registered at all, such as one of a
    damaged file or of one grey value; its `reasons` say why.

    Parameters
    ----------
    frames : iterable of Xray, or of sequences of View
        In order, of one camera or system, equally far apart in time. Each is taken when it is its turn. A sequence such as `read_frames`
        gives may raise XrcoreError for a frame, and any iterable may have one in a frame's place: the frame is then bridged.
    volume : Volume
        The body.
    initial : Pose or Predictor, optional
        Where the first frame's search starts, as for `register`.
    motion : Motion, optional
        How steadily the body moves.
    settings : GaussNewton, optional
        The levels of a frame's refinement.
    search : SearchBox or str, optional
        The first frame's, as for `register`.
    check_every : int
        After how many frames one is checked in any case; 1 checks all.
    beam : Beam, optional
        The one assumed; default 90 kV.
    watch : callable, optional
        Called with each frame's result; what it takes does not count in `seconds`.
    device : str or torch.device, optional
        As for `register`.

    Returns
    -------
    Track
        Poses and verdicts.

    Raises
    ------
    XrcoreError
        For bad input, as `register`; or if there are no frames, the first cannot be registered, or they are not of one camera.

    Examples
    --------
    >>> import xrcore as xr
    >>> volume = xr.phantom.pelvis(seed=0, spacing=4.0)
    >>> carm = xr.CArm(source_to_detector=1260, source_to_isocenter=742.5, shape=(128, 128), pixel_spacing=3.375)
    >>> frames = [xr.simulate(volume, carm, xr.Pose(ry=ry), seed=ry) for ry in range(3)]
    >>> xr.track(frames, volume).trusted
    (True, True, True)
    """
    require("track", "frames", frames, isinstance(frames, Iterable), "X-rays in order, or lists of View")
    require("track", "watch", watch, watch is None or callable(watch), "a function that takes a TrackedFrame")
    tracker = Tracker(volume, initial, motion=motion, settings=settings, search=search, check_every=check_every, beam=beam, device=device)
    found = []
    for frame in tracker.follow(frames):
        found.append(frame)
        if watch is not None:
            watch(frame)
    return tracker.track(found, frames.names if isinstance(frames, Frames) else ())


class Tracker:
    """`track`, frame by frame, as they come.

    Parameters
    ----------
    volume, initial, motion, settings : Volume, Pose or Predictor, Motion, GaussNewton
        As for `track`.
    search, check_every, beam, device : SearchBox or str, int, Beam, str
        As for `track`.

    Raises
    ------
    XrcoreError
        If an argument makes no sense.
    """

    def __init__(
        self,
        volume: Volume,
        initial: Pose | Predictor | None = None,
        *,
        motion: Motion | None = None,
        settings: GaussNewton | None = None,
        search: SearchBox | Literal["anywhere"] | None = None,
        check_every: int = 10,
        beam: Beam | None = None,
        device: str | torch.device | None = None,
    ) -> None:
        require("track", "volume", volume, isinstance(volume, Volume), "a Volume, such as read_ct gives")
        require("track", "motion", motion, motion is None or isinstance(motion, Motion), "a Motion")
        require("track", "settings", settings, settings is None or isinstance(settings, GaussNewton), "a GaussNewton")
        check_start("track", initial, search)
        require("track", "check_every", check_every, is_whole(check_every) and check_every >= 1, "a whole number, at least 1")
        chosen = GaussNewton(levels=EDGE_LEVELS if is_bone_only(volume) else LEVELS) if settings is None else settings
        if device is not None:
            volume = place(volume, device, "tracking", spacing=chosen.levels[-1].spacing)
        self._volume, self._initial, self._search, self._beam = volume, initial, search, Beam() if beam is None else beam
        self._motion, self._every = Motion() if motion is None else motion, check_every
        self._body = TrackedBody(volume, chosen, self._beam)
        self._cameras: tuple[CArm, ...] = ()
        self._filter: MotionFilter | None = None
        self._looks: Appearance | None = None
        self._last: TrackedFrame | None = None
        self._alike: list[float] = []
        self._count = self._unchecked = self._lost = self._due = 0

    def follow(self, frames: Iterable[Frame], known: Sequence[TrackedFrame] = ()) -> Iterator[TrackedFrame]:
        """Track frames as they come.

        Parameters
        ----------
        frames : iterable of Xray, or of sequences of View
            In order, as for `track`. Where a track goes on, a sequence of all, of which those that are known are not tracked again.
        known : sequence of TrackedFrame
            Of the first frames, where a track goes on: what follows is what it would have been without an end between.

        Yields
        ------
        TrackedFrame
            Of each frame.

        Raises
        ------
        XrcoreError
            As `track`.
        """
        require("track", "frames", frames, isinstance(frames, Iterable), "X-rays in order, or lists of View")
        several = isinstance(known, Sequence) and all(isinstance(one, TrackedFrame) for one in known)
        require("track", "known", known, several, "a list of TrackedFrame")
        names = frames.names if isinstance(frames, Frames) else ()
        if known:
            whole = isinstance(frames, Sequence) and len(frames) >= len(known) and self._count == 0
            require("track", "frames", frames, whole, "a list of all frames, also those that are known, and the Tracker new")
            assert isinstance(frames, Sequence)
            with single_torch_thread(), torch.no_grad():
                self._resume(frames, known)
        for number, frame in enumerate(attempts(frames, len(known)), len(known)):
            clock = WorkClock()
            which = f" ({names[number]})" if names else ""
            with naming(f"frame {self._count}{which}"), clock, single_torch_thread(), torch.no_grad():
                found, looks = self._found(frame)
            found = replace(found, seconds=clock())
            self._take(found, looks)
            yield found

    def track(self, frames: Sequence[TrackedFrame], names: Sequence[str] = (), carm: CArm | None = None) -> Track:
        """Put frames together.

        Parameters
        ----------
        frames : sequence of TrackedFrame
            All of them.
        names : sequence of str
            What each was read from.
        carm : CArm, optional
            The first camera; default that of the frames followed.

        Returns
        -------
        Track
            Of this volume and the camera of the frames.

        Raises
        ------
        XrcoreError
            If there are no frames.
        """
        carm = next(iter(self._cameras), None) if carm is None else carm
        if carm is None:
            raise XrcoreError("track: there are no frames")
        return Track(frames=tuple(frames), carm=carm, isocenter=self._volume.isocenter, motion=self._motion, names=tuple(names))

    def _resume(self, frames: Sequence[Frame], known: Sequence[TrackedFrame]) -> None:
        """Be as after these frames."""
        searched = max((number for number, one in enumerate(known) if one.searched), default=0)
        views = self._views(frames[searched])
        looks = self._body.appearance(views, known[searched].pose)
        for one in known:
            self._take(one, looks)

    def _take(self, found: TrackedFrame, looks: Appearance) -> None:
        """Go on to the next frame. All that a frame leaves to those after it is set here, from what is written of it."""
        assert self._filter is not None
        self._filter.take(found)
        self._last, self._looks = found, looks
        self._count += 1
        self._unchecked = 0 if found.checked else self._unchecked + 1
        if found.trusted:
            self._lost = self._due = 0
            if found.checked and found.similarity > 0:
                self._alike = [*self._alike[1 - _REMEMBERED :], found.similarity]
            return
        if found.checked and self._lost >= self._due:  # it was searched for, and is again after 1, 3, 7, ... frames more
            self._due = 2 * self._lost + 1
        self._lost += 1

    def _views(self, frame: Frame) -> tuple[View, ...]:
        """The views of a frame; raises XrcoreError unless they are of the cameras of the others."""
        views = check_images("track", frame, self._volume, self._beam)
        if not self._cameras:
            self._cameras = tuple(view.carm for view in views)
            self._filter = MotionFilter(BodyFrame(self._cameras[0], self._volume.isocenter), self._motion)
        if len(views) != len(self._cameras):
            raise XrcoreError(f"track: {len(views)} views, and {len(self._cameras)} before; give frames of the same cameras")
        if views[0].carm.source_to_isocenter != self._cameras[0].source_to_isocenter:
            raise XrcoreError("track: source_to_isocenter changes between frames; give frames of one camera")
        return views

    def _found(self, frame: Frame | XrcoreError) -> tuple[TrackedFrame, Appearance]:
        """What a frame shows, or else where the motion has the body and why; and how the body looks."""
        views = () if isinstance(frame, XrcoreError) else self._views(frame)
        try:
            if isinstance(frame, XrcoreError):
                raise frame
            if self._last is None:
                found = self._body.searched(views, register(views, self._volume, self._initial, search=self._search, beam=self._beam))
            else:
                found = self._next(views, self._last)
            if found.searched:
                return found, self._body.appearance(views, found.pose)
        except XrcoreError as error:
            if self._last is None:
                raise
            found = self._bridged(error)
        assert self._looks is not None
        return found, self._looks

    def _bridged(self, error: XrcoreError) -> TrackedFrame:
        """A frame that cannot be registered."""
        assert self._filter is not None
        pose, covariance = self._filter.bridged()
        reason = f"bridged by the motion, since this frame cannot be registered: {error}"
        return TrackedFrame(
            pose=pose, covariance=covariance, similarity=0.0, confidence=0.0, trusted=False, reasons=(reason,), checked=False
        )

    def _next(self, views: tuple[View, ...], last: TrackedFrame) -> TrackedFrame:
        assert self._filter is not None
        assert self._looks is not None
        expected = self._filter.expected()
        refined = self._body.refined(views, expected, self._looks)
        covariance = self._filter.carried(last, refined.pose)
        distance = self._filter.distance(refined.pose, covariance)
        alike = bool(self._alike) and refined.similarity >= max(median(self._alike) - _LOOKS, 0.0)
        found = TrackedFrame(
            pose=refined.pose,
            covariance=covariance,
            similarity=refined.similarity,
            confidence=last.confidence,
            trusted=last.trusted,
            checked=False,
            distance=distance**0.5,
        )
        if last.trusted and alike and distance <= GATE and self._unchecked + 1 < self._every:
            return found
        found = self._body.checked(views, self._looks, found)
        found = replace(found, distance=self._filter.distance(found.pose, found.covariance) ** 0.5)
        if found.trusted or self._lost < self._due:
            return found
        box = _NEAR if self._lost < 3 else SearchBox()
        result = register(views, self._volume, expected, search=box, retries=0, beam=self._beam)
        if not result.trusted and result.confidence <= found.confidence:
            return found
        return replace(self._body.searched(views, result), distance=self._filter.distance(result.pose, result.covariance) ** 0.5)
