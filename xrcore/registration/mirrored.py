"""Challenge an answer with the mirror image: bodies are nearly symmetric, so a mirrored X-ray can fit a CT well enough to be believed."""

from __future__ import annotations

from dataclasses import replace

import torch

from xrcore._util.errors import XrcoreError
from xrcore.beam import Beam
from xrcore.ct.volume import Volume
from xrcore.geometry import Pose
from xrcore.registration.bone_only import is_bone_only
from xrcore.registration.events import Events
from xrcore.registration.result import Registration
from xrcore.registration.search import SearchBox, search_box
from xrcore.registration.search_plans import another_way
from xrcore.registration.solvers.gauss_newton import GaussNewton
from xrcore.registration.verify import gather_evidence
from xrcore.registration.view import View
from xrcore.xray.image import Xray

_LIKELY, _DOUBTFUL = 0.5, 0.85  # confidence from which, and agreement below which, an answer is challenged
_BETTER = 0.1  # by how much more of the detail the mirror image must agree


def mirror_image(xray: Xray) -> Xray:
    """The X-ray with left and right exchanged, and its geometry with it."""
    row, col = xray.carm.center
    carm = replace(xray.carm, principal_point=(row, xray.carm.shape[1] - 1 - col))
    return Xray(image=xray.image.flip(1), mask=xray.mask.flip(1), carm=carm, notes=xray.notes)


def mirror_view(view: View) -> View:
    """The view with left and right exchanged, and with it the rig, whose other views are exchanged alike."""
    flip = torch.diag(torch.tensor([-1.0, 1.0, 1.0, 1.0], dtype=torch.float64))
    return View(xray=mirror_image(view.xray), camera_from_rig=flip @ view.camera_from_rig @ flip)


def mirror_pose(pose: Pose) -> Pose:
    """The pose from which a symmetric body would give the mirror image."""
    return Pose(pose.numbers * torch.tensor([1, -1, -1, -1, 1, 1], dtype=pose.numbers.dtype))


def is_challenged(result: Registration) -> bool:
    """Whether an answer is likely enough to be believed, and yet much of the X-ray's detail does not agree."""
    return result.evidence is not None and result.confidence >= _LIKELY and result.evidence.agreement < _DOUBTFUL


def mirrored_agreement(result: Registration, volume: Volume, beam: Beam) -> Events[str | None]:
    """Say that the mirror image fits much better than the X-ray as it is, if so; a generator without steps to show."""
    assert result.evidence is not None
    other = [mirror_view(view) for view in result.views]
    try:
        settings = another_way(GaussNewton(), 0, bone_only=is_bone_only(volume))
        found = yield from search_box(other, volume, mirror_pose(result.pose), SearchBox(), settings, beam, report=False)
    except XrcoreError:  # nothing of the CT is in its view
        return None
    evidence, _, _ = gather_evidence(found.views, volume, found.pose, beam)
    if evidence.agreement < result.evidence.agreement + _BETTER:
        return None
    return (
        f"left and right seem to be exchanged in the X-ray or the CT: the mirror image agrees in {100 * evidence.agreement:.0f} % "
        f"of its detail, the X-ray as it is in {100 * result.evidence.agreement:.0f} %; check the orientation of both files"
    )
