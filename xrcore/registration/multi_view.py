"""One rigid body seen by several calibrated cameras: all views together are one least-squares problem in six numbers.

The pose is kept as the first view's `Pose`; the calibration says what it means in the others. With k_from_1 the fixed transform between two
cameras' frames, a camera-frame twist x of the first view is Ad(k_from_1) x in view k, so the views' Jacobians, gradients and Gauss-Newton
Hessians add up after one 6 x 6 change of variables each, whatever the similarity.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from xrcore._util.errors import XrcoreError, require
from xrcore.beam import Beam
from xrcore.ct.volume import Volume
from xrcore.geometry import CArm, Pose, rigid
from xrcore.registration.problem import shrink
from xrcore.registration.search import SearchBox
from xrcore.registration.similarities import similarity as named_similarity
from xrcore.registration.similarities.base import NormalEquations, Similarity
from xrcore.registration.solvers.gauss_newton import descend
from xrcore.registration.solvers.progress import FLAT, LIMIT, NOT_FINITE, SMALL
from xrcore.renderer import render, render_with_jacobian
from xrcore.xray.image import Xray

_SHADOW = 0.05  # of a DRR's largest value: what has more is the body's shadow


@dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """An X-ray and where its camera stands: `x_camera = camera_from_rig @ x_rig` [mm], rigid, 4x4."""

    xray: Xray
    camera_from_rig: Float[Tensor, "4 4"]

    def __post_init__(self) -> None:
        matrix = torch.as_tensor(self.camera_from_rig, dtype=torch.float64)
        if matrix.shape != (4, 4) or not _is_rigid(matrix):
            raise XrcoreError("View: camera_from_rig must be a rigid 4x4 matrix, rotation and translation in mm")
        object.__setattr__(self, "camera_from_rig", matrix)

    @property
    def carm(self) -> CArm:
        """The X-ray's C-arm."""
        return self.xray.carm

    def pose(self, rig_from_ct: Float[Tensor, "4 4"], volume: Volume) -> Pose:
        """The view's `Pose` for a body placed in the rig."""
        return Pose.from_camera_from_world(self.camera_from_rig @ rig_from_ct, self.carm, volume.isocenter)

    def rig_from_ct(self, pose: Pose, volume: Volume) -> Float[Tensor, "*B 4 4"]:
        """Inverse of `pose`."""
        return rigid.invert(self.camera_from_rig) @ pose.camera_from_world(self.carm, volume.isocenter)


@dataclass(frozen=True, kw_only=True)
class ViewLevel:
    """One rung of the ladder.

    pixel: size [mm] at the isocentre, to which X-rays are averaged down by whole factors. spacing: of the CT [mm]; 0 leaves it as it is.
    similarity: one with a residual. margin: the body's shadow and this much around it count [mm at the isocentre].
    rounds: the shadow is taken anew this many times. iterations: at most, each round.
    """

    pixel: float
    spacing: float
    similarity: str | Similarity = "gradient-zncc"
    margin: float = 3.0
    rounds: int = 1
    iterations: int = 10

    def __post_init__(self) -> None:
        for name in ("pixel", "margin"):
            require("ViewLevel", name, getattr(self, name), 0 < getattr(self, name) < math.inf, "positive, in mm")
        require("ViewLevel", "spacing", self.spacing, 0 <= self.spacing < math.inf, "0 or more, in mm")
        for name in ("rounds", "iterations"):
            require("ViewLevel", name, getattr(self, name), getattr(self, name) >= 1, "at least 1")


@dataclass(frozen=True)
class ViewsRegistration:
    """Where a body was found.

    rig_from_ct: 4x4, the CT's LPS world into the rig [mm]. poses: each view's own `Pose`. similarity: mean over the views;
    similarities: each.
    covariance: of the first view's six numbers [deg, mm], least squares' own, too small where residuals are not independent.
    evaluations: DRRs rendered.
    """

    rig_from_ct: Float[Tensor, "4 4"]
    poses: tuple[Pose, ...]
    similarity: float
    similarities: tuple[float, ...]
    covariance: Float[Tensor, "6 6"] | None
    stop_reason: str
    evaluations: int


class JointProblem:
    """Several X-rays at one pixel size against a volume: what `Problem` is to one X-ray, its poses the first view's."""

    def __init__(
        self,
        views: Sequence[View],
        volume: Volume,
        beam: Beam,
        similarity: str | Similarity,
        regions: Sequence[Bool[Tensor, "H W"]] | None = None,
    ) -> None:
        self.views = tuple(views)
        self.carm: CArm = self.views[0].carm
        self.volume, self.beam, self.similarity = volume, beam, named_similarity(similarity)
        masks = [v.xray.mask if regions is None else v.xray.mask & regions[i] for i, v in enumerate(self.views)]
        self.fitted = [self.similarity.fit(v.xray.image, mask) for v, mask in zip(self.views, masks, strict=True)]
        first = self.views[0].camera_from_rig
        self._from_first = [v.camera_from_rig @ rigid.invert(first) for v in self.views]
        self.evaluations = 0

    def poses(self, pose: Pose) -> list[Pose]:
        """The same body as each view's poses."""
        camera_from_ct = pose.camera_from_world(self.carm, self.volume.isocenter)
        return [
            Pose.from_camera_from_world(k_from_first @ camera_from_ct, view.carm, self.volume.isocenter)
            for view, k_from_first in zip(self.views, self._from_first, strict=True)
        ]

    @torch.no_grad()
    def values(self, pose: Pose) -> Float[Tensor, "B V"]:
        """Similarity of each pose in each view."""
        self.evaluations += len(pose) * len(self.views)
        return torch.stack(
            [
                fitted.value(render(self.volume, view.carm, own, self.beam)).double().cpu()
                for view, fitted, own in zip(self.views, self.fitted, self.poses(pose), strict=True)
            ],
            1,
        )

    def value(self, pose: Pose) -> Float[Tensor, " B"]:
        """Mean similarity over the views; higher is better."""
        return self.values(pose).mean(1)

    @torch.no_grad()
    def normal_equations(self, pose: Pose) -> NormalEquations:
        """Mean over the views of similarity, gradient and Gauss-Newton Hessian, by the first view's six numbers."""
        self.evaluations += len(pose) * len(self.views)
        twists = pose.twists(self.carm)
        parts = []
        for view, fitted, own, k_from_first in zip(self.views, self.fitted, self.poses(pose), self._from_first, strict=True):
            image, jacobian = render_with_jacobian(self.volume, view.carm, own, self.beam)
            value, gradient, hessian, count = fitted.normal_equations(image, jacobian).cpu()
            # d own numbers / d first view's numbers
            change = torch.linalg.solve(own.twists(view.carm), _adjoint(k_from_first) @ twists)
            parts.append((value, (change.mT @ gradient.unsqueeze(-1)).squeeze(-1), change.mT @ hessian @ change, count))
        value, gradient, hessian = (torch.stack([part[i] for part in parts]).mean(0) for i in range(3))  # type: ignore[misc]
        return NormalEquations(value, gradient, hessian, sum(part[3] for part in parts))


LADDER = (
    ViewLevel(pixel=1.8, spacing=1.8, margin=8.0, rounds=2, iterations=8),
    ViewLevel(pixel=0.9, spacing=1.2, margin=5.0, rounds=2, iterations=8),
    ViewLevel(pixel=0.45, spacing=0.6, margin=3.0, rounds=2, iterations=20),
)


@dataclass(frozen=True, kw_only=True)
class ViewSettings:
    """How `register_views` searches.

    levels: coarse to fine. survivors: descents on each level, the last repeated. tolerance: [deg, mm] of a step that ends a descent.
    """

    levels: tuple[ViewLevel, ...] = LADDER
    survivors: tuple[int, ...] = (6, 3, 1)
    tolerance: float = 0.01

    def __post_init__(self) -> None:
        require("ViewSettings", "levels", self.levels, len(self.levels) > 0, "at least one ViewLevel")
        require("ViewSettings", "survivors", self.survivors, len(self.survivors) > 0 and min(self.survivors) >= 1, "at least 1 each")
        require("ViewSettings", "tolerance", self.tolerance, self.tolerance > 0, "positive")


def register_views(
    views: Sequence[View],
    volume: Volume,
    start: Float[Tensor, "4 4"],
    *,
    box: SearchBox | None = None,
    settings: ViewSettings | None = None,
    beam: Beam | None = None,
) -> ViewsRegistration:
    """Find one rigid body in all views at once, by Levenberg-Marquardt on the sum of their residuals, coarse to fine.

    views: one or more, of one instant. start: rig_from_ct, 4x4, the CT's LPS world into the rig [mm]. box: a net of starts about it, in the
    first view's six numbers, judged on the coarsest level; default the start alone.
    Only the body's shadow and a margin around it count, so that other bones disturb little; it follows the pose. Candidates are always
    compared over the same pixels. Raises XrcoreError where the body is not in every view.
    """
    settings = ViewSettings() if settings is None else settings
    beam = Beam() if beam is None else beam
    if not views:
        raise XrcoreError("register_views: give at least one View")
    start = torch.as_tensor(start, dtype=torch.float64)
    if start.shape != (4, 4) or not _is_rigid(start):
        raise XrcoreError("register_views: start must be rig_from_ct, a rigid 4x4 matrix")
    box = SearchBox(candidates=1) if box is None else box
    poses = box.poses(views[0].pose(start, volume))
    views = [replace(view, xray=view.xray.to(volume.device)) for view in views]
    views = [_cropped(view, volume, view.pose(views[0].rig_from_ct(poses, volume), volume), settings.levels[0].margin) for view in views]
    evaluations, converged = 0, False
    for number, level in enumerate(settings.levels):
        small = [replace(view, xray=_averaged(view.xray, level.pixel)) for view in views]
        grid = volume.coarser(level.spacing) if level.spacing else volume
        keep = settings.survivors[min(number, len(settings.survivors) - 1)]
        if len(poses) > keep:
            judge = JointProblem(
                small, grid, beam, level.similarity, None if number == 0 else _regions(small, grid, poses, beam, level.margin)
            )
            poses = poses[judge.value(poses).argsort(descending=True)[:keep]]
            evaluations += judge.evaluations
        found = []
        for pose in (poses[i] for i in range(len(poses))):
            for _ in range(level.rounds):
                problem = JointProblem(small, grid, beam, level.similarity, _regions(small, grid, pose, beam, level.margin))
                descent = descend(problem, pose, iterations=level.iterations, tolerance=settings.tolerance)
                pose, converged = descent.pose, bool(descent.converged.all())
                evaluations += problem.evaluations
            found.append(pose)
        poses = Pose.cat(found)
    judge = JointProblem(small, grid, beam, level.similarity, _regions(small, grid, poses, beam, level.margin))
    best = poses[int(judge.value(poses).argmax())]
    final = JointProblem(small, grid, beam, level.similarity, _regions(small, grid, best, beam, level.margin))
    values, normal = final.values(best)[0], final.normal_equations(best)
    finite = bool(torch.isfinite(values).all() and torch.isfinite(normal.hessian).all())
    informed = finite and bool(normal.hessian.any())
    return ViewsRegistration(
        rig_from_ct=views[0].rig_from_ct(best, volume)[0],
        poses=tuple(final.poses(best)),
        similarity=float(values.mean()),
        similarities=tuple(values.tolist()),
        covariance=normal.covariance()[0] if informed else None,
        stop_reason=NOT_FINITE if not finite else FLAT if not informed else SMALL if converged else LIMIT,
        evaluations=evaluations + judge.evaluations + final.evaluations,
    )


def shadow(volume: Volume, carm: CArm, pose: Pose, beam: Beam, margin: float) -> Bool[Tensor, "H W"]:
    """Where the DRR of any of the poses is not nothing, and a square `margin` [mm at the isocentre] around it."""
    with torch.no_grad():
        image = render(volume, carm, pose, beam)
    inside = (image > _SHADOW * image.amax()).any(0).float()[None, None]
    radius = max(1, round(margin / _pixel(carm)))
    grown = F.max_pool2d(inside, (2 * radius + 1, 1), 1, (radius, 0))
    return F.max_pool2d(grown, (1, 2 * radius + 1), 1, (0, radius))[0, 0] > 0


def around(view: View, volume: Volume, rig_from_ct: Float[Tensor, "4 4"], *, margin: float, pixel: float) -> View:
    """The part of a view where the body lies, with `margin` [mm] around it, averaged down to `pixel` [mm], both at the isocentre."""
    cropped = _cropped(view, volume, view.pose(rig_from_ct, volume), margin)
    return replace(cropped, xray=_averaged(cropped.xray, pixel))


def _regions(views: Sequence[View], volume: Volume, pose: Pose, beam: Beam, margin: float) -> list[Bool[Tensor, "H W"]]:
    """The shadow in each view of the first view's poses."""
    placed = views[0].rig_from_ct(pose, volume)
    return [shadow(volume, view.carm, view.pose(placed, volume), beam, margin) for view in views]


def _pixel(carm: CArm) -> float:
    """Pixel size at the isocentre [mm]."""
    return max(carm.spacing) / carm.magnification


def _averaged(xray: Xray, pixel: float) -> Xray:
    factor = max(1, round(pixel / _pixel(xray.carm)))
    return shrink(xray, max(xray.carm.shape) // factor) if factor > 1 else xray


def _cropped(view: View, volume: Volume, pose: Pose, margin: float) -> View:
    """What the body can reach of the image in the given poses of this view."""
    z, y, x = volume.shape
    unit = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * 3)
    points = rigid.apply(volume.world_from_voxel, unit * torch.tensor([x - 1, y - 1, z - 1], dtype=torch.float64))
    points = rigid.apply(pose.camera_from_world(view.carm, volume.isocenter), points)
    if not (points[..., 2] > 0).all():
        raise XrcoreError("register_views: the body lies behind a camera; check start and camera_from_rig")
    pixels = view.carm.project(points).reshape(-1, 2)
    around = margin / _pixel(view.carm) + 2
    size = torch.tensor(view.carm.shape, dtype=torch.float64)
    low = (pixels.amin(0) - around).floor().clamp_min(0).minimum(size)
    high = (pixels.amax(0) + around).ceil().minimum(size).clamp_min(0)
    (top, left), (bottom, right) = low.int().tolist(), high.int().tolist()
    if bottom - top < 16 or right - left < 16:
        raise XrcoreError("register_views: the body is outside a view; check start and camera_from_rig")
    window = (slice(top, bottom), slice(left, right))
    xray = view.xray
    carm = xray.carm.cropped(top, left, (bottom - top, right - left))
    return replace(view, xray=Xray(image=xray.image[window], mask=xray.mask[window], carm=carm))


def _adjoint(a_from_b: Float[Tensor, "4 4"]) -> Float[Tensor, "6 6"]:
    """Carries a twist (v, w) of frame b into frame a: `a_from_b @ exp(x) = exp(adjoint @ x) @ a_from_b`."""
    rotation = a_from_b[:3, :3]
    top = torch.cat([rotation, rigid.skew(a_from_b[:3, 3]) @ rotation], 1)
    return torch.cat([top, torch.cat([torch.zeros_like(rotation), rotation], 1)])


def _is_rigid(matrix: Float[Tensor, "4 4"]) -> bool:
    rotation = matrix[:3, :3]
    last = matrix.new_tensor([0.0, 0.0, 0.0, 1.0])
    off = (rotation @ rotation.T - torch.eye(3, dtype=matrix.dtype)).abs().max()
    return bool(torch.isfinite(matrix).all() and off < 1e-4 and torch.linalg.det(rotation) > 0 and torch.equal(matrix[3], last))
