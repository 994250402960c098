"""Challenge an answer with the other poses from which a nearly symmetric body looks alike: the image may not tell which of them it is."""

from __future__ import annotations

from dataclasses import replace

import torch

from xrcore.beam import Beam
from xrcore.ct.volume import Volume
from xrcore.geometry import Pose
from xrcore.geometry.rigid import angle_between
from xrcore.registration.bone_only import is_bone_only
from xrcore.registration.compared_descents import descents_compared
from xrcore.registration.events import Events, stage
from xrcore.registration.result import Registration
from xrcore.registration.solvers.descent import Descent
from xrcore.registration.solvers.gauss_newton import GaussNewton
from xrcore.registration.symmetry import poses_alike, symmetries
from xrcore.registration.verify import gather_evidence, judged, odds, with_evidence

_APART = 10.0  # [deg] from which an end is another pose
_BETTER = 1e-3  # in similarity, from which another pose is the answer
_WORSE = (0.1, 0.02)  # in similarity, up to which another pose goes on to the finest level, and up to which it counts in the end
_MOST = 3  # other poses that are judged


def challenged(result: Registration, volume: Volume, beam: Beam, settings: GaussNewton, *, may_change: bool) -> Events[Registration]:
    """Compare an answer with the poses that look alike, and judge it with them in mind.

    Parameters
    ----------
    result : Registration
        Judged.
    volume : Volume
        The body; a CT with its soft tissue is not challenged.
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
    if not is_bone_only(volume):
        return result
    starts = poses_alike(symmetries(volume), result.pose, result.views[0].carm, volume.isocenter)
    if not len(starts):
        return result
    yield stage("comparing with poses that look alike")
    starts = Pose.cat([result.pose, starts])
    course, evaluations = yield from descents_compared(
        result.views, volume, starts, beam, settings, lambda _, ends: _pick(ends, 0, _WORSE[0])
    )
    ends = course.descent
    value = ends.value.nan_to_num(nan=-torch.inf)
    best = int(value.argmax()) if may_change and value.max() > value[0] + _BETTER else 0
    if best:
        end = ends.outcome(best, (*result.history, *course.history))
        found = replace(result, pose=end.pose, similarity=end.similarity, stop_reason=end.stop_reason, history=end.history)
        result = judged(found, volume, beam)
    assert result.evidence is not None
    rivals = _pick(ends, best, _WORSE[1])[1 : _MOST + 1]
    if len(rivals):
        theirs = [odds(gather_evidence(result.views, volume, rivals[index], beam)[0]) for index in range(len(rivals))]
        likest = rivals[theirs.index(max(theirs))]
        turned = float(angle_between(result.pose.matrix(), likest.matrix()).rad2deg())
        result = with_evidence(result, replace(result.evidence, rivals=sum(theirs), rival_turned=turned))
    return replace(result, evaluations=result.evaluations + evaluations)


def _pick(descent: Descent, first: int, worse: float) -> Pose:
    """One end and, best first, those that are hardly worse and are turned from it and from each other."""
    chosen, poses = [first], descent.pose.matrix()
    value = descent.value.nan_to_num(nan=-torch.inf)
    for index in value.argsort(descending=True).tolist():
        if value[index] >= value[first] - worse and angle_between(poses[chosen], poses[index]).min().rad2deg() >= _APART:
            chosen.append(index)
    return descent.pose[torch.tensor(chosen)]
