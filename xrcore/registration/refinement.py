"""Refine one start by one method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from xrcore._util.errors import require
from xrcore.beam import Beam
from xrcore.ct.volume import Volume
from xrcore.geometry import Pose
from xrcore.geometry.pose import require_one_pose
from xrcore.registration.calibration import Free, unknowns_of
from xrcore.registration.events import Events, Step, WorkClock, finish, working
from xrcore.registration.joint_calibration import calibrate
from xrcore.registration.joint_problem import problem_on
from xrcore.registration.presets import Method, refinements
from xrcore.registration.pyramid import XrayPyramid
from xrcore.registration.result import Registration
from xrcore.registration.settings import RefinementSettings
from xrcore.registration.solvers.gauss_newton import GaussNewton
from xrcore.registration.solvers.single_level import SingleLevelSettings
from xrcore.registration.view import View, check_images
from xrcore.xray.image import Xray


def refine(
    xray: Xray | Sequence[View],
    volume: Volume,
    start: Pose,
    method: Method = "gauss-newton",
    beam: Beam | None = None,
    *,
    free: Free | None = None,
    watch: Callable[[Step], None] | None = None,
) -> Registration:
    """Move a pose to where a DRR of the CT looks most like the X-ray.

    The search is local: whether its answer is the right one is for `register` to judge. The covariance is of independent residuals,
    which are what noise alone leaves; that of `register` is of what tissue, scatter and processing leave, too.

    Parameters
    ----------
    xray : Xray or sequence of View
        Bone bright; or several calibrated views of one instant.
    volume : Volume
        The CT; it is rendered where it is.
    start : Pose
        One pose; the first view's.
    method : str, RefinementSettings or tuple of RefinementSettings
        A preset's name (see `presets.PRESETS`), settings, or several of them, each of which starts where the one before ended.
        `GaussNewton` walks its levels from coarse to fine; the other solvers work on one level.
    beam : Beam, optional
        The one assumed; default the paper's, 90 kV.
    free : list of str, or dict of str to float, optional
        Intrinsics to estimate afterwards together with the pose, as for `register`.
    watch : callable, optional
        Called with the best `Step` of its level so far, after each iteration; what it raises ends the refinement.

    Returns
    -------
    Registration
        Not judged, hence not trusted.

    Raises
    ------
    XrcoreError
        If an argument makes no sense, such as several starts, or the method cannot use the similarity.

    Examples
    --------
    >>> import xrcore as xr
    >>> volume = xr.phantom.pelvis(seed=0, spacing=8.0)
    >>> carm = xr.CArm(source_to_detector=1020, source_to_isocenter=650, shape=(64, 64), pixel_spacing=6.0)
    >>> truth = xr.Pose(rx=3, ry=-8, tx=4)
    >>> xray = xr.Xray(image=xr.render(volume, carm, truth)[0], carm=carm)
    >>> result = xr.refine(xray, volume, xr.Pose(ry=-5))
    >>> bool((result.pose.numbers - truth.numbers).abs().max() < 0.5)
    True
    """
    require("refine", "watch", watch, watch is None or callable(watch), "a function that takes a Step")
    return finish(refine_steps(xray, volume, start, method, beam, free=free, report=watch is not None), watch)


def refine_steps(
    xray: Xray | Sequence[View],
    volume: Volume,
    start: Pose,
    method: Method = "gauss-newton",
    beam: Beam | None = None,
    *,
    free: Free | None = None,
    report: bool = True,
) -> Events[Registration]:
    """`refine` as a generator: it yields while it works, and returns the result.

    The time that the consumer takes between two events does not count in the result's `seconds`, and none of the working
    thread's settings reaches the consumer.

    Parameters
    ----------
    xray, volume, start, method, beam, free : Xray, Volume, Pose, str or RefinementSettings, Beam, list of str
        As for `refine`.
    report : bool
        Whether steps are wanted; without, a GPU is not waited for after each iteration.

    Yields
    ------
    Step
        The best of its level so far, after each iteration.

    Returns
    -------
    Registration
        As of `refine`.

    Raises
    ------
    XrcoreError
        As `refine`, at once.
    """
    views = check_images("refine", xray, volume, beam)
    require_one_pose("refine", "start", start)
    clock = WorkClock()
    settings, unknowns = refinements(method, "refine"), unknowns_of("refine", free, views)
    beam = Beam() if beam is None else beam

    def events() -> Events[Registration]:
        result = yield from refine_in_turn(views, volume, start, settings, beam, report)
        if unknowns:
            result = yield from calibrate(result, volume, beam, unknowns)
        return replace(result, seconds=clock())

    return working(events(), clock)


def refine_in_turn(
    views: Sequence[View], volume: Volume, start: Pose, several: tuple[RefinementSettings, ...], beam: Beam, report: bool
) -> Events[Registration]:
    """Refinements one after the other; their levels are counted on, their histories and evaluations added up."""
    initial = Pose(start.numbers.detach().double().cpu())
    pose, history, evaluations, level = initial, tuple[Step, ...](), 0, 0
    for settings in several:
        if isinstance(settings, GaussNewton):
            pyramid = XrayPyramid(views, volume, beam, settings, first_level=level, report=report)
            course = yield from pyramid.descend(pose)
            outcome = course.descent.outcome(0, course.history)
            evaluations += pyramid.evaluations
        else:
            assert isinstance(settings, SingleLevelSettings)
            problem = problem_on(settings, views, volume, beam)
            outcome = yield from settings.search(problem, pose, level)
            evaluations += problem.evaluations
        pose, history, level = outcome.pose, history + outcome.history, level + len(settings.levels)
    whole, isocenter = replace(outcome, history=history), volume.isocenter
    return Registration.of(whole, settings, initial=initial, evaluations=evaluations, views=tuple(views), isocenter=isocenter)
