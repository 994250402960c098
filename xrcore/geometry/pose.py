"""Pose: where the X-ray was taken from, as six numbers about the isocentre."""

from __future__ import annotations

from collections.abc import Sequence

import roma
import torch
from jaxtyping import Float
from torch import Tensor

from xrcore._util.errors import XrcoreError
from xrcore.geometry import rigid
from xrcore.geometry.carm import CArm

NAMES = ("rx", "ry", "rz", "tx", "ty", "tz")

# C-arm axes in LPS as columns: x = patient left, y = inferior, z = posterior.
_WORLD_FROM_CARM_AXES = ((1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.0, -1.0, 0.0))
# Written as intrinsic rotations, Rz(rz) Rx(rx) Ry(ry) is the order ZXY.
_EULER = "ZXY"


class Pose:
    """A batch of poses `(rx, ry, rz, tx, ty, tz)` [deg, mm], shape (B, 6).

    ry is the primary angle (LAO/RAO), rx the secondary (cranial/caudal), rz the in-plane roll, tz the
    depth; axes are the C-arm's at zero pose (x patient left, y inferior, z posterior). The zero pose is
    an AP radiograph, head up, patient's right on the image's left.

    Build one from a tensor or list of six numbers, or by name: `Pose(ry=20, tz=-5)`.
    """

    numbers: Float[Tensor, "B 6"]

    def __init__(
        self,
        numbers: Float[Tensor, "*B 6"] | Sequence[float] | Sequence[Sequence[float]] | None = None,
        *,
        rx: float = 0.0,
        ry: float = 0.0,
        rz: float = 0.0,
        tx: float = 0.0,
        ty: float = 0.0,
        tz: float = 0.0,
    ) -> None:
        named = (rx, ry, rz, tx, ty, tz)
        if numbers is None:
            numbers = torch.tensor([named], dtype=torch.float64)
        elif any(named):
            raise XrcoreError("Pose: give six numbers or names (rx, ..., tz), not both")
        if not isinstance(numbers, Tensor):
            numbers = torch.as_tensor(numbers, dtype=torch.float64)
        if numbers.ndim not in (1, 2) or numbers.shape[-1] != 6:
            raise XrcoreError(f"Pose: expected shape (6,) or (B, 6), got {tuple(numbers.shape)}")
        if not numbers.dtype.is_floating_point:
            numbers = numbers.double()
        if not torch.isfinite(numbers).all():
            raise XrcoreError(f"Pose: numbers must be finite, got {numbers.tolist()}")
        self.numbers = numbers.reshape(-1, 6)

    @classmethod
    def zero(cls, batch: int = 1) -> Pose:
        """The AP view, `batch` times."""
        return cls(torch.zeros(batch, 6, dtype=torch.float64))

    @classmethod
    def random(
        cls,
        batch: int = 1,
        *,
        rotation: tuple[float, float, float] = (15.0, 15.0, 10.0),
        translation: tuple[float, float, float] = (30.0, 30.0, 30.0),
        generator: torch.Generator | None = None,
    ) -> Pose:
        """Uniform poses within +-rotation [deg] and +-translation [mm]; defaults are the paper's ranges."""
        limits = torch.tensor([*rotation, *translation], dtype=torch.float64)
        return cls((2 * torch.rand(batch, 6, dtype=torch.float64, generator=generator) - 1) * limits)

    def matrix(self) -> Float[Tensor, "B 4 4"]:
        """`[Rz Rx Ry | t]` in C-arm axes, float64."""
        numbers = self.numbers.double()
        angles = torch.deg2rad(numbers[:, :3])
        # multiplied out: a third of the operations that it takes by way of quaternions, and a registration asks often
        (cx, cy, cz), (sx, sy, sz) = angles.cos().unbind(-1), angles.sin().unbind(-1)
        a, b = sx * sy, sx * cy
        rows = [cz * cy - sz * a, -sz * cx, cz * sy + sz * b, sz * cy + cz * a, cz * cx, sz * sy - cz * b, -cx * sy, sx, cx * cy]
        return rigid.rigid(torch.stack(rows, -1).view(-1, 3, 3), numbers[:, 3:])

    @classmethod
    def from_matrix(cls, matrix: Float[Tensor, "*B 4 4"]) -> Pose:
        """Inverse of `matrix`; rx comes back within +-90 deg."""
        matrix = torch.as_tensor(matrix, dtype=torch.float64).reshape(-1, 4, 4)
        rotation = matrix[:, :3, :3]
        error = (rotation @ rotation.transpose(-1, -2) - torch.eye(3, dtype=torch.float64)).abs().amax()
        if not (torch.isfinite(matrix).all() and error < 1e-4 and (torch.linalg.det(rotation) > 0).all()):
            raise XrcoreError("Pose.from_matrix: the upper-left 3x3 block is not a rotation")
        rz, rx, ry = roma.rotmat_to_euler(_EULER, rotation).unbind(-1)
        return cls(torch.cat([torch.rad2deg(torch.stack([rx, ry, rz], -1)), matrix[:, :3, 3]], -1))

    def world_from_camera(self, carm: CArm, isocenter: Float[Tensor, "3"]) -> Float[Tensor, "B 4 4"]:
        """Camera frame (source at the origin, z to the detector) into LPS world [mm], float64."""
        outer, inner = _frames(carm, isocenter)
        return outer @ self.matrix() @ inner

    def camera_from_world(self, carm: CArm, isocenter: Float[Tensor, "3"]) -> Float[Tensor, "B 4 4"]:
        """LPS world into the camera frame [mm], float64."""
        return rigid.invert(self.world_from_camera(carm, isocenter))

    @classmethod
    def from_world_from_camera(cls, matrix: Float[Tensor, "*B 4 4"], carm: CArm, isocenter: Float[Tensor, "3"]) -> Pose:
        """The pose whose `world_from_camera` is `matrix`."""
        outer, inner = _frames(carm, isocenter)
        matrix = torch.as_tensor(matrix, dtype=torch.float64)
        return cls.from_matrix(rigid.invert(outer) @ matrix @ rigid.invert(inner))

    @classmethod
    def from_camera_from_world(cls, matrix: Float[Tensor, "*B 4 4"], carm: CArm, isocenter: Float[Tensor, "3"]) -> Pose:
        """The pose whose `camera_from_world` is `matrix`, as calibrations give it (x_camera = R x_world + t)."""
        return cls.from_world_from_camera(rigid.invert(torch.as_tensor(matrix, dtype=torch.float64)), carm, isocenter)

    def twists(self, carm: CArm) -> Float[Tensor, "B 6 6"]:
        """Columns: the camera-frame twist (v, w) [mm, rad] per unit [deg, mm] of each of the six numbers.

        `world_from_camera(pose + d) ~ world_from_camera(pose) @ exp(twists @ d)`. This is the bridge from a
        Jacobian with respect to rigid motion of the camera to one with respect to the pose.
        """
        rx, ry, _ = torch.deg2rad(self.numbers[:, :3].double()).unbind(-1)
        zero, one = torch.zeros_like(rx), torch.ones_like(rx)
        cx, sx, cy, sy = rx.cos(), rx.sin(), ry.cos(), ry.sin()
        # R = Rz Rx Ry, so R^T dR is, per angle, its own axis carried back through the rotations after it:
        # Ry^T e_x, e_y, (Rx Ry)^T e_z
        w = torch.stack([cy, zero, sy, zero, one, zero, -sy * cx, sx, cy * cx], -1).reshape(-1, 3, 3).mT
        # rotating about the isocentre also moves the source, by w x (0, 0, -source_to_isocenter)
        v = torch.stack([-w[:, 1], w[:, 0], torch.zeros_like(w[:, 0])], 1) * carm.source_to_isocenter
        rotations = torch.deg2rad(torch.cat([v, w], 1))
        r_transposed = self.matrix()[:, :3, :3].mT
        translations = torch.cat([r_transposed, torch.zeros_like(r_transposed)], 1)
        return torch.cat([rotations, translations], -1)

    def moved(self, twist: Float[Tensor, "B 6"], carm: CArm) -> Pose:
        """The pose after a rigid motion of the camera in its own frame, `world_from_camera @ exp(twist)`."""
        inner = _inner(carm)
        step = inner @ rigid.exp(twist.double()) @ rigid.invert(inner)
        return Pose.from_matrix(self.matrix() @ step)

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int | slice | Tensor) -> Pose:
        return Pose(self.numbers[index].reshape(-1, 6))

    def detach(self) -> Pose:
        """The same poses, outside the graph of gradients."""
        return Pose(self.numbers.detach())

    @classmethod
    def cat(cls, poses: Sequence[Pose]) -> Pose:
        """Several batches as one."""
        return cls(torch.cat([p.numbers for p in poses]))

    def to_dict(self) -> dict[str, float]:
        """One pose by name, for files."""
        if len(self) != 1:
            raise XrcoreError(f"Pose.to_dict: expected one pose, got a batch of {len(self)}")
        return dict(zip(NAMES, self.numbers[0].tolist(), strict=True))

    def __repr__(self) -> str:
        rows = self.numbers.tolist()
        if len(rows) == 1:
            return "Pose(" + ", ".join(f"{n}={v!r}" for n, v in zip(NAMES, rows[0], strict=True)) + ")"
        return f"Pose({rows!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pose) and torch.equal(self.numbers, other.numbers)

    __hash__ = None  # type: ignore[assignment]


def _inner(carm: CArm) -> Float[Tensor, "4 4"]:
    inner = torch.eye(4, dtype=torch.float64)
    inner[2, 3] = -carm.source_to_isocenter
    return inner


def _frames(carm: CArm, isocenter: Float[Tensor, "3"]) -> tuple[Tensor, Tensor]:
    """World from C-arm axes at the isocentre, and C-arm axes from camera at zero pose."""
    outer = torch.eye(4, dtype=torch.float64)
    outer[:3, :3] = torch.tensor(_WORLD_FROM_CARM_AXES, dtype=torch.float64)
    outer[:3, 3] = torch.as_tensor(isocenter, dtype=torch.float64)
    return outer, _inner(carm)
