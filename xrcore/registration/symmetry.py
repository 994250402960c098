"""Nearly symmetric bodies: the rotations and reflections that map a body to nearly itself, and the other poses that look alike by them.

A rotation that maps the body to itself leaves every X-ray as it is. A reflection, at a plane or a point or with a turn, does too, if depth
is reflected with it: a shadow says little of what is nearer and what is further, so that a body that has a plane of symmetry looks much
the same from two sides.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from xrcore.ct.volume import Volume
from xrcore.geometry import CArm, Pose
from xrcore.geometry.rigid import angle_between, apply, exp, rigid

_SAMPLES = 40  # of the grid on which a body is compared with itself, along each side
_TURN, _TILT = 30.0, 15.0  # [deg] between the angles of turns, and between the axes of half turns, that are tried
_ALIKE = 0.75  # normalised correlation with itself from which a body counts as nearly symmetric
_APART = 10.0  # [deg] at least, between poses to be compared
_MOST = 12  # poses to be compared


class Symmetries(NamedTuple):
    """Maps of a body to nearly itself.

    Parameters
    ----------
    center : Float[Tensor, "3"]
        Its centre of mass [mm], which all of them keep.
    maps : Float[Tensor, "k 3 3"]
        In world axes, the best first: rotations, and reflections at planes, at the centre, or with a turn.
    """

    center: Float[Tensor, "3"]
    maps: Float[Tensor, "k 3 3"]


def symmetries(volume: Volume) -> Symmetries:
    """Find the turns about a body's principal axes, the half turns about axes across one, and both with a reflection, that keep it.

    Parameters
    ----------
    volume : Volume
        The body.

    Returns
    -------
    Symmetries
        Kept with the volume once found; without members for most bodies.
    """
    return volume.derived("symmetries", lambda: _symmetries(volume))


def _symmetries(volume: Volume) -> Symmetries:
    mass = volume.density.detach().sum(0).double().cpu()
    index = mass.nonzero()
    weight = mass[tuple(index.T)]
    points = apply(volume.world_from_voxel.double().cpu(), index.flip(-1).double())
    center = (points * weight[:, None]).sum(0) / weight.sum()
    away = points - center
    _, axes = torch.linalg.eigh((away * weight[:, None]).T @ away)
    radius = float(away.norm(dim=1).max()) + max(volume.spacing) / 2
    angles = torch.arange(_TURN, 360.0, _TURN, dtype=torch.float64).deg2rad()
    turns = [exp(F.pad(angles[:, None] * axis, (3, 0)))[:, :3, :3] for axis in axes.T]
    tilts = torch.arange(0.0, 180.0, _TILT, dtype=torch.float64).deg2rad()[:, None]
    across = torch.cat([tilts.cos() * axes[:, (i + 1) % 3] + tilts.sin() * axes[:, (i + 2) % 3] for i in range(3)])
    same = torch.eye(3, dtype=torch.float64)
    rotations = torch.cat([same[None], *turns, 2 * across[:, :, None] * across[:, None, :] - same])
    maps = torch.cat([rotations, -rotations])[1:]  # the first leaves the body as it is
    alike, order = _correlations(volume.coarser(2 * radius / _SAMPLES), center, radius, axes, maps).sort(descending=True)
    return Symmetries(center, maps[order[alike >= _ALIKE]])


def _correlations(
    volume: Volume, center: Float[Tensor, "3"], radius: float, axes: Float[Tensor, "3 3"], maps: Float[Tensor, "n 3 3"]
) -> Float[Tensor, " n"]:
    """Normalised correlation of a body with what each map makes of it."""
    mass = volume.density.detach().sum(0).double().cpu()
    line = torch.linspace(-radius, radius, _SAMPLES, dtype=torch.float64)
    grid = torch.cartesian_prod(line, line, line) @ axes.T
    size = torch.tensor(mass.shape[::-1], dtype=torch.float64)

    def at(points: Float[Tensor, "p 3"]) -> Float[Tensor, " p"]:
        index = apply(volume.voxel_from_world, points)
        unit = (2 * index + 1) / size - 1
        return F.grid_sample(mass[None, None], unit[None, :, None, None], align_corners=False)[0, 0, :, 0, 0]

    own = at(center + grid)
    inside = grid[own > 0]
    own = own[own > 0]
    return torch.stack([own @ at(center + inside @ turn.T) for turn in maps]) / own.square().sum()


def poses_alike(found: Symmetries, pose: Pose, carm: CArm, isocenter: Float[Tensor, "3"]) -> Pose:
    """Find the other poses from which a nearly symmetric body would look much as it does from one.

    Parameters
    ----------
    found : Symmetries
        Of the body.
    pose : Pose
        One pose.
    carm : CArm
        The camera.
    isocenter : Float[Tensor, "3"]
        The body's, LPS [mm].

    Returns
    -------
    Pose
        A batch, at least 10 deg from the pose and from each other, the likest first; empty where there are none.
    """
    camera_from_world = pose.camera_from_world(carm, isocenter)[0]
    turned = camera_from_world @ rigid(found.maps, found.center - found.maps @ found.center)
    center = apply(camera_from_world, found.center[None])[0]
    still = [step == 0 for step in (*carm.source_steps[::-1], 0.0)]  # a slot scan's rays are parallel along the axis it moves along
    ray = F.normalize(center * center.new_tensor(still), dim=0)
    flip = torch.eye(3, dtype=torch.float64) - 2 * ray[:, None] * ray
    flipped = rigid(flip, center - flip @ center) @ turned
    poses = torch.where(torch.linalg.det(found.maps)[:, None, None] < 0, flipped, turned)
    return Pose.from_camera_from_world(poses[turned_apart(camera_from_world, poses)], carm, isocenter)


def turned_apart(first: Float[Tensor, "4 4"], others: Float[Tensor, "n 4 4"]) -> list[int]:
    """Choose transforms that are turned by 10 deg at least from a first one and from each other.

    Parameters
    ----------
    first : Float[Tensor, "4 4"]
        One transform.
    others : Float[Tensor, "n 4 4"]
        Those to choose from, the best first.

    Returns
    -------
    list of int
        Indices of the first dozen, in order.
    """
    chosen: list[int] = []
    for index, other in enumerate(others):
        known = torch.stack([first, *others[chosen]])
        if angle_between(known, other).min().rad2deg() >= _APART:
            chosen.append(index)
        if len(chosen) == _MOST:
            break
    return chosen
