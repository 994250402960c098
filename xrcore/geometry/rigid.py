"""Rigid algebra: 4x4 transforms, their inverses, and twists.

A twist is `(v, w)`: translation first, then rotation vector; radians and mm. It stays within the package: poses cross the public boundary
in degrees.
"""

from __future__ import annotations

import math

import roma
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

__all__ = ["adjoint", "angle_between", "apply", "exp", "invert", "log", "rigid", "skew"]


def skew(w: Float[Tensor, "*b 3"]) -> Float[Tensor, "*b 3 3"]:
    """Make the matrix of a cross product.

    Parameters
    ----------
    w : Float[Tensor, "*b 3"]
        Vectors.

    Returns
    -------
    Float[Tensor, "*b 3 3"]
        Such that `skew(w) @ x == cross(w, x)`.
    """
    x, y, z = w.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(*w.shape[:-1], 3, 3)


def rigid(rotation: Float[Tensor, "*b 3 3"], translation: Float[Tensor, "*b 3"]) -> Float[Tensor, "*b 4 4"]:
    """Assemble transforms from their rotations and translations.

    Parameters
    ----------
    rotation : Float[Tensor, "*b 3 3"]
        Rotation matrices R.
    translation : Float[Tensor, "*b 3"]
        Translations t [mm].

    Returns
    -------
    Float[Tensor, "*b 4 4"]
        `[R | t; 0 0 0 1]`.
    """
    top = torch.cat([rotation, translation.unsqueeze(-1)], -1)
    bottom = top.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(*top.shape[:-2], 1, 4)
    return torch.cat([top, bottom], -2)


def invert(a_from_b: Float[Tensor, "*b 4 4"]) -> Float[Tensor, "*b 4 4"]:
    """Invert rigid transforms, without a general matrix inverse.

    Parameters
    ----------
    a_from_b : Float[Tensor, "*b 4 4"]
        Rigid transforms.

    Returns
    -------
    Float[Tensor, "*b 4 4"]
        `b_from_a`.
    """
    transposed = a_from_b[..., :3, :3].transpose(-1, -2)
    return rigid(transposed, -(transposed @ a_from_b[..., :3, 3:]).squeeze(-1))


def exp(twist: Float[Tensor, "*b 6"]) -> Float[Tensor, "*b 4 4"]:
    """Make the rigid transforms of twists: the exponential map of SE(3).

    Parameters
    ----------
    twist : Float[Tensor, "*b 6"]
        (v, w) [mm, rad].

    Returns
    -------
    Float[Tensor, "*b 4 4"]
        Rigid transforms [mm].

    References
    ----------
    Murray, Li, Sastry, *A Mathematical Introduction to Robotic Manipulation*, 1994, eq. 2.36.
    """
    velocity = torch.cat([skew(twist[..., 3:]), twist[..., :3, None]], -1)
    return torch.linalg.matrix_exp(F.pad(velocity, (0, 0, 0, 1)))


def log(transform: Float[Tensor, "4 4"]) -> Float[Tensor, "6"]:
    """Find the twist of a rigid transform: the inverse of `exp`.

    Parameters
    ----------
    transform : Float[Tensor, "4 4"]
        Rigid [mm].

    Returns
    -------
    Float[Tensor, "6"]
        (v, w) [mm, rad], of a rotation by at most half a turn.
    """
    w = roma.rotmat_to_rotvec(transform[:3, :3])
    angle, turn = float(w.norm()), skew(w)
    # v = V^-1 t, with V the integral of the rotation along the way
    share = 1 / 12 if angle < 1e-4 else (1 - angle / 2 / math.tan(angle / 2)) / angle**2
    return torch.cat([transform[:3, 3] - turn @ transform[:3, 3] / 2 + share * (turn @ turn @ transform[:3, 3]), w])


def adjoint(a_from_b: Float[Tensor, "4 4"]) -> Float[Tensor, "6 6"]:
    """Carry twists from one frame into another: `a_from_b @ exp(x) = exp(adjoint @ x) @ a_from_b`.

    Parameters
    ----------
    a_from_b : Float[Tensor, "4 4"]
        Rigid [mm].

    Returns
    -------
    Float[Tensor, "6 6"]
        Of twists (v, w) of frame b, those of frame a.
    """
    rotation = a_from_b[:3, :3]
    top = torch.cat([rotation, skew(a_from_b[:3, 3]) @ rotation], 1)
    return torch.cat([top, torch.cat([torch.zeros_like(rotation), rotation], 1)])


def apply(a_from_b: Float[Tensor, "*#b 4 4"], points: Float[Tensor, "*#b n 3"]) -> Float[Tensor, "*#b n 3"]:
    """Map points from frame b into frame a.

    Parameters
    ----------
    a_from_b : Float[Tensor, "*#b 4 4"]
        Rigid transforms [mm].
    points : Float[Tensor, "*#b n 3"]
        In frame b [mm]; batches broadcast against those of the transforms.

    Returns
    -------
    Float[Tensor, "*b n 3"]
        In frame a [mm].
    """
    return points @ a_from_b[..., :3, :3].transpose(-1, -2) + a_from_b[..., None, :3, 3]


def angle_between(a: Float[Tensor, "*#b 4 4"], b: Float[Tensor, "*#b 4 4"]) -> Float[Tensor, "*#b"]:
    """Measure the rotation that takes one transform's axes to the other's.

    Parameters
    ----------
    a, b : Float[Tensor, "*#b 4 4"]
        Rigid transforms.

    Returns
    -------
    Float[Tensor, "*b"]
        Angle [rad].
    """
    # the chord: ||A - B|| = 2 sqrt(2) sin(angle / 2), which is exact near zero too
    chord = (a[..., :3, :3] - b[..., :3, :3]).flatten(-2).norm(dim=-1)
    return 2 * torch.asin((chord / 8**0.5).clamp(max=1.0))
