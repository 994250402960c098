"""Challenge an answer with the other poses from which a nearly symmetric body looks alike: the image may not tell which of them it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from xrcore.beam import Beam
from xrcore.ct.volume import Volume
from xrcore.geometry import Pose
from xrcore.geometry.rigid import angle_between
from xrcore.registration.bone_only import is_bone_only
from xrcore.registration.compared_descents import descents_compared, moved_to_end
from xrcore.registration.events import Events, stage
from xrcore.registration.pyramid import CoarseToFineResult
from xrcore.registration.result import Evidence, Registration
from xrcore.registration.solvers.descent import Descent
from xrcore.registration.solvers.gauss_newton import GaussNewton
from xrcore.registration.symmetry import poses_alike, symmetries, turned_apart
from xrcore.registration.verify import gather_evidence, judged, odds, with_evidence
from xrcore.registration.view import View

_GOES_ON = 0.1  # in similarity, by which an end of the first level may be worse to go on
_ALIKE = 0.02  # in similarity, within which poses are alike: one that is better by more is the answer
_MOST = 3  # other poses that are judged


def challenged(result: Registration, volume: Volume, beam: Beam, settings: GaussNewton, *, may_change: bool) -> Events[Registration]:
    """Compare an answer with the poses that look alike, and judge it with them in mind.

    Parameters
    ----------
    result : Registration
        Judged.
    volume : Volume
        The body; a CT of several tissues to its skin is not challenged.
    beam : Beam
        The one assumed.
    settings : GaussNewton
        Whose finest levels are descended.
    may_change : bool
        Whether a better pose becomes the answer.

    Returns
    -------
    Registration
        Judged; the same where the body is not nearly symmetric.
    """
    starts = _starts(result.views, volume, result.pose)
    if starts is None:
        return result
    yield stage("comparing with poses that look alike")
    course, evaluations = yield from _descents(result.views, volume, starts, beam, settings)
    ends = course.descent
    value = ends.value.nan_to_num(nan=-torch.inf)
    best = int(value.argmax()) if may_change and value.max() > value[0] + _ALIKE else 0
    if best:
        result = judged(moved_to_end(result, course, best), volume, beam)
    assert result.evidence is not None
    evidence = _with_rivals(result.evidence, result.views, volume, _pick(ends, best, _ALIKE), beam)
    return with_evidence(replace(result, evaluations=result.evaluations + evaluations), evidence)


def evidence_with_rivals(
    evidence: Evidence, views: Sequence[View], volume: Volume, pose: Pose, beam: Beam, settings: GaussNewton
) -> Events[Evidence]:
    """The evidence for a pose that is kept, with that for the poses that look alike.

    Parameters
    ----------
    evidence : Evidence
        For the pose alone.
    views : sequence of View
        One or more.
    volume : Volume
        The body.
    pose : Pose
        The first view's.
    beam : Beam
        The one assumed.
    settings : GaussNewton
        Whose finest levels are descended.

    Returns
    -------
    Evidence
        The same where the body is not nearly symmetric.
    """
    starts = _starts(views, volume, pose)
    if starts is None:
        return evidence
    course, _ = yield from _descents(views, volume, starts, beam, settings)
    return _with_rivals(evidence, views, volume, _pick(course.descent, 0, _ALIKE), beam)


def _starts(views: Sequence[View], volume: Volume, pose: Pose) -> Pose | None:
    """A pose, and those that look alike; None where there are none, or the body has bones inside, which tell."""
    if not (is_bone_only(volume) or len(volume.materials) == 1):
        return None
    others = poses_alike(symmetries(volume), pose, views[0].carm, volume.isocenter)
    return Pose.cat([pose, others]) if len(others) else None


def _descents(
    views: Sequence[View], volume: Volume, starts: Pose, beam: Beam, settings: GaussNewton
) -> Events[tuple[CoarseToFineResult, int]]:
    return descents_compared(views, volume, starts, beam, settings, choose=lambda _, descent: _pick(descent, 0, _GOES_ON))


def _with_rivals(evidence: Evidence, views: Sequence[View], volume: Volume, poses: Pose, beam: Beam) -> Evidence:
    """The evidence for the first pose, with that for some of the others, likest first."""
    if len(poses) == 1:
        return evidence
    theirs = [odds(gather_evidence(views, volume, poses[index], beam)[0]) for index in range(1, min(len(poses), 1 + _MOST))]
    likest = poses[1 + theirs.index(max(theirs))]
    turned = float(angle_between(poses[0].matrix(), likest.matrix()).rad2deg())
    return replace(evidence, rivals=sum(theirs), rival_turned=turned)


def _pick(descent: Descent, first: int, worse: float) -> Pose:
    """One end and, best first, those that are hardly worse and are turned from it and from each other."""
    value, poses = descent.value.nan_to_num(nan=-torch.inf), descent.pose.matrix()
    order = [index for index in value.argsort(descending=True).tolist() if value[index] >= value[first] - worse]
    others = [order[place] for place in turned_apart(poses[first], poses[order])]
    return descent.pose[torch.tensor([first, *others])]
