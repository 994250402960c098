"""The steps of `register`: start, search, refine, verify, and wider searches until a trusted result is found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import torch

from xrcore._util.errors import is_whole, require
from xrcore.beam import Beam
from xrcore.ct.volume import Volume
from xrcore.geometry import Pose, require_pinhole
from xrcore.geometry.pose import require_one_pose
from xrcore.registration.ambiguity import challenged
from xrcore.registration.bone_only import is_bone_only
from xrcore.registration.calibration import Free, Unknown, unknowns_of
from xrcore.registration.coverage import covered_part
from xrcore.registration.events import Events, Step, WorkClock, finish, stage, working
from xrcore.registration.joint_calibration import calibrate
from xrcore.registration.mirrored import is_challenged, mirrored_agreement
from xrcore.registration.open_direction import open_note, settled
from xrcore.registration.predictor import Predictor
from xrcore.registration.presets import COARSE_SEARCH, Method, refinements
from xrcore.registration.refinement import refine_in_turn
from xrcore.registration.result import Registration
from xrcore.registration.search import SearchBox, Starts, search_box
from xrcore.registration.search_plans import (
    RETRIES,
    another_way,
    plans_about_pose,
    plans_about_prediction,
    plans_from_anywhere,
    within_ranges,
)
from xrcore.registration.settings import RefinementSettings
from xrcore.registration.similarities import Similarity
from xrcore.registration.solvers.gauss_newton import GaussNewton
from xrcore.registration.verify import LEAST_CONFIDENCE, REACH, judged, rank, with_whole_drr
from xrcore.registration.view import View, check_images
from xrcore.renderer import place
from xrcore.xray.image import Xray

ANYWHERE: Final = "anywhere"
# how far a patient moves between a localizer and the CT of the same frame of reference
PLACED = SearchBox(rotation=(REACH[0],) * 3, translation=(REACH[1],) * 3, candidates=32)


def register(
    xray: Xray | Sequence[View],
    volume: Volume,
    initial: Pose | Predictor | None = None,
    method: Method = "gauss-newton",
    *,
    similarity: str | Similarity | None = None,
    beam: Beam | None = None,
    search: SearchBox | Literal["anywhere"] | None = None,
    retries: int = RETRIES,
    free: Free | None = None,
    watch: Callable[[Step], None] | None = None,
    device: str | torch.device | None = None,
) -> Registration:
    """Find the pose of an X-ray, or of several calibrated views of one instant, in a CT's space, and say whether to trust it.

    "gauss-newton" searches the box and descends coarse to fine. The other methods refine from `initial` alone, as their authors
    do; if that answer is not trusted, a coarse search gives them another start. A model's last retry covers all it was trained
    for. The answer is verified by looking for each block of the X-ray on the DRR (see `registration.verify`).

    Parameters
    ----------
    xray : Xray or sequence of View
        What to register. How its grey values were mapped need not be known: bone may be dark, and they may be counts. Several views are
        registered as one; poses are then the first one's.
    volume : Volume
        The CT.
    initial : Pose or Predictor, optional
        Where to start: a pose, or a model, whose prediction it is; default what the X-ray's file says (`Xray.pose_in`), or else the
        zero pose (AP).
    method : str, RefinementSettings or tuple of RefinementSettings
        A preset ("gauss-newton", "paper-as-intended", "paper-as-released", "grimm", "adam", "lbfgs", "cma-es", "powell"),
        settings such as `GaussNewton(tolerance=0.1)`, or several that follow each other.
    similarity : str or Similarity, optional
        Replaces the method's own: a name of `similarities.SIMILARITIES`, or an object.
    beam : Beam, optional
        The one assumed; default 90 kV.
    search : SearchBox or str, optional
        The box of starts judged about `initial`; default the paper's ranges, as far about a prediction as the model errs, or some
        mm and degrees about what a file in the CT's frame of reference says. "anywhere", where nothing is known of the view: views
        from all around, up to 45 deg cranial or caudal, in any roll, whatever the X-ray's file says.
    retries : int
        Wider searches while in doubt.
    free : list of str, or dict of str to float, optional
        Intrinsics that are not known exactly, of "source_to_detector" and "principal_point": they are estimated with the pose, see
        `Registration.calibration`. By name, standard deviations of what is given [mm, pixels]; default 2 % of the distance, and of the
        image's longer side. Views of equal geometry share them, as those of one C-arm; others have their own.
    watch : callable, optional
        Called with the best `Step` of its level so far, after each iteration; what it raises ends the registration. What it
        takes does not count in `seconds`.
    device : str or torch.device, optional
        Where to render and refine: "cpu", "cuda", or "auto", a GPU where there is one; default where the volume is. The first
        registration on a GPU copies the volume there, and it stays with the volume.

    Returns
    -------
    Registration
        The pose; `trusted` is the verdict and `reasons` what speaks against it.

    Raises
    ------
    XrcoreError
        For bad input: a CT outside the view, an unknown method, a similarity that the method cannot use, a model of another CT or
        geometry, or an argument that makes no sense.

    Examples
    --------
    >>> import xrcore as xr
    >>> volume = xr.phantom.pelvis(seed=0, spacing=4.0)
    >>> carm = xr.CArm(source_to_detector=1260, source_to_isocenter=742.5, shape=(128, 128), pixel_spacing=3.375)
    >>> xray = xr.simulate(volume, carm, xr.Pose(ry=-8, tx=10))
    >>> result = xr.register(xray, volume)
    >>> result.trusted
    True
    """
    require("register", "watch", watch, watch is None or callable(watch), "a function that takes a Step")
    report = watch is not None
    steps = register_steps(
        xray,
        volume,
        initial,
        method,
        similarity=similarity,
        beam=beam,
        search=search,
        retries=retries,
        free=free,
        device=device,
        report=report,
    )
    return finish(steps, watch)


def register_steps(
    xray: Xray | Sequence[View],
    volume: Volume,
    initial: Pose | Predictor | None = None,
    method: Method = "gauss-newton",
    *,
    similarity: str | Similarity | None = None,
    beam: Beam | None = None,
    search: SearchBox | Literal["anywhere"] | None = None,
    retries: int = RETRIES,
    free: Free | None = None,
    device: str | torch.device | None = None,
    report: bool = True,
) -> Events[Registration]:
    """`register` as a generator: it yields while it works, and returns the result.

    The time that the consumer takes between two events does not count in the result's `seconds`, and none of the working
    thread's settings reaches the consumer.

    Parameters
    ----------
    xray, volume, initial, method : Xray or sequence of View, Volume, Pose or Predictor, str or RefinementSettings
        As for `register`.
    similarity, beam, search, retries, free, device : str or Similarity, Beam, SearchBox or str, int, list of str, str
        As for `register`.
    report : bool
        Whether steps are wanted; without, a GPU is not waited for after each iteration.

    Yields
    ------
    Stage or Step
        As stages begin; and the best of its level so far, after each iteration.

    Returns
    -------
    Registration
        As of `register`.

    Raises
    ------
    XrcoreError
        As `register`.
    """
    views = check_images("register", xray, volume, beam)
    check_start("register", initial, search)
    if search == ANYWHERE:
        require_pinhole("register", views[0].carm)
    require("register", "retries", retries, is_whole(retries) and retries >= 0, "a whole number, not negative")
    settings = refinements(method, "register")
    if similarity is not None:
        settings = tuple(one.with_similarity(similarity) for one in settings)
    clock = WorkClock()
    unknowns = unknowns_of("register", free, views)
    task = _Task(views, volume, settings, Beam() if beam is None else beam, report, unknowns)
    return working(_registration(task, initial, search, retries, device, clock), clock)


def check_start(caller: str, initial: object, search: object) -> None:
    """Raise XrcoreError, naming it, for a start or a search that is of another kind."""
    known = initial is None or isinstance(initial, (Pose, Predictor))
    require(caller, "initial", initial, known, "a Pose, or a model that predicts one (spread, ranges, check, predict)")
    anywhere = isinstance(search, str) and search == ANYWHERE
    require(caller, "search", search, search is None or anywhere or isinstance(search, SearchBox), 'a SearchBox or "anywhere"')
    if anywhere:
        require(caller, "initial", initial, initial is None, 'left out where search is "anywhere"')


@dataclass(frozen=True, eq=False)
class _Task:
    """Inputs of a registration."""

    views: tuple[View, ...]
    volume: Volume
    settings: tuple[RefinementSettings, ...]
    beam: Beam
    report: bool
    unknowns: tuple[Unknown, ...]


def _registration(
    task: _Task,
    initial: Pose | Predictor | None,
    search: SearchBox | Literal["anywhere"] | None,
    retries: int,
    device: str | torch.device | None,
    clock: WorkClock,
) -> Events[Registration]:
    if device is not None:
        task = replace(task, volume=place(task.volume, device, "registering", spacing=task.settings[-1].levels[-1].spacing))
    volume = task.volume
    task = replace(task, views=tuple(replace(view, xray=covered_part(view.xray, volume)) for view in task.views))
    xray = task.views[0].xray
    placed = initial is None and search is None and xray.placement_in(volume) is not None
    stages: dict[str, float] = {}
    plans: Sequence[tuple[Pose, Starts]]
    if search == ANYWHERE:
        start = Pose.zero()
        plans = plans_from_anywhere(task.views, volume, task.beam)
    elif initial is None or isinstance(initial, Pose):
        start = _start(initial if initial is not None else xray.pose_in(volume))
        plans = plans_about_pose(start, SearchBox() if search is None else search)
        if placed:
            plans = [(start, PLACED), *plans]
    else:
        yield stage("predicting")
        began = clock()
        initial.check(xray.carm, volume)
        start = _start(within_ranges(initial.predict(xray), initial.ranges))
        plans = plans_about_prediction(start, initial, search)
        stages["predict"] = clock() - began
    stages |= {"search and refine": 0.0, "verify": 0.0}
    best: Registration | None = None
    evaluations = 0
    for attempt, (center, box) in enumerate(plans[: retries + 1]):
        yield stage("searching" if attempt == 0 else f"not sure yet: searching {box.candidates} starts")
        began = clock()
        result = yield from _attempt(task, center, box, attempt)
        if task.unknowns:
            result = yield from calibrate(result, volume, task.beam, task.unknowns)
        evaluations += result.evaluations
        stages["search and refine"] += clock() - began
        yield stage("verifying")
        began = clock()
        result = judged(result, volume, task.beam)
        stages["verify"] += clock() - began
        if best is None or rank(result) > rank(best):
            best = result
        if best.confidence >= LEAST_CONFIDENCE:  # also where another search cannot mend what speaks against it
            break
    assert best is not None
    best = replace(best, evaluations=evaluations)
    last = task.settings[-1]
    own = last if isinstance(last, GaussNewton) and not task.unknowns else None  # other methods end as their authors' do
    if own is not None:
        began = clock()
        best = yield from settled(best, volume, task.beam, _way(task, own, 0))
        stages["search and refine"] += clock() - began
    began = clock()
    best = yield from challenged(best, volume, task.beam, _way(task, GaussNewton(), 0), may_change=own is not None)
    best = with_whole_drr(best, volume, task.beam)
    stages["verify"] += clock() - began
    if is_challenged(best):
        yield stage("comparing with the mirror image")
        began = clock()
        reason = yield from mirrored_agreement(best, volume, task.beam)
        if reason is not None:
            best = replace(best, trusted=False, confidence=0.0, reasons=(reason,))
        stages["verify"] += clock() - began
    best = replace(
        best,
        initial=start,
        notes=(*_notes(best.views), *open_note(best, volume)),
        stages=stages,
        attempts=attempt + 1,
        device=str(volume.device),
    )
    return replace(best, seconds=clock())


def _notes(views: Sequence[View]) -> tuple[str, ...]:
    """The X-rays' remarks; of several, each with its number."""
    if len(views) == 1:
        return views[0].xray.notes
    return tuple(f"view {number}: {note}" for number, view in enumerate(views, 1) for note in view.xray.notes)


def _start(initial: Pose | None) -> Pose:
    start = Pose.zero() if initial is None else initial
    require_one_pose("register", "initial", start)
    return Pose(start.numbers.detach().cpu().double())


def _way(task: _Task, settings: GaussNewton, attempt: int, *, near: bool = False) -> GaussNewton:
    """The settings as an attempt's search has them."""
    sharpened = task.views[0].xray.world_from_camera is not None  # as localizers are
    return another_way(settings, attempt, bone_only=sharpened or is_bone_only(task.volume), near=near)


def _attempt(task: _Task, start: Pose, box: Starts, attempt: int) -> Events[Registration]:
    """Search and refine once; methods other than gauss-newton refine alone, or else from where a coarse search ends."""
    volume, settings, beam, report = task.volume, task.settings, task.beam, task.report
    first = settings[0]
    if attempt == 0 and isinstance(box, SearchBox) and not isinstance(first, GaussNewton):
        return (yield from refine_in_turn(task.views, volume, start, settings, beam, report))
    searched, after = (first, settings[1:]) if isinstance(first, GaussNewton) else (COARSE_SEARCH, settings)
    way = _way(task, searched, attempt, near=box is PLACED)
    found = yield from search_box(task.views, volume, start, box, way, beam, report=report)
    if not after:
        return found
    result = yield from refine_in_turn(found.views, volume, found.pose, after, beam, report)
    return replace(result, evaluations=result.evaluations + found.evaluations, inverted=found.inverted)
