"""Track a body through a sequence: each frame starts from the motion so far, and is searched anew where that was lost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from statistics import median
from typing import Literal

import torch

from xrcore._util.errors import XrcoreError, is_whole, require
from xrcore._util.threads import single_torch_thread
from xrcore.beam import Beam
from xrcore.ct.volume import Volume
from xrcore.geometry import CArm, Pose
from xrcore.registration.body_window import body_windows, cut, fitted
from xrcore.registration.bone_only import is_bone_only
from xrcore.registration.events import WorkClock, finish
from xrcore.registration.grey_values import GreyCurve, grey_curve, with_attenuation
from xrcore.registration.joint_problem import poses_in_views
from xrcore.registration.pipeline import register
from xrcore.registration.predictor import Predictor
from xrcore.registration.problem import shrink
from xrcore.registration.refinement import check_images, refinement
from xrcore.registration.result import Registration
from xrcore.registration.search import SearchBox
from xrcore.registration.settings import Level
from xrcore.registration.solvers.gauss_newton import GaussNewton
from xrcore.registration.tracking.motion import BodyFrame, Motion
from xrcore.registration.tracking.result import GATE, MotionFilter, Track, TrackedFrame
from xrcore.registration.verify import confidence, failed_checks, gather_evidence
from xrcore.registration.view import View
from xrcore.renderer import place, render
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
_CURVE_PIXELS, _CURVE_SPACING = 64, 8.0  # of the images that tell how grey values were mapped; [mm]

Frame = Xray | Sequence[View]


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
    for; what is not found then is not trusted, and the motion is bridged.

    Parameters
    ----------
    frames : iterable of Xray, or of sequences of View
        In order, of one camera or system, equally far apart in time. Each is taken when it is its turn.
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
        For bad input, as `register`; or if there are no frames, or they are not of one camera.

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
    return tracker.track(found)


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
        require("track", "check_every", check_every, is_whole(check_every) and check_every >= 1, "a whole number, at least 1")
        chosen = GaussNewton(levels=EDGE_LEVELS if is_bone_only(volume) else LEVELS) if settings is None else settings
        if device is not None:
            volume = place(volume, device, "tracking", spacing=chosen.levels[-1].spacing)
        self._volume, self._initial, self._search, self._chosen = volume, initial, search, chosen
        self._motion, self._every, self._beam = Motion() if motion is None else motion, check_every, Beam() if beam is None else beam
        self._camera: CArm | None = None
        self._filter: MotionFilter | None = None
        self._settings: GaussNewton | None = None
        self._curves: list[GreyCurve] = []
        self._alike: list[float] = []
        self._unchecked = self._lost = 0
        self._last: TrackedFrame | None = None

    def follow(self, frames: Iterable[Frame], known: Sequence[TrackedFrame] = ()) -> Iterator[TrackedFrame]:
        """Track frames as they come.

        Parameters
        ----------
        frames : iterable of Xray, or of sequences of View
            In order; not those of `known`.
        known : sequence of TrackedFrame
            Of the frames before, where a track goes on.

        Yields
        ------
        TrackedFrame
            Of each frame.

        Raises
        ------
        XrcoreError
            As `track`.
        """
        for frame in frames:
            views = check_images("track", frame, self._volume, self._beam)
            clock = WorkClock()
            if self._camera is None:
                self._camera = views[0].carm
                self._filter = MotionFilter(BodyFrame(self._camera, self._volume.isocenter), self._motion)
                for one in known:
                    self._take(one)
            elif views[0].carm.source_to_isocenter != self._camera.source_to_isocenter:
                raise XrcoreError("track: source_to_isocenter changes between frames; give frames of one camera")
            with clock, single_torch_thread(), torch.no_grad():
                found = self._first(views) if self._last is None else self._next(views, self._last)
            found = replace(found, seconds=clock())
            self._take(found)
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
        carm = self._camera if carm is None else carm
        if carm is None:
            raise XrcoreError("track: there are no frames")
        return Track(frames=tuple(frames), carm=carm, isocenter=self._volume.isocenter, motion=self._motion, names=tuple(names))

    def _take(self, found: TrackedFrame) -> None:
        assert self._filter is not None
        self._filter.take(found)
        self._last = found
        self._lost = 0 if found.trusted else self._lost + 1
        self._unchecked = 0 if found.checked else self._unchecked + 1

    def _first(self, views: tuple[View, ...]) -> TrackedFrame:
        result = register(views, self._volume, self._initial, search=self._search, beam=self._beam)
        return self._searched(views, result)

    def _searched(self, views: tuple[View, ...], result: Registration) -> TrackedFrame:
        """A frame that was registered, refined and checked as all are, so that their similarities compare."""
        self._prepare(views, result.pose)
        refined = self._refined(views, result.pose)
        found = TrackedFrame(
            pose=result.pose,
            covariance=result.covariance,
            similarity=refined.similarity,
            confidence=result.confidence,
            trusted=result.trusted,
            reasons=result.reasons,
            searched=True,
        )
        checked = self._checked(self._mapped(views), replace(found, pose=refined.pose))
        return checked if checked.trusted or not found.trusted else found

    def _prepare(self, views: tuple[View, ...], pose: Pose) -> None:
        """How grey values are mapped, and how fine the levels are, by a pose that a search found."""
        coarse = self._volume.coarser(_CURVE_SPACING)
        small = [shrink(view.xray, _CURVE_PIXELS) for view in views]
        poses = poses_in_views(pose, views, self._volume)
        self._curves = [grey_curve(x, render(coarse, x.carm, p, self._beam)[0]) for x, p in zip(small, poses, strict=True)]
        windows = body_windows(views, self._volume, pose)
        self._settings = fitted(self._chosen, views, windows, self._volume)

    def _mapped(self, views: tuple[View, ...]) -> tuple[View, ...]:
        return tuple(replace(v, xray=with_attenuation(v.xray, curve)) for v, curve in zip(views, self._curves, strict=True))

    def _refined(self, views: tuple[View, ...], start: Pose) -> Registration:
        assert self._settings is not None
        near = self._mapped(cut(views, body_windows(views, self._volume, start)))
        return finish(refinement(near, self._volume, start, (self._settings,), self._beam, report=False))

    def _next(self, views: tuple[View, ...], last: TrackedFrame) -> TrackedFrame:
        assert self._filter is not None
        expected = self._filter.expected()
        if not self._curves:  # a track that goes on
            self._prepare(views, expected)
        refined = self._refined(views, expected)
        covariance = self._filter.carried(last, refined.pose)
        distance = self._filter.distance(refined.pose, covariance)
        alike = bool(self._alike) and refined.similarity >= median(self._alike) - _LOOKS
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
        found = self._checked(self._mapped(views), found)
        if found.trusted or not self._worth_searching():
            return found
        box = _NEAR if self._lost < 3 else SearchBox()
        result = register(views, self._volume, expected, search=box, retries=0, beam=self._beam)
        if not result.trusted and result.confidence <= found.confidence:
            return found
        return replace(self._searched(views, result), distance=self._filter.distance(result.pose, result.covariance) ** 0.5)

    def _worth_searching(self) -> bool:
        """Whether to search a lost body: at once, then after 1, 3, 7, ... frames more."""
        return (self._lost + 1) & self._lost == 0

    def _checked(self, mapped: tuple[View, ...], found: TrackedFrame) -> TrackedFrame:
        evidence, covariance, _ = gather_evidence(mapped, self._volume, found.pose, self._beam)
        reasons = failed_checks(evidence)
        self._remember(None if reasons else found.similarity)
        return replace(found, covariance=covariance, confidence=confidence(evidence), trusted=not reasons, reasons=reasons, checked=True)

    def _remember(self, similarity: float | None) -> None:
        if similarity is not None:
            self._alike = [*self._alike[1 - _REMEMBERED :], similarity]
