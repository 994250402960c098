"""Estimate unknown intrinsics jointly with the pose, by Gauss-Newton on the robust patches and the prior.

A single X-ray hardly tells distance from depth, or the principal point from a turn. What it does tell is weighed honestly: the patches'
covariance is that of clusters (see `uncertainty`), with the systematic error of where points are drawn, so that with z the unknowns,
H and g the patches' Hessian and gradient, M the scatter of g, and P the prior's precision,

    A = (H^-1 M H^-1 + S)^-1,    step = -(A + P)^-1 (A H^-1 g + P (z - given)),    covariance = (A + P)^-1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from xrcore._util.errors import XrcoreError
from xrcore.beam import Beam
from xrcore.ct.volume import Volume
from xrcore.geometry import CArm, Pose, ray_twists
from xrcore.geometry.rigid import apply
from xrcore.registration.body_window import body_windows, cut, voxels_for
from xrcore.registration.calibration import Calibration, Unknown, changed
from xrcore.registration.corners import corners
from xrcore.registration.events import Events, stage
from xrcore.registration.joint_problem import change_of_numbers, from_first, poses_in_views
from xrcore.registration.problem import pixel_at_isocenter, shrink
from xrcore.registration.result import Registration
from xrcore.registration.uncertainty import INFLATION, SYSTEMATIC, clustered_equations, drawn_by_numbers, scatter_of, systematic_covariance
from xrcore.registration.view import View
from xrcore.renderer import render_with_jacobian

_PIXELS, _SPACING = 256, 2.0  # of the images; [mm]
_PIXEL_SHARE = 0.1  # of a pixel at the isocentre: the systematic error of where points are drawn that its grid adds
_ITERATIONS = 8
_SMALL = 0.05  # standard deviations: a step below it is the last
_LARGEST = 2.0  # prior widths that a step changes an intrinsic by at most
_RIDGE = 1e-9  # of a Hessian scaled to a unit diagonal: keeps directions that nothing tells finite


class _Knowledge(NamedTuple):
    """What the X-rays tell of pose and intrinsics: their estimate less the current values, and its precision."""

    away: Float[Tensor, " n"]
    precision: Float[Tensor, "n n"]


def calibrate(result: Registration, volume: Volume, beam: Beam, unknowns: Sequence[Unknown]) -> Events[Registration]:
    """Go on from a registration with unknown intrinsics; the result's views have the cameras found. A generator without steps to show."""
    yield stage("calibrating")
    prior = torch.tensor([unknown.prior for unknown in unknowns], dtype=torch.float64)
    tightness = torch.diag(torch.cat([torch.zeros(6, dtype=torch.float64), prior**-2]))
    views, pose, changes, evaluations = result.views, result.pose, torch.zeros(len(unknowns), dtype=torch.float64), 0
    covariance = None
    for _ in range(_ITERATIONS):
        known = _knowledge(views, volume, pose, beam, unknowns)
        evaluations += len(views)
        if known is None:
            break
        covariance = torch.linalg.inv(known.precision + tightness)
        z = torch.cat([torch.zeros(6, dtype=torch.float64), changes])
        step = covariance @ (known.precision @ known.away - tightness @ z)
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


def _knowledge(views: Sequence[View], volume: Volume, pose: Pose, beam: Beam, unknowns: Sequence[Unknown]) -> _Knowledge | None:
    """What the X-rays tell of pose and intrinsics near these."""
    views = cut(views, body_windows(views, volume, pose))
    coarse, points = volume.coarser(voxels_for(views, _PIXELS, _SPACING)), corners(volume)
    small = [shrink(view.xray, _PIXELS) for view in views]
    parts, drawn = [], []
    for index, (view, xray, own, k_from_first) in enumerate(
        zip(views, small, poses_in_views(pose, views, volume), from_first(views), strict=True)
    ):
        by_first = change_of_numbers(pose, views[0].carm, own, xray.carm, k_from_first)[0]
        image, by_pose = render_with_jacobian(coarse, xray.carm, own, beam)
        scale = torch.tensor([1.0, *(a / b for a, b in zip(view.carm.spacing, xray.carm.spacing, strict=True))], dtype=torch.float64)
        chosen = torch.zeros(3, len(unknowns), dtype=torch.float64)  # this view's three numbers by the unknowns
        for column, unknown in enumerate(unknowns):
            if index in unknown.views:
                chosen[unknown.number, column] = scale[unknown.number]
        by_camera = intrinsic_columns(by_pose, xray.carm, own) @ chosen.to(by_pose)
        parts.append((xray, image, torch.cat([by_pose @ by_first.to(by_pose), by_camera], -1)))
        by_numbers = drawn_by_numbers(own, xray.carm, volume, points) @ by_first
        drawn.append(torch.cat([by_numbers, drawn_by_intrinsics(own, xray.carm, volume, points) @ chosen], -1))
    equations = clustered_equations(parts, expected=True)
    if equations is None:
        return None
    hessian, gradient, clusters = equations
    size_of_error = math.hypot(SYSTEMATIC, _PIXEL_SHARE * max(pixel_at_isocenter(xray.carm) for xray in small))
    size = hessian.diagonal().clamp_min(1e-30).rsqrt()
    curvature, directions = torch.linalg.eigh(hessian * size * size[:, None])
    inverse = (directions / curvature.clamp_min(_RIDGE)) @ directions.T * size * size[:, None]
    spread = inverse @ scatter_of(clusters) @ inverse * INFLATION**2 + systematic_covariance(torch.cat(drawn), size_of_error)
    return _Knowledge(-inverse @ gradient, torch.linalg.inv(spread))


def intrinsic_columns(jacobian: Float[Tensor, "1 H W 6"], carm: CArm, pose: Pose) -> Float[Tensor, "1 H W 3"]:
    """Derivative of an image by the distance [1/mm], and by the row and column of the principal point [1/pixel], from that by the pose."""
    by_twist = jacobian.double() @ torch.linalg.inv(pose.twists(carm))[:, None].to(jacobian.device)
    return torch.einsum("bhwi,hwik->bhwk", by_twist, ray_twists(carm, jacobian.device)).to(jacobian.dtype)


def drawn_by_intrinsics(pose: Pose, carm: CArm, volume: Volume, points: Float[Tensor, "N 3"]) -> Float[Tensor, "N 2 3"]:
    """Derivative of where world points are drawn, across the ray at their depth [mm], by distance [mm] and principal point [pixels]."""
    places = apply(pose.camera_from_world(carm, volume.isocenter), points)[0].double()
    across = places.new_zeros(len(places), 2, 3)
    across[:, :, 0] = places[:, :2] / carm.source_to_detector
    across[:, 1, 1] = places[:, 2] / carm.focal_lengths[0]
    across[:, 0, 2] = places[:, 2] / carm.focal_lengths[1]
    return across
