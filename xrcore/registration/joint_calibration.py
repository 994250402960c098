"""Estimate unknown intrinsics jointly with the pose, by Gauss-Newton on the robust patches and the prior.

A single X-ray hardly tells distance from depth, or the principal point from a turn. What it does tell is weighed honestly: the patches'
covariance is that of clusters (see `uncertainty`), with the systematic error of where points are drawn, so that with z the unknowns,
H and g the patches' Hessian and gradient, M the scatter of g, and P the prior's precision,

    A = (H^-1 M H^-1 + S)^-1,    step = -(A + P)^-1 (A H^-1 g + P (z - given)),    covariance = (A + P)^-1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from xrcore._util.errors import XrcoreError
from xrcore.beam import Beam
from xrcore.ct.volume import Volume
from xrcore.registration.body_window import body_windows, cut
from xrcore.registration.calibration import Calibration, Unknown, changed
from xrcore.registration.events import Events, stage
from xrcore.registration.linearisation import linearised
from xrcore.registration.result import Registration
from xrcore.registration.uncertainty import knowledge

_PIXELS, _SPACING = 256, 2.0  # of the images; [mm]
_ITERATIONS = 8
_SMALL = 0.05  # standard deviations: a step below it is the last
_LARGEST = 2.0  # prior widths that a step changes an intrinsic by at most


def calibrate(result: Registration, volume: Volume, beam: Beam, unknowns: Sequence[Unknown]) -> Events[Registration]:
    """Go on from a registration with unknown intrinsics; the result's views have the cameras found. A generator without steps to show."""
    yield stage("calibrating")
    prior = torch.tensor([unknown.prior for unknown in unknowns], dtype=torch.float64)
    tightness = torch.diag(torch.cat([torch.zeros(6, dtype=torch.float64), prior**-2]))
    views, pose, changes, evaluations = result.views, result.pose, torch.zeros(len(unknowns), dtype=torch.float64), 0
    covariance = None
    for _ in range(_ITERATIONS):
        part = cut(views, body_windows(views, volume, pose))
        known = knowledge(linearised(part, volume, pose, beam, _PIXELS, _SPACING, unknowns))
        evaluations += len(views)
        if known is None:
            break
        precision = torch.linalg.inv(known.covariance)
        covariance = torch.linalg.inv(precision + tightness)
        z = torch.cat([torch.zeros(6, dtype=torch.float64), changes])
        step = covariance @ (precision @ known.away - tightness @ z)
        step = step / (step[6:].abs() / (_LARGEST * prior)).max().clamp_min(1)
        carm = views[0].carm
        try:
            moved = changed(result.views, unknowns, (changes + step[6:]).tolist())
            pose = pose.moved((pose.twists(carm) @ step[:6, None]).squeeze(-1), carm)
        except XrcoreError:  # no camera, or no pose
            break
        views, changes = moved, changes + step[6:]
        if (step.abs() <= _SMALL * covariance.diagonal().sqrt()).all():
            break
        yield stage("calibrating")
    if covariance is None:  # the X-rays show too little to tell
        covariance = torch.diag(torch.cat([torch.full((6,), torch.inf, dtype=torch.float64), prior**2]))
    given = [unknown.given for unknown in unknowns]
    found = tuple((torch.tensor(given, dtype=torch.float64) + changes).tolist())
    calibration = Calibration(tuple(u.name for u in unknowns), tuple(given), found, tuple(prior.tolist()), covariance)
    return replace(
        result, pose=pose, views=views, covariance=covariance[:6, :6], calibration=calibration, evaluations=result.evaluations + evaluations
    )
