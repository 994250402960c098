"""Pose: where the X-ray was taken from, as six numbers about the isocentre."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from xrcore._util.bounds import LARGEST_ANGLE, LARGEST_LENGTH, half_widths, is_angle, is_length, largest
from xrcore._util.conversion import as_tensor
from xrcore._util.errors import XrcoreError, is_whole, require, shown
from xrcore._util.matrices import has_last_row, is_rotation
from xrcore.geometry import rigid
from xrcore.geometry.carm import CArm

NAMES = ("rx", "ry", "rz", "tx", "ty", "tz")
_BOUNDS = torch.tensor([LARGEST_ANGLE] * 3 + [LARGEST_LENGTH] * 3, dtype=torch.float64)

# C-arm axes in LPS as columns: x = patient left, y = inferior, z = posterior.
_WORLD_FROM_CARM_AXES = ((1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.0, -1.0, 0.0))
_GIMBAL = 1e-7  # cos(rx) below which ry and rz turn about one axis

Point = Float[Tensor, "3"] | Float[np.ndarray, "3"] | Sequence[float]


class Pose:
    """A batch of poses, six numbers each, about the isocentre.

    The axes are the C-arm's at zero pose: x = patient left, y = inferior, z = posterior. rx is the secondary angle
    (cranial/caudal), ry the primary one (LAO/RAO), rz the in-plane roll; tz is the depth. The zero pose is an AP radiograph,
    head up, the patient's right on the image's left.

    Parameters
    ----------
    numbers : Float[Tensor, "*B 6"], optional
        (rx, ry, rz, tx, ty, tz) [deg, mm], one pose or a batch of them. Gradients flow through a tensor.
    rx, ry, rz : float
        Angles [deg] of one pose, given by name instead.
    tx, ty, tz : float
        Translations [mm] of one pose, given by name instead.

    Attributes
    ----------
    numbers : Float[Tensor, "B 6"]
        The six numbers of each pose [deg, mm].

    Raises
    ------
    XrcoreError
        If the numbers are not six each, not finite, angles beyond 3600 deg or translations beyond 100 m, or given both ways.

    Examples
    --------
    >>> import xrcore as xr
    >>> pose = xr.Pose(ry=20, tz=-5)
    >>> pose
    Pose(rx=0.0, ry=20.0, rz=0.0, tx=0.0, ty=0.0, tz=-5.0)
    >>> pose == xr.Pose([0, 20, 0, 0, 0, -5])
    True
    >>> carm = xr.CArm(source_to_detector=1200, source_to_isocenter=800, shape=(256, 256), pixel_spacing=1.5)
    >>> xr.Pose().world_from_camera(carm, [0, 0, 0])[0, :3, 3].tolist()  # the source is anterior
    [0.0, -800.0, 0.0]
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
        named = dict(zip(NAMES, (rx, ry, rz, tx, ty, tz), strict=True))
        if numbers is None:
            for name, value in named.items():
                _require_in_bounds("Pose", name, value)
            numbers = torch.tensor([list(named.values())], dtype=torch.float64)
        elif any(named.values()):
            raise XrcoreError("Pose: give six numbers or names (rx, ..., tz), not both")
        if not isinstance(numbers, Tensor):
            numbers = as_tensor("Pose", "numbers", numbers, "six numbers, or a batch (B, 6)").clone()
        if numbers.ndim not in (1, 2) or numbers.shape[-1] != 6:
            raise XrcoreError(f"Pose: numbers must have shape (6,) or (B, 6), got {tuple(numbers.shape)}")
        if not numbers.dtype.is_floating_point:
            numbers = numbers.double()
        if not within_bounds(numbers):
            if not torch.isfinite(numbers).all():
                raise XrcoreError(f"Pose: numbers must be finite, got {shown(numbers.tolist())}")
            for row in numbers.reshape(-1, 6).tolist():
                for name, value in zip(NAMES, row, strict=True):
                    _require_in_bounds("Pose", name, value)
        self.numbers = numbers.reshape(-1, 6)

    @classmethod
    def zero(cls, batch: int = 1) -> Pose:
        """Make the AP view, once or several times.

        Parameters
        ----------
        batch : int
            How many poses.

        Returns
        -------
        Pose
            With all numbers 0.
        """
        require("Pose.zero", "batch", batch, is_whole(batch) and batch >= 0, "a whole number, at least 0")
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
        """Draw poses uniformly within limits; the defaults are the paper's.

        Parameters
        ----------
        batch : int
            How many poses.
        rotation : tuple of float
            Largest |rx|, |ry| and |rz| [deg].
        translation : tuple of float
            Largest |tx|, |ty| and |tz| [mm].
        generator : torch.Generator, optional
            Source of the draws; default torch's own.

        Returns
        -------
        Pose
            The poses drawn.
        """
        require("Pose.random", "batch", batch, is_whole(batch) and batch >= 0, "a whole number, at least 0")
        limits: list[float] = []
        for name, value in (("rotation", rotation), ("translation", translation)):
            three = half_widths(name, value)
            require("Pose.random", name, value, three is not None, f"three half-widths, not negative, at most {largest(name):g}")
            limits += three or ()
        return cls((2 * torch.rand(batch, 6, dtype=torch.float64, generator=generator) - 1) * torch.tensor(limits, dtype=torch.float64))

    def matrix(self) -> Float[Tensor, "B 4 4"]:
        """Compose each pose's transform in C-arm axes.

        Returns
        -------
        Float[Tensor, "B 4 4"]
            `[Rz Rx Ry | t]` [mm], float64.
        """
        numbers = self.numbers.double()
        angles = torch.deg2rad(numbers[:, :3])
        # multiplied out: a third of the operations that it takes by way of quaternions, and a registration asks often
        (cx, cy, cz), (sx, sy, sz) = angles.cos().unbind(-1), angles.sin().unbind(-1)
        a, b = sx * sy, sx * cy
        rows = [cz * cy - sz * a, -sz * cx, cz * sy + sz * b, sz * cy + cz * a, cz * cx, sz * sy - cz * b, -cx * sy, sx, cx * cy]
        return rigid.rigid(torch.stack(rows, -1).view(-1, 3, 3), numbers[:, 3:])

    @classmethod
    def from_matrix(cls, matrix: Float[Tensor, "*B 4 4"]) -> Pose:
        """Find the poses of transforms in C-arm axes: the inverse of `matrix`.

        Parameters
        ----------
        matrix : Float[Tensor, "*B 4 4"]
            Rigid transforms `[R | t]` [mm].

        Returns
        -------
        Pose
            With rx within +-90 deg; at its ends, where ry and rz turn about one axis, ry is 0.

        Raises
        ------
        XrcoreError
            If an upper-left 3x3 block is not a rotation.
        """
        matrix = _transforms("Pose.from_matrix", matrix)
        pose = _of_rigid("Pose.from_matrix", matrix)
        _require_last_row("Pose.from_matrix", matrix)
        return pose

    def world_from_camera(self, carm: CArm, isocenter: Point) -> Float[Tensor, "B 4 4"]:
        """Map the camera frame (source at the origin, z to the detector) into the world.

        Parameters
        ----------
        carm : CArm
            Gives the distance from source to isocentre.
        isocenter : Float[Tensor, "3"]
            LPS [mm]; a volume's is `volume.isocenter`.

        Returns
        -------
        Float[Tensor, "B 4 4"]
            Rigid transforms from the camera frame to LPS [mm], float64.
        """
        outer, inner = _frames(carm, isocenter)
        return outer @ self.matrix() @ inner

    def camera_from_world(self, carm: CArm, isocenter: Point) -> Float[Tensor, "B 4 4"]:
        """Map the world into the camera frame (source at the origin, z to the detector).

        Parameters
        ----------
        carm : CArm
            Gives the distance from source to isocentre.
        isocenter : Float[Tensor, "3"]
            LPS [mm]; a volume's is `volume.isocenter`.

        Returns
        -------
        Float[Tensor, "B 4 4"]
            Rigid transforms from LPS to the camera frame [mm], float64.
        """
        return rigid.invert(self.world_from_camera(carm, isocenter))

    @classmethod
    def from_world_from_camera(cls, matrix: Float[Tensor, "*B 4 4"], carm: CArm, isocenter: Point) -> Pose:
        """Find the pose whose `world_from_camera` is a given transform.

        Parameters
        ----------
        matrix : Float[Tensor, "*B 4 4"]
            Rigid transforms from the camera frame to LPS [mm].
        carm : CArm
            Gives the distance from source to isocentre.
        isocenter : Float[Tensor, "3"]
            LPS [mm].

        Returns
        -------
        Pose
            One for each transform.
        """
        outer, inner = _frames(carm, isocenter)
        matrix = _transforms("Pose.from_world_from_camera", matrix)
        _require_last_row("Pose.from_world_from_camera", matrix)
        return _of_rigid("Pose.from_world_from_camera", rigid.invert(outer) @ matrix @ rigid.invert(inner))

    @classmethod
    def from_camera_from_world(cls, matrix: Float[Tensor, "*B 4 4"], carm: CArm, isocenter: Point) -> Pose:
        """Find the pose whose `camera_from_world` is a given transform, as calibrations give it (x_camera = R x_world + t).

        Parameters
        ----------
        matrix : Float[Tensor, "*B 4 4"]
            Rigid transforms from LPS to the camera frame [mm].
        carm : CArm
            Gives the distance from source to isocentre.
        isocenter : Float[Tensor, "3"]
            LPS [mm].

        Returns
        -------
        Pose
            One for each transform.
        """
        matrix = _transforms("Pose.from_camera_from_world", matrix)
        _require_last_row("Pose.from_camera_from_world", matrix)
        return cls.from_world_from_camera(rigid.invert(matrix), carm, isocenter)

    def twists(self, carm: CArm) -> Float[Tensor, "B 6 6"]:
        """Differentiate the camera's motion by the six numbers.

        `world_from_camera(pose + d) ~ world_from_camera(pose) @ exp(twists @ d)`. This turns a Jacobian with respect to rigid
        motion of the camera into one with respect to the pose.

        Parameters
        ----------
        carm : CArm
            Gives the distance from source to isocentre.

        Returns
        -------
        Float[Tensor, "B 6 6"]
            Columns: the camera-frame twist (v, w) [mm, rad] per unit [deg, mm] of each of the six numbers.
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
        """Move the camera rigidly in its own frame, `world_from_camera @ exp(twist)`.

        Parameters
        ----------
        twist : Float[Tensor, "B 6"]
            (v, w) of each pose [mm, rad].
        carm : CArm
            Gives the distance from source to isocentre.

        Returns
        -------
        Pose
            The poses after the motion.
        """
        inner = _inner(carm)
        step = inner @ rigid.exp(twist.double()) @ rigid.invert(inner)
        return Pose.from_matrix(self.matrix() @ step)

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int | slice | Tensor) -> Pose:
        return Pose(self.numbers[index].reshape(-1, 6))

    def detach(self) -> Pose:
        """Take the same poses out of the graph of gradients.

        Returns
        -------
        Pose
            Without gradients.
        """
        return Pose(self.numbers.detach())

    @classmethod
    def cat(cls, poses: Sequence[Pose]) -> Pose:
        """Join batches into one.

        Parameters
        ----------
        poses : Sequence of Pose
            The batches, in order.

        Returns
        -------
        Pose
            All their poses.
        """
        return cls(torch.cat([p.numbers for p in poses]))

    def to_dict(self) -> dict[str, float]:
        """Name the six numbers of one pose, for files.

        Returns
        -------
        dict of str to float
            Such that `Pose(**pose.to_dict()) == pose`.

        Raises
        ------
        XrcoreError
            If these are several poses.
        """
        require_one_pose("Pose.to_dict", "pose", self)
        return dict(zip(NAMES, self.numbers[0].tolist(), strict=True))

    def __repr__(self) -> str:
        rows = self.numbers.tolist()
        if len(rows) == 1:
            return "Pose(" + ", ".join(f"{n}={v!r}" for n, v in zip(NAMES, rows[0], strict=True)) + ")"
        return f"Pose({rows!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pose) and torch.equal(self.numbers.detach().cpu(), other.numbers.detach().cpu())

    __hash__ = None  # type: ignore[assignment]


def require_one_pose(owner: str, name: str, pose: object) -> None:
    """Raise XrcoreError, naming it, for a parameter that is not one Pose."""
    require(owner, name, pose, isinstance(pose, Pose), "one Pose")
    if isinstance(pose, Pose) and len(pose) != 1:
        raise XrcoreError(f"{owner}: {name} must be one Pose, got a batch of {len(pose)}")


def within_bounds(numbers: Float[Tensor, "*B 6"]) -> bool:
    """Say whether numbers make poses: finite, angles within 3600 deg and translations within 100 m.

    Parameters
    ----------
    numbers : Float[Tensor, "*B 6"]
        (rx, ry, rz, tx, ty, tz) [deg, mm].

    Returns
    -------
    bool
        Whether `Pose(numbers)` is one.
    """
    return bool((numbers.detach().double().abs() <= _BOUNDS.to(numbers.device)).all())


def clamped(numbers: Float[Tensor, "*B 6"]) -> Pose:
    """Make poses of numbers that may lie beyond the bounds, on which they then come to lie.

    Parameters
    ----------
    numbers : Float[Tensor, "*B 6"]
        (rx, ry, rz, tx, ty, tz) [deg, mm], finite.

    Returns
    -------
    Pose
        Within bounds.
    """
    bounds = _BOUNDS.to(numbers.device)
    return Pose(numbers.clamp(-bounds, bounds))


def _of_rigid(owner: str, matrix: Float[Tensor, "*B 4 4"]) -> Pose:
    """The poses whose `matrix` is this; of the last row, which is not looked at, it is taken that it is right."""
    rotation, translation = matrix.reshape(-1, 4, 4)[:, :3].split((3, 1), -1)
    if not (torch.isfinite(matrix).all() and is_rotation(rotation)):
        raise XrcoreError(f"{owner}: the upper-left 3x3 block is not a rotation")
    return Pose(torch.cat([torch.rad2deg(_angles(rotation)), translation.squeeze(-1)], -1))


def _angles(rotation: Float[Tensor, "B 3 3"]) -> Float[Tensor, "B 3"]:
    """(rx, ry, rz) [rad] of rotations Rz Rx Ry, read from the entries that `Pose.matrix` multiplies out."""
    cosine = torch.hypot(rotation[:, 0, 1], rotation[:, 1, 1])
    gimbal = cosine < _GIMBAL
    rx = torch.atan2(rotation[:, 2, 1], cosine)
    ry = torch.where(gimbal, 0.0, torch.atan2(0 - rotation[:, 2, 0], rotation[:, 2, 2]))
    sine, other = (
        torch.where(gimbal, *both) for both in ((rotation[:, 1, 0], 0 - rotation[:, 0, 1]), (rotation[:, 0, 0], rotation[:, 1, 1]))
    )
    return torch.stack([rx, ry, torch.atan2(sine, other)], -1)


def _require_in_bounds(owner: str, name: str, value: object) -> None:
    angle = name[0] == "r"
    what = f"a finite number, at most {LARGEST_ANGLE:g} deg" if angle else f"a finite number, at most {LARGEST_LENGTH:g} mm"
    require(owner, name, value, is_angle(value) if angle else is_length(value), what)


def _inner(carm: CArm) -> Float[Tensor, "4 4"]:
    inner = torch.eye(4, dtype=torch.float64)
    inner[2, 3] = -carm.source_to_isocenter
    return inner


def difference_of_numbers(a: Float[Tensor, "*B 6"], b: Float[Tensor, "*B 6"]) -> Float[Tensor, "*B 6"]:
    """How far the six numbers of one pose are from another's [deg, mm], angles between -180 and 180."""
    away = a - b
    return torch.cat([torch.remainder(away[..., :3] + 180, 360) - 180, away[..., 3:]], -1)


def _frames(carm: CArm, isocenter: Point) -> tuple[Tensor, Tensor]:
    """World from C-arm axes at the isocentre, and C-arm axes from camera at zero pose."""
    outer = torch.eye(4, dtype=torch.float64)
    outer[:3, :3] = torch.tensor(_WORLD_FROM_CARM_AXES, dtype=torch.float64)
    point = as_tensor("Pose", "isocenter", isocenter, "one point of 3 numbers in mm")
    if point.shape != (3,):
        raise XrcoreError(f"Pose: isocenter must be one point of 3 numbers in mm, got shape {tuple(point.shape)}")
    if not (point.abs() <= LARGEST_LENGTH).all():
        raise XrcoreError(f"Pose: isocenter must lie within {LARGEST_LENGTH:g} mm of the origin, got {shown(point.tolist())}")
    outer[:3, 3] = point
    return outer, _inner(carm)


def _transforms(owner: str, matrix: object) -> Float[Tensor, "*B 4 4"]:
    """Transforms as float64, of the right shape."""
    result = as_tensor(owner, "matrix", matrix, "a 4x4 matrix")
    if result.ndim < 2 or result.shape[-2:] != (4, 4):
        raise XrcoreError(f"{owner}: matrix must be 4x4, or a batch of such, got shape {tuple(result.shape)}")
    return result


def _require_last_row(owner: str, matrix: Float[Tensor, "*B 4 4"]) -> None:
    if not has_last_row(matrix):
        raise XrcoreError(
            f"{owner}: matrix must be rigid, with the last row 0, 0, 0, 1, got {shown(matrix[..., 3, :].tolist())}; is it transposed?"
        )
