"""Perspective-n-point: poses from points and the pixels they are detected at, batched, started at the zero pose."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from xrcore.geometry import CArm, Pose, rigid

_SAMPLE = 4  # points of a hypothesis: the fewest that fix a pose without ambiguity
_HYPOTHESES, _REFINED = 128, 8
_SAMPLE_STEPS = 6  # from the zero pose to a corner of the usual ranges
_LONGEST = (100.0, 0.3)  # [mm, rad] of a step
_DAMPING = 1e-9  # of the Hessian's diagonal, where a sample leaves a direction open
_BEYOND = (15.0, 60.0)  # [deg, mm] outside the ranges up to which a pose is believed
_CLOSEST = 1.0  # [mm] to the source


@dataclass(frozen=True, eq=False)
class Scene:
    """Points before a C-arm.

    Parameters
    ----------
    points : Float[Tensor, "N 3"]
        World [mm].
    carm : CArm
        The geometry.
    isocenter : Float[Tensor, "3"]
        World [mm].
    limits : tuple of float
        Half-widths of the six numbers within which the poses are known to lie [deg, mm].
    """

    points: Float[Tensor, "N 3"]
    carm: CArm
    isocenter: Float[Tensor, "3"]
    limits: tuple[float, ...]

    def believable(self, pose: Pose) -> Bool[Tensor, " B"]:
        """Say whether poses lie within the limits or not far outside.

        Parameters
        ----------
        pose : Pose
            A batch.

        Returns
        -------
        Bool[Tensor, "B"]
            True where they do.
        """
        allowed = torch.tensor(self.limits, dtype=torch.float64) + torch.tensor(_BEYOND, dtype=torch.float64).repeat_interleave(3)
        return (pose.numbers.abs() <= allowed).all(1)

    def in_camera(self, pose: Pose) -> Float[Tensor, "B N 3"]:
        """Return the points in the camera frame, kept in front of the source.

        Parameters
        ----------
        pose : Pose
            A batch.

        Returns
        -------
        Float[Tensor, "B N 3"]
            Camera coordinates [mm].
        """
        seen = rigid.apply(pose.camera_from_world(self.carm, self.isocenter), self.points)
        return torch.cat([seen[..., :2], seen[..., 2:].clamp_min(_CLOSEST)], -1)

    def project(self, pose: Pose) -> Float[Tensor, "B N 2"]:
        """Project the points.

        Parameters
        ----------
        pose : Pose
            A batch.

        Returns
        -------
        Float[Tensor, "B N 2"]
            Positions (row, col) [pixels].
        """
        return self.carm.project(self.in_camera(pose))


def improve(scene: Scene, pose: Pose, pixels: Float[Tensor, "B N 2"], weights: Float[Tensor, "B N"]) -> Pose:
    """Take one Gauss-Newton step on sum_n w_n |pixels_n - projection_n|^2, limited in length.

    Parameters
    ----------
    scene : Scene
        The points.
    pose : Pose
        Where from.
    pixels : Float[Tensor, "B N 2"]
        Where the points were seen (row, col) [pixels].
    weights : Float[Tensor, "B N"]
        Points of weight 0 do not count.

    Returns
    -------
    Pose
        Closer to the minimum.
    """
    at = scene.in_camera(pose)
    x, y, z = at.unbind(-1)
    k = scene.carm.K
    zero = torch.zeros_like(z)
    # rows: pixel row and column by the point in the camera frame
    by_point = torch.stack(
        [torch.stack([zero, k[1, 1] / z, -k[1, 1] * y / z**2], -1), torch.stack([k[0, 0] / z, zero, -k[0, 0] * x / z**2], -1)], -2
    )
    # the camera's motion exp(v, w) in its own frame moves a point by -(v + w x point)
    by_twist = torch.cat([-by_point, by_point @ rigid.skew(at)], -1)  # (B, N, 2, 6)
    residual = pixels - scene.carm.project(at)
    heavy = by_twist * weights[..., None, None]
    hessian = torch.einsum("bnpi,bnpj->bij", heavy, by_twist)
    slope = torch.einsum("bnpi,bnp->bi", heavy, residual)
    diagonal = hessian.diagonal(dim1=1, dim2=2)
    hessian = hessian + torch.diag_embed(_DAMPING * diagonal + torch.finfo(torch.float64).tiny)
    step, _ = torch.linalg.solve_ex(hessian, slope)
    step = torch.nan_to_num(step, nan=0.0, posinf=0.0, neginf=0.0)
    too_long = torch.stack([step[:, 3 * i : 3 * i + 3].norm(dim=1) / longest for i, longest in enumerate(_LONGEST)], 1).amax(1)
    return pose.moved(step / too_long.clamp_min(1.0)[:, None], scene.carm)


def ransac(scene: Scene, pixels: Float[Tensor, "B N 2"], confidence: Float[Tensor, "B N"], tolerance: float) -> tuple[Pose, Tensor]:
    """Find for each view the pose that most points agree with, by their confidence, from the zero pose on.

    Hypotheses are the poses of four points, drawn by confidence and without replacement (Gumbel's trick) from a fixed seed, so that
    a view's pose does not depend on its batch. The best of them are refined on the points that agree, and then compared.

    Parameters
    ----------
    scene : Scene
        The points.
    pixels : Float[Tensor, "B N 2"]
        Where they were seen (row, col) [pixels].
    confidence : Float[Tensor, "B N"]
        Points of confidence 0 are not used.
    tolerance : float
        Within which a point agrees [pixels].

    Returns
    -------
    tuple
        Poses, and which points agree (B, N). Without agreement: the zero pose, and no points.

    References
    ----------
    Fischler, Bolles, *Random sample consensus*, CACM 1981; Chum, Matas, Kittler, *Locally optimized RANSAC*, DAGM 2003.
    """
    batch, count = confidence.shape
    uniform = torch.rand(_HYPOTHESES, count, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    keys = confidence.clamp_min(1e-300).log()[:, None] - (-uniform.log()).log()  # (B, S, N)
    chosen = torch.zeros_like(keys).scatter_(2, keys.topk(min(_SAMPLE, count), 2).indices, 1.0)
    weights = (chosen * (confidence > 0)[:, None]).flatten(0, 1)
    view = torch.arange(batch).repeat_interleave(_HYPOTHESES)
    pose = Pose.zero(len(view))
    for _ in range(_SAMPLE_STEPS):
        pose = improve(scene, pose, pixels[view], weights)
    _, votes = _votes(scene, pose, pixels[view], confidence[view], tolerance)
    best = votes.reshape(batch, _HYPOTHESES).topk(_REFINED, 1).indices + _HYPOTHESES * torch.arange(batch)[:, None]
    pose, view = pose[best.flatten()], view[best.flatten()]
    for _ in range(_SAMPLE_STEPS):
        agree, _ = _votes(scene, pose, pixels[view], confidence[view], tolerance)
        pose = improve(scene, pose, pixels[view], agree * confidence[view])
    agree, votes = _votes(scene, pose, pixels[view], confidence[view], tolerance)
    first = votes.reshape(batch, _REFINED).argmax(1) + _REFINED * torch.arange(batch)
    found = (votes[first] > 0)[:, None]
    return Pose(torch.where(found, pose.numbers[first], 0.0)), agree[first] & found


def _votes(scene: Scene, pose: Pose, pixels: Tensor, confidence: Tensor, tolerance: float) -> tuple[Tensor, Tensor]:
    """Which points agree (B, N), and their confidence together (B,), none for a pose that is not believable."""
    agree = agreeing(scene, pose, pixels, confidence, tolerance)
    return agree, (agree * confidence).sum(1) * scene.believable(pose)


def agreeing(scene: Scene, pose: Pose, pixels: Tensor, confidence: Tensor, tolerance: float) -> Bool[Tensor, "B N"]:
    """Say which points of some confidence a pose projects to where they were seen.

    Parameters
    ----------
    scene : Scene
        The points.
    pose : Pose
        A batch.
    pixels : Float[Tensor, "B N 2"]
        Where they were seen (row, col) [pixels].
    confidence : Float[Tensor, "B N"]
        Of the detections.
    tolerance : float
        Largest distance [pixels].

    Returns
    -------
    Bool[Tensor, "B N"]
        True for those that agree.
    """
    return ((scene.project(pose) - pixels).norm(dim=-1) <= tolerance) & (confidence > 0)
