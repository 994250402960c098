"""Descents from several starts on the finest levels, whose ends are compared over the same pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from xrcore.beam import Beam
from xrcore.ct.volume import Volume
from xrcore.geometry import Pose
from xrcore.registration.body_window import body_windows, cut, fitted
from xrcore.registration.events import Events
from xrcore.registration.pyramid import ChoosePoses, CoarseToFineResult, XrayPyramid
from xrcore.registration.result import Registration
from xrcore.registration.solvers.gauss_newton import GaussNewton
from xrcore.registration.view import View

_LEVELS = 2  # the finest


def descents_compared(
    views: Sequence[View],
    volume: Volume,
    starts: Pose,
    beam: Beam,
    settings: GaussNewton,
    choose: ChoosePoses = lambda _, descent: descent.pose,
) -> Events[tuple[CoarseToFineResult, int]]:
    """Descend from several starts on the two finest levels, over the pixels that count for any of them.

    Parameters
    ----------
    views : sequence of View
        One or more.
    volume : Volume
        The body.
    starts : Pose
        A batch, of the first view.
    beam : Beam
        The one assumed.
    settings : GaussNewton
        Whose levels are descended.
    choose : callable
        Which of the first level's ends go on; default all.

    Returns
    -------
    CoarseToFineResult
        Whose descents end with values that compare.
    int
        Number of DRRs rendered.
    """
    windows = body_windows(views, volume, starts)
    pyramid = XrayPyramid(cut(views, windows), volume, beam, fitted(settings, views, windows, volume), report=False)
    course = yield from pyramid.descend(starts, pyramid.levels[-_LEVELS:], choose, together=True)
    return course, pyramid.evaluations


def moved_to_end(result: Registration, course: CoarseToFineResult, index: int) -> Registration:
    """Put an answer where one of the descents from it, or from elsewhere, ended.

    Parameters
    ----------
    result : Registration
        The answer.
    course : CoarseToFineResult
        The descents.
    index : int
        Which of them.

    Returns
    -------
    Registration
        Not judged there.
    """
    end = course.descent.outcome(index, (*result.history, *course.history))
    return replace(result, pose=end.pose, similarity=end.similarity, stop_reason=end.stop_reason, history=end.history)
