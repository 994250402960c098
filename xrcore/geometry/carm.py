"""The imaging system: intrinsics and distances of a C-arm."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from xrcore._util.errors import XrcoreError


def _pair(name: str, value: float | Sequence[float]) -> tuple[float, float]:
    values = (value, value) if isinstance(value, (int, float)) else tuple(value)
    if len(values) != 2:
        raise XrcoreError(f"CArm: {name} must be one number or (row, col), got {value!r}")
    return float(values[0]), float(values[1])


@dataclass(frozen=True, kw_only=True)
class CArm:
    """A point source and a flat detector.

    source_to_detector, source_to_isocenter: [mm]. shape: (rows, cols).
    pixel_spacing: [mm] on the detector, one number or (row, col).
    principal_point: (row, col) in pixels, pixel centres at integers; default the detector's centre.
    Raises XrcoreError naming the field that makes no sense.
    """

    source_to_detector: float
    source_to_isocenter: float
    shape: tuple[int, int]
    pixel_spacing: float | tuple[float, float]
    principal_point: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        put = object.__setattr__
        for name in ("source_to_detector", "source_to_isocenter"):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value) or value <= 0:
                raise XrcoreError(f"CArm: {name} must be a positive length in mm, got {value!r}")
            put(self, name, float(value))
        try:
            rows, cols = (int(n) for n in self.shape)
            whole = all(float(n) == int(n) for n in self.shape)
        except (TypeError, ValueError):
            raise XrcoreError(f"CArm: shape must be (rows, cols), got {self.shape!r}") from None
        if not whole or rows < 1 or cols < 1:
            raise XrcoreError(f"CArm: shape must be two positive whole numbers (rows, cols), got {self.shape!r}")
        put(self, "shape", (rows, cols))
        spacing = _pair("pixel_spacing", self.pixel_spacing)
        if not all(math.isfinite(s) and s > 0 for s in spacing):
            raise XrcoreError(f"CArm: pixel_spacing must be positive, in mm, got {self.pixel_spacing!r}")
        put(self, "pixel_spacing", spacing)
        centre = ((rows - 1) / 2, (cols - 1) / 2)
        point = centre if self.principal_point is None else _pair("principal_point", self.principal_point)
        if not all(math.isfinite(p) for p in point):
            raise XrcoreError(f"CArm: principal_point must be finite, got {self.principal_point!r}")
        put(self, "principal_point", point)
        self._reject_unit_mistakes()

    def _reject_unit_mistakes(self) -> None:
        for name in ("source_to_detector", "source_to_isocenter"):
            value = getattr(self, name)
            if value < 10:
                raise XrcoreError(f"CArm: {name} is {value:g} mm; if that was metres, give {value * 1000:g}")
        if self.source_to_isocenter >= self.source_to_detector:
            raise XrcoreError(
                f"CArm: source_to_isocenter ({self.source_to_isocenter:g} mm) must be smaller than "
                f"source_to_detector ({self.source_to_detector:g} mm): the patient is between source and detector"
            )
        smallest = min(self.spacing)
        if smallest < 1e-3:
            raise XrcoreError(f"CArm: pixel_spacing is {smallest:g} mm; if that was metres, give {smallest * 1000:g}")

    @classmethod
    def from_intrinsics(
        cls,
        K: Sequence[Sequence[float]] | Float[Tensor, "3 3"],
        shape: tuple[int, int],
        *,
        source_to_isocenter: float,
        source_to_detector: float | None = None,
        pixel_spacing: float | None = None,
    ) -> CArm:
        """A calibrated system from its camera matrix K [pixels].

        K alone fixes rays, not scale on the detector: give exactly one of `source_to_detector` and
        `pixel_spacing` (of a column step) [mm]. Raises XrcoreError for skew or a malformed K.
        """
        k = torch.as_tensor(K, dtype=torch.float64)
        if k.shape != (3, 3) or not torch.isfinite(k).all():
            raise XrcoreError(f"CArm.from_intrinsics: K must be a finite 3x3 matrix, got shape {tuple(k.shape)}")
        k = k / k[2, 2]
        fx, fy, skew = float(k[0, 0]), float(k[1, 1]), float(k[0, 1])
        if fx <= 0 or fy <= 0:
            raise XrcoreError(f"CArm.from_intrinsics: focal lengths must be positive, got {fx:g} and {fy:g} pixels")
        if abs(skew) > 1e-6 * fx or float(k[1, 0].abs() + k[2, :2].abs().sum()) > 1e-9:
            raise XrcoreError("CArm.from_intrinsics: K must be [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]; skew is not supported")
        if (source_to_detector is None) == (pixel_spacing is None):
            raise XrcoreError("CArm.from_intrinsics: give exactly one of source_to_detector and pixel_spacing")
        if source_to_detector is None:
            assert pixel_spacing is not None
            source_to_detector = fx * float(pixel_spacing)
        return cls(
            source_to_detector=source_to_detector,
            source_to_isocenter=source_to_isocenter,
            shape=shape,
            pixel_spacing=(source_to_detector / fy, source_to_detector / fx),
            principal_point=(float(k[1, 2]), float(k[0, 2])),
        )

    @property
    def spacing(self) -> tuple[float, float]:
        """(row, col) pixel spacing [mm]."""
        return self.pixel_spacing  # type: ignore[return-value]

    @property
    def center(self) -> tuple[float, float]:
        """(row, col) of the principal point [pixels]."""
        assert self.principal_point is not None
        return self.principal_point

    @property
    def K(self) -> Float[Tensor, "3 3"]:
        """Camera matrix [pixels], float64: `(col, row, 1) ~ K @ (x, y, z)`."""
        row, col = self.center
        fy, fx = (self.source_to_detector / s for s in self.spacing)
        return torch.tensor([[fx, 0.0, col], [0.0, fy, row], [0.0, 0.0, 1.0]], dtype=torch.float64)

    @property
    def magnification(self) -> float:
        """How much larger the isocentre's plane appears on the detector."""
        return self.source_to_detector / self.source_to_isocenter

    def resized(self, shape: tuple[int, int]) -> CArm:
        """The same detector cut into `shape` pixels; its outer edges stay where they are."""
        rows, cols = shape
        fr, fc = self.shape[0] / rows, self.shape[1] / cols
        (sr, sc), (pr, pc) = self.spacing, self.center
        return replace(
            self,
            shape=(rows, cols),
            pixel_spacing=(sr * fr, sc * fc),
            # pixel centres sit at integers, so edges are at -0.5: scale about the edge
            principal_point=((pr + 0.5) / fr - 0.5, (pc + 0.5) / fc - 0.5),
        )

    def cropped(self, top: int, left: int, shape: tuple[int, int]) -> CArm:
        """The part of the detector that starts at pixel (top, left)."""
        row, col = self.center
        return replace(self, shape=shape, principal_point=(row - top, col - left))

    def corners(self) -> Float[Tensor, "4 3"]:
        """The detector's outer corners in the camera frame [mm]: upper left, upper right, lower right, lower left of the image as shown."""
        rows, cols = self.shape
        (row_step, col_step), (row, col) = self.spacing, self.center
        edges = [(-0.5, -0.5), (-0.5, cols - 0.5), (rows - 0.5, cols - 0.5), (rows - 0.5, -0.5)]
        points = [((c - col) * col_step, (r - row) * row_step, self.source_to_detector) for r, c in edges]
        return torch.tensor(points, dtype=torch.float64)

    def to_dict(self) -> dict[str, Any]:
        """For files: `CArm(**carm.to_dict()) == carm`."""
        return {
            "source_to_detector": self.source_to_detector,
            "source_to_isocenter": self.source_to_isocenter,
            "shape": list(self.shape),
            "pixel_spacing": list(self.spacing),
            "principal_point": list(self.center),
        }

    def project(self, points: Float[Tensor, "*b n 3"]) -> Float[Tensor, "*b n 2"]:
        """Pixels (row, col) of camera-frame points [mm]."""
        k = self.K.to(points)
        u = k[0, 0] * points[..., 0] / points[..., 2] + k[0, 2]
        v = k[1, 1] * points[..., 1] / points[..., 2] + k[1, 2]
        return torch.stack([v, u], -1)
