"""Patient: what differs from one procedural pelvis to the next."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

SIDES = (1, -1)  # left, right: the sign of x
SACROILIAC = np.array([52.0, 62.0, 66.0])


def rotation_matrix(axes: str, *degrees: float) -> NDArray:
    """Rotation (3, 3) about the fixed axes that the letters name, one after the other."""
    from scipy.spatial.transform import Rotation  # here, as it takes a while and few need a phantom

    return Rotation.from_euler(axes, [degrees], degrees=True).as_matrix()[0]


@dataclass(frozen=True, eq=False)
class Frame:
    """A map from the anatomical model [mm] to the patient: linear after a gentle bend; lengths grow by `scale`."""

    linear: NDArray
    offset: NDArray
    scale: float
    bend: NDArray | None = None

    def __call__(self, nodes: ArrayLike) -> NDArray:
        """Map points (..., 3), or nodes (..., 4) whose fourth number is a radius [mm]."""
        nodes = np.asarray(nodes, float)
        points = nodes[..., :3]
        if self.bend is not None:
            points = points + _bent(points, self.bend)
        moved = points @ self.linear.T + self.offset
        return np.concatenate([moved, nodes[..., 3:] * self.scale], -1)

    def direction(self, vector: ArrayLike) -> NDArray:
        """Map a direction and make it a unit vector."""
        moved = self.linear @ np.asarray(vector, float)
        return moved / np.linalg.norm(moved)


def _bent(points: NDArray, bend: NDArray) -> NDArray:
    """Quadratic in the distance from the sacroiliac joint, where bones must keep meeting; nothing crosses the midline."""
    away = (points - SACROILIAC) / 100
    shift = np.einsum("...i,...j,kij->...k", away, away, bend)
    shift[..., 0] *= np.clip(points[..., 0] / 60, 0, 1)
    return shift


@dataclass(frozen=True, eq=False)
class Patient:
    """Random within anatomical limits; the same seed gives the same patient at every spacing.

    size: overall, and `wide`, `deep`, `tall` beside it. female: 0 to 1, shapes the pubic arch and the wings.
    tilt, turn, roll: rotation of the trunk about x, z, y [deg]. femurs: (abduction, rotation, flexion) [deg] of left, right.
    lean: sideways bend of the lumbar spine [deg a vertebra]. fat: thickness of the subcutaneous fat [mm].
    mineral: factor of bone density. sides: scales of the left and the right half along x, y, z. bends: their shapes [mm].
    """

    size: float
    wide: float
    deep: float
    tall: float
    female: float
    tilt: float
    turn: float
    roll: float
    femurs: tuple[tuple[float, float, float], tuple[float, float, float]]
    lean: float
    fat: float
    mineral: float
    sides: tuple[tuple[float, float, float], tuple[float, float, float]]
    bends: NDArray

    @classmethod
    def random(cls, rng: np.random.Generator) -> Patient:
        def between(low: float, high: float) -> float:
            return float(rng.uniform(low, high))

        female = between(0, 1)
        femurs = tuple((between(-3, 9), between(-16, 14), between(-4, 6)) for _ in SIDES)
        return cls(
            size=between(0.96, 1.05) - 0.03 * female,
            wide=between(0.98, 1.02) + 0.02 * female,
            deep=between(0.97, 1.03),
            tall=between(0.98, 1.03) - 0.03 * female,
            female=female,
            tilt=between(-7, 7),
            turn=between(-2.5, 2.5),
            roll=between(-2, 2),
            femurs=femurs,  # type: ignore[arg-type]
            lean=between(-2.5, 2.5),
            fat=between(14, 26),
            mineral=between(0.88, 1.12),
            sides=tuple(tuple(1 + rng.uniform(-0.01, 0.01, 3)) for _ in SIDES),  # type: ignore[arg-type]
            bends=rng.uniform(-3.5, 3.5, (3, 3, 3)) + rng.uniform(-0.6, 0.6, (2, 3, 3, 3)),
        )

    def trunk(self) -> Frame:
        """The model, whose origin lies midway between the hip centres, as this patient."""
        rotation = rotation_matrix("xyz", self.tilt, self.roll, self.turn)
        scales = self.size * np.array([self.wide, self.deep, self.tall])
        return Frame(rotation * scales, np.zeros(3), float(scales.prod() ** (1 / 3)))

    def side(self, side: int) -> Frame:
        """The left half of the model as this patient's left (side 1) or right (side -1) half."""
        trunk = self.trunk()
        own = np.array(self.sides[SIDES.index(side)])
        return Frame(
            trunk.linear * own * np.array([side, 1.0, 1.0]), trunk.offset, trunk.scale * float(own.mean()), self.bends[SIDES.index(side)]
        )

    def femur(self, side: int, center: ArrayLike) -> Frame:
        """The left femur of the model as this patient's, turned about the centre of its head."""
        abduction, rotation, flexion = self.femurs[SIDES.index(side)]
        r = rotation_matrix("zyx", rotation, -abduction, -flexion)
        half, c = self.side(side), np.asarray(center, float)
        # the bend shapes the bone, then it turns: so the head stays in the acetabulum, which bends alike
        c = c + _bent(c, self.bends[SIDES.index(side)])
        return Frame(half.linear @ r, half.linear @ (c - r @ c) + half.offset, half.scale, half.bend)
