"""Landmarks: choose points on the bone, and triangulate them from detections in several views."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from xrcore._util.farthest_points import farthest_points
from xrcore.ct.volume import Volume
from xrcore.geometry import CArm, Pose, rigid

_CANDIDATES = 512
_OFTEN = 0.7  # share of the views that should show a landmark
_PAIRS = 256  # of rays, whose closest points are first guesses
_ITERATIONS = 15  # of the reweighted least squares
_AGREEMENT = 0.5  # share of the detections, by confidence, that must agree on a landmark
_LEAST = 4.0  # detections' worth of confidence, likewise


def choose_landmarks(volume: Volume, carm: CArm, views: Pose, count: int) -> tuple[Float[Tensor, "n 3"], Bool[Tensor, " n"]]:
    """Choose well-spread points on the bone that most of the views show.

    Where fewer points do, those shown most often; a CT with fewer points at all leaves the last rows unused, at the isocentre.

    Parameters
    ----------
    volume : Volume
        The CT.
    carm : CArm
        The geometry.
    views : Pose
        Poses that the landmarks should be seen from.
    count : int
        Landmarks.

    Returns
    -------
    tuple
        Points (count, 3) in the world [mm], and which of them there are (count,).
    """
    candidates = volume.surface_points(_CANDIDATES)
    pixels = carm.project(rigid.apply(views.camera_from_world(carm, volume.isocenter), candidates))
    share = inside(pixels, carm.shape).double().mean(0)
    kept = candidates[share >= _OFTEN] if int((share >= _OFTEN).sum()) >= count else candidates[share.argsort(descending=True)[:count]]
    chosen = kept[farthest_points(kept, count)]
    points = volume.isocenter.repeat(count, 1)
    points[: len(chosen)] = chosen
    return points, torch.arange(count) < len(chosen)


def inside(pixels: Float[Tensor, "*b 2"], shape: tuple[int, int]) -> Bool[Tensor, "*b"]:
    """Say whether pixels lie on a detector, pixel edges included.

    Parameters
    ----------
    pixels : Float[Tensor, "*b 2"]
        Positions (row, col) [pixels].
    shape : tuple of int
        Rows and columns.

    Returns
    -------
    Bool[Tensor, "*b"]
        True where they do.
    """
    last = torch.tensor(shape, dtype=pixels.dtype, device=pixels.device) - 0.5
    return ((pixels >= -0.5) & (pixels <= last)).all(-1)


@dataclass(frozen=True, eq=False)
class Rays:
    """Rays in the world from V sources through detections of N landmarks.

    Parameters
    ----------
    origins : Float[Tensor, "V 3"]
        Sources [mm].
    directions : Float[Tensor, "V N 3"]
        Of length 1.
    """

    origins: Float[Tensor, "V 3"]
    directions: Float[Tensor, "V N 3"]

    @classmethod
    def through(cls, pixels: Float[Tensor, "V N 2"], views: Pose, carm: CArm, isocenter: Float[Tensor, "3"]) -> Rays:
        """Back-project pixels.

        Parameters
        ----------
        pixels : Float[Tensor, "V N 2"]
            Detections (row, col) [pixels].
        views : Pose
            One a view.
        carm : CArm
            The geometry.
        isocenter : Float[Tensor, "3"]
            World [mm].

        Returns
        -------
        Rays
            One a detection.
        """
        col_row_one = torch.cat([pixels.double().flip(-1), torch.ones_like(pixels[..., :1], dtype=torch.float64)], -1)
        world_from_camera = views.world_from_camera(carm, isocenter)
        directions = col_row_one @ torch.linalg.inv(carm.K).T @ world_from_camera[:, :3, :3].mT
        return cls(world_from_camera[:, :3, 3], directions / directions.norm(dim=-1, keepdim=True))

    def distances(self, points: Float[Tensor, "*p N 3"]) -> Float[Tensor, "*p V N"]:
        """Measure how far points are from their landmark's rays.

        Parameters
        ----------
        points : Float[Tensor, "*p N 3"]
            World [mm].

        Returns
        -------
        Float[Tensor, "*p V N"]
            Distances [mm].
        """
        offsets = points.unsqueeze(-3) - self.origins[:, None]
        return torch.linalg.cross(offsets, self.directions.expand_as(offsets), dim=-1).norm(dim=-1)

    def normal_matrices(self) -> Float[Tensor, "V N 3 3"]:
        """Return I - d d^T: squared distances to a ray as a quadratic form.

        Returns
        -------
        Float[Tensor, "V N 3 3"]
            One a ray.
        """
        return torch.eye(3, dtype=torch.float64) - self.directions[..., None] * self.directions[..., None, :]


def triangulate(rays: Rays, confidence: Float[Tensor, "V N"], tolerance: float) -> tuple[Float[Tensor, "N 3"], Bool[Tensor, " N"]]:
    """Find the point about which each landmark's rays cluster, and whether they do.

    The closest points of random pairs of rays are the candidates; the one that most rays pass within the tolerance, by confidence,
    is moved by least squares, reweighted after Geman and McClure. A landmark is refused where fewer than half of its rays meet, and
    where they are too parallel to place it to within the tolerance.

    Parameters
    ----------
    rays : Rays
        V views of N landmarks.
    confidence : Float[Tensor, "V N"]
        Of the detections.
    tolerance : float
        Between a point and a ray that meet [mm].

    Returns
    -------
    tuple
        Points (N, 3) [mm], and whether the rays meet there (N,).
    """
    views, count = confidence.shape
    forms = rays.normal_matrices()
    pulls = (forms @ rays.origins[:, None, :, None])[..., 0]  # (V, N, 3)
    pairs = torch.randint(views, (_PAIRS, 2), generator=torch.Generator().manual_seed(0))
    guesses = _closest_point(forms[pairs].sum(1), pulls[pairs].sum(1))  # (P, N, 3)
    votes = ((rays.distances(guesses) <= tolerance) * confidence).sum(1)
    points = guesses[votes.argmax(0), torch.arange(count)]
    for _ in range(_ITERATIONS):
        weights = confidence / (1 + (rays.distances(points) / (0.5 * tolerance)) ** 2) ** 2
        form, pull = (weights[..., None, None] * forms).sum(0), (weights[..., None] * pulls).sum(0)
        # from where it is, so that the damping has no pull
        points = points + _closest_point(form, pull - (form @ points[..., None])[..., 0])
    distances = rays.distances(points)
    meet = (distances <= tolerance) * confidence
    agreed, total = meet.sum(0), confidence.sum(0).clamp_min(1e-9)
    square = (meet * distances**2).sum(0) / agreed.clamp_min(1e-9)
    # variance along the least certain direction, with the rays' own scatter, at least a tenth of the tolerance
    weakest = torch.linalg.eigvalsh((meet[..., None, None] * forms).sum(0))[:, 0].clamp_min(1e-9)
    certain = square.clamp_min((0.1 * tolerance) ** 2) / weakest <= tolerance**2
    return points, (agreed >= _AGREEMENT * total) & (agreed >= _LEAST) & certain


def _closest_point(form: Tensor, pull: Tensor) -> Tensor:
    """Solve form @ point = pull, with a little damping for rays that are parallel."""
    damping = 1e-9 * form.diagonal(dim1=-2, dim2=-1).sum(-1)[..., None, None] + 1e-12
    return torch.linalg.solve(form + damping * torch.eye(3, dtype=form.dtype), pull)
