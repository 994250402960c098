"""Views as linear functions of the pose and of unknown intrinsics: their DRRs, and where points are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from xrcore.beam import Beam
from xrcore.ct.volume import Volume
from xrcore.geometry import CArm, Pose, ray_twists
from xrcore.geometry.rigid import apply, skew
from xrcore.registration.body_window import voxels_for
from xrcore.registration.box_corners import corners
from xrcore.registration.calibration import Unknown
from xrcore.registration.joint_problem import change_of_numbers, from_first, poses_in_views
from xrcore.registration.problem import pixel_at_isocenter, shrink
from xrcore.registration.view import View
from xrcore.renderer import render_with_jacobian
from xrcore.xray.image import Xray

_kept_twists = lru_cache(maxsize=4)(ray_twists)  # of shrunk images: each frame of a sequence asks for the same


class ViewPart(NamedTuple):
    """A shrunk X-ray, its DRR, and that one's derivative by the first view's six numbers and the unknown intrinsics."""

    xray: Xray
    drr: Float[Tensor, "1 H W"]
    jacobian: Float[Tensor, "1 H W n"]


class Linearisation(NamedTuple):
    """What `linearised` returns: each view, and the derivative of where points are drawn in all of them."""

    parts: list[ViewPart]
    drawn: Float[Tensor, "N 2 n"]

    @property
    def pixel(self) -> float:
        """Of the coarsest shrunk X-ray, at the isocentre [mm]."""
        return max(pixel_at_isocenter(part.xray.carm) for part in self.parts)

    def of_pose(self) -> Linearisation:
        """By the six numbers alone."""
        parts = [part._replace(jacobian=part.jacobian[..., :6].contiguous()) for part in self.parts]
        return Linearisation(parts, self.drawn[..., :6])


def linearised(
    views: Sequence[View], volume: Volume, pose: Pose, beam: Beam, pixels: int, spacing: float, unknowns: Sequence[Unknown] = ()
) -> Linearisation:
    """Render the views, shrunk to so many pixels, with voxels of that spacing, and their derivatives."""
    coarse, points = volume.coarser(voxels_for(views, pixels, spacing)), corners(volume)
    small = [shrink(view.xray, pixels) for view in views]
    parts, drawn = [], []
    for index, (xray, own, k_from_first) in enumerate(zip(small, poses_in_views(pose, views, volume), from_first(views), strict=True)):
        by_first = change_of_numbers(pose, small[0].carm, own, xray.carm, k_from_first)[0]
        image, jacobian = render_with_jacobian(coarse, xray.carm, own, beam)
        columns = [(jacobian.double() @ by_first.to(jacobian.device)).to(jacobian.dtype)]
        places = [drawn_by_numbers(own, xray.carm, volume, points) @ by_first]
        if unknowns:
            by_unknown = _numbers_by_unknowns(index, views[index].carm, xray.carm, unknowns)
            columns.append(intrinsic_columns(jacobian, xray.carm, own) @ by_unknown.to(jacobian))
            places.append(drawn_by_intrinsics(own, xray.carm, volume, points) @ by_unknown)
        parts.append(ViewPart(xray, image, torch.cat(columns, -1)))
        drawn.append(torch.cat(places, -1))
    return Linearisation(parts, torch.cat(drawn))


def _numbers_by_unknowns(index: int, carm: CArm, shrunk: CArm, unknowns: Sequence[Unknown]) -> Float[Tensor, "3 n"]:
    """Derivative of a shrunk view's distance and principal point by the unknowns, which count the X-ray's own pixels."""
    scale = (1.0, *(own / small for own, small in zip(carm.spacing, shrunk.spacing, strict=True)))
    chosen = torch.zeros(3, len(unknowns), dtype=torch.float64)
    for column, unknown in enumerate(unknowns):
        if index in unknown.views:
            chosen[unknown.number, column] = scale[unknown.number]
    return chosen


def intrinsic_columns(jacobian: Float[Tensor, "1 H W 6"], carm: CArm, pose: Pose) -> Float[Tensor, "1 H W 3"]:
    """Derivative of an image by the distance [1/mm], and by the row and column of the principal point [1/pixel], from that by the pose."""
    by_twist = jacobian.double() @ torch.linalg.inv(pose.twists(carm))[:, None].to(jacobian.device)
    return torch.einsum("bhwi,hwik->bhwk", by_twist, _kept_twists(carm, jacobian.device)).to(jacobian.dtype)


def drawn_by_numbers(pose: Pose, carm: CArm, volume: Volume, points: Float[Tensor, "N 3"]) -> Float[Tensor, "N 2 6"]:
    """Derivative of where world points are drawn, across the ray at their depth [mm], by the six numbers [deg, mm]."""
    places = apply(pose.camera_from_world(carm, volume.isocenter), points)[0].double()
    moved = moved_by_numbers(pose, carm, volume, points)
    return moved[:, :2] - places[:, :2, None] / places[:, 2:, None] * moved[:, 2:]


def moved_by_numbers(pose: Pose, carm: CArm, volume: Volume, points: Float[Tensor, "N 3"]) -> Float[Tensor, "N 3 6"]:
    """Derivative of where world points are in the camera's frame [mm] by the six numbers [deg, mm]."""
    places = apply(pose.camera_from_world(carm, volume.isocenter), points)[0].double()
    # the camera's motion exp(v, w) moves a point in its frame by -(v + w x place)
    motion = -torch.cat([torch.eye(3, dtype=torch.float64).expand(len(places), 3, 3), -skew(places)], 2)
    return motion @ pose.twists(carm)[0].double()


def drawn_by_intrinsics(pose: Pose, carm: CArm, volume: Volume, points: Float[Tensor, "N 3"]) -> Float[Tensor, "N 2 3"]:
    """Derivative of where world points are drawn, across the ray at their depth [mm], by distance [mm] and principal point [pixels]."""
    places = apply(pose.camera_from_world(carm, volume.isocenter), points)[0].double()
    across = places.new_zeros(len(places), 2, 3)
    for number, axis in ((1, 1), (2, 0)):  # rows along y, columns along x; along a slot scan the distance changes nothing
        if not carm.source_steps[number - 1]:
            across[:, axis, 0] = places[:, axis] / carm.source_to_detector
            across[:, axis, number] = places[:, 2] / carm.focal_lengths[number - 1]
        else:
            across[:, axis, number] = carm.source_steps[number - 1]
    return across
