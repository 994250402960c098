"""Several calibrated views of one rigid body as one least-squares problem in six numbers.

The pose is kept as the first view's `Pose`; the calibration says what it means in the others. With k_from_1 the fixed transform between two
cameras' frames, a camera-frame twist x of the first view is Ad(k_from_1) x in view k, so the views' Jacobians, gradients and Gauss-Newton
Hessians add up after one 6 x 6 change of variables each, whatever the similarity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from xrcore._util.errors import XrcoreError, require
from xrcore.beam import Beam
from xrcore.ct.volume import Volume
from xrcore.geometry import CArm, Pose, rigid
from xrcore.registration.similarities import similarity as named_similarity
from xrcore.registration.similarities.base import NormalEquations, Similarity
from xrcore.renderer import render, render_with_jacobian
from xrcore.xray.image import Xray


@dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """An X-ray and where its camera stands.

    Parameters
    ----------
    xray : Xray
        Bone bright.
    camera_from_rig : Float[Tensor, "4 4"]
        Rigid: `x_camera = camera_from_rig @ x_rig` [mm].

    Raises
    ------
    XrcoreError
        If a parameter makes no sense.
    """

    xray: Xray
    camera_from_rig: Float[Tensor, "4 4"]

    def __post_init__(self) -> None:
        require("View", "xray", self.xray, isinstance(self.xray, Xray), "an Xray")
        matrix = rigid_matrix(self.camera_from_rig)
        if matrix is None:
            raise XrcoreError("View: camera_from_rig must be a rigid 4x4 matrix, rotation and translation in mm")
        object.__setattr__(self, "camera_from_rig", matrix)

    @property
    def carm(self) -> CArm:
        """The X-ray's C-arm."""
        return self.xray.carm

    def pose(self, rig_from_ct: Float[Tensor, "4 4"], volume: Volume) -> Pose:
        """The view's pose of a body placed in the rig.

        Parameters
        ----------
        rig_from_ct : Float[Tensor, "*B 4 4"]
            The CT's LPS world into the rig [mm].
        volume : Volume
            The body.

        Returns
        -------
        Pose
            One for each matrix.
        """
        return Pose.from_camera_from_world(self.camera_from_rig @ rig_from_ct, self.carm, volume.isocenter)

    def rig_from_ct(self, pose: Pose, volume: Volume) -> Float[Tensor, "*B 4 4"]:
        """Inverse of `pose`.

        Parameters
        ----------
        pose : Pose
            Of this view.
        volume : Volume
            The body.

        Returns
        -------
        Float[Tensor, "B 4 4"]
            The CT's LPS world into the rig [mm].
        """
        return rigid.invert(self.camera_from_rig) @ pose.camera_from_world(self.carm, volume.isocenter)


class JointProblem:
    """Several X-rays at one pixel size against a volume: what `Problem` is to one X-ray, its poses the first view's.

    Parameters
    ----------
    views : sequence of View
        One or more.
    volume : Volume
        The body.
    beam : Beam
        The one assumed.
    similarity : str or Similarity
        One with a residual.
    regions : sequence of Bool[Tensor, "H W"], optional
        What counts of each view, beside its mask; default all.

    Attributes
    ----------
    evaluations : int
        DRRs rendered so far.
    """

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
        """The same body as each view sees it.

        Parameters
        ----------
        pose : Pose
            The first view's, a batch.

        Returns
        -------
        list of Pose
            Each view's, a batch.
        """
        camera_from_ct = pose.camera_from_world(self.carm, self.volume.isocenter)
        return [
            Pose.from_camera_from_world(k_from_first @ camera_from_ct, view.carm, self.volume.isocenter)
            for view, k_from_first in zip(self.views, self._from_first, strict=True)
        ]

    @torch.no_grad()
    def values(self, pose: Pose) -> Float[Tensor, "B V"]:
        """Similarity of each pose in each view.

        Parameters
        ----------
        pose : Pose
            The first view's, a batch.

        Returns
        -------
        Float[Tensor, "B V"]
            Higher is better.
        """
        self.evaluations += len(pose) * len(self.views)
        return torch.stack(
            [
                fitted.value(render(self.volume, view.carm, own, self.beam)).double().cpu()
                for view, fitted, own in zip(self.views, self.fitted, self.poses(pose), strict=True)
            ],
            1,
        )

    def value(self, pose: Pose) -> Float[Tensor, " B"]:
        """Mean similarity over the views.

        Parameters
        ----------
        pose : Pose
            The first view's, a batch.

        Returns
        -------
        Float[Tensor, "B"]
            Higher is better.
        """
        return self.values(pose).mean(1)

    @torch.no_grad()
    def normal_equations(self, pose: Pose) -> NormalEquations:
        """Mean over the views of similarity, gradient and Gauss-Newton Hessian, by the first view's six numbers.

        Parameters
        ----------
        pose : Pose
            The first view's, a batch.

        Returns
        -------
        NormalEquations
            Of each pose.
        """
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


def _adjoint(a_from_b: Float[Tensor, "4 4"]) -> Float[Tensor, "6 6"]:
    """Carries a twist (v, w) of frame b into frame a: `a_from_b @ exp(x) = exp(adjoint @ x) @ a_from_b`."""
    rotation = a_from_b[:3, :3]
    top = torch.cat([rotation, rigid.skew(a_from_b[:3, 3]) @ rotation], 1)
    return torch.cat([top, torch.cat([torch.zeros_like(rotation), rotation], 1)])


def rigid_matrix(value: object) -> Float[Tensor, "4 4"] | None:
    """A 4x4 matrix in float64, or None unless it is a rotation and a translation."""
    try:
        matrix = torch.as_tensor(value, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        return None
    if matrix.shape != (4, 4) or not torch.isfinite(matrix).all():
        return None
    rotation, last = matrix[:3, :3], matrix.new_tensor([0.0, 0.0, 0.0, 1.0])
    off = (rotation @ rotation.T - torch.eye(3, dtype=matrix.dtype)).abs().max()
    return matrix if off < 1e-4 and torch.linalg.det(rotation) > 0 and torch.equal(matrix[3], last) else None
