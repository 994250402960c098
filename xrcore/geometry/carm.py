"""The imaging system: intrinsics and distances of a C-arm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from xrcore._util.bounds import LARGEST_LENGTH, LARGEST_SIDE, is_length
from xrcore._util.conversion import as_numbers, as_tensor
from xrcore._util.errors import XrcoreError, is_number, require, shown

_FARTHEST = 1e6  # pixels from the detector's first one to the principal point


@dataclass(frozen=True, kw_only=True)
class CArm:
    """A point source and a flat detector.

    Pixels are counted as (row, col), their centres at integers. The camera frame has its origin at the source, x along the
    detector's columns, y down its rows, and z from the source to the detector.

    Parameters
    ----------
    source_to_detector : float
        Distance from the source to the detector's plane [mm].
    source_to_isocenter : float
        Distance from the source to the isocentre, about which poses turn [mm].
    shape : tuple of int
        Pixels of the detector, (rows, cols).
    pixel_spacing : float or tuple of float
        Distance between pixel centres on the detector [mm], one number or (row, col).
    principal_point : tuple of float, optional
        Where the perpendicular from the source meets the detector, (row, col) in pixels; default the detector's centre.

    Raises
    ------
    XrcoreError
        Naming the parameter that makes no sense: not a length, metres instead of millimetres, or a patient behind the detector.

    Examples
    --------
    >>> import xrcore as xr
    >>> carm = xr.CArm(source_to_detector=1200, source_to_isocenter=800, shape=(256, 256), pixel_spacing=1.5)
    >>> carm.magnification
    1.5
    >>> carm.resized((128, 128)).spacing
    (3.0, 3.0)
    """

    source_to_detector: float
    source_to_isocenter: float
    shape: tuple[int, int]
    pixel_spacing: float | tuple[float, float]
    principal_point: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        put, owner = object.__setattr__, type(self).__name__
        for name in ("source_to_detector", "source_to_isocenter"):
            value = getattr(self, name)
            require(owner, name, value, is_length(value) and value > 0, f"a positive length in mm, at most {LARGEST_LENGTH:g}")
            put(self, name, float(value))
        put(self, "shape", _shape(owner, self.shape))
        spacing = (self.pixel_spacing,) * 2 if is_number(self.pixel_spacing) else as_numbers(self.pixel_spacing, 2)
        positive = spacing is not None and min(spacing) > 0 and all(map(is_length, spacing))
        require(owner, "pixel_spacing", self.pixel_spacing, positive, "a positive length in mm, one number or (row, col)")
        put(self, "pixel_spacing", tuple(map(float, spacing)) if spacing else None)
        centre = ((self.shape[0] - 1) / 2, (self.shape[1] - 1) / 2)
        point = centre if self.principal_point is None else as_numbers(self.principal_point, 2)
        near = point is not None and max(map(abs, point)) <= _FARTHEST
        require(owner, "principal_point", self.principal_point, near, f"two finite numbers (row, col), in pixels, at most {_FARTHEST:g}")
        put(self, "principal_point", point)
        self._reject_unit_mistakes()

    def _reject_unit_mistakes(self) -> None:
        owner = type(self).__name__
        for name in ("source_to_detector", "source_to_isocenter"):
            value = getattr(self, name)
            if value < 10:
                raise XrcoreError(f"{owner}: {name} is {value:g} mm; if that was metres, give {value * 1000:g}")
        if self.source_to_isocenter >= self.source_to_detector:
            raise XrcoreError(
                f"{owner}: source_to_isocenter ({self.source_to_isocenter:g} mm) must be smaller than "
                f"source_to_detector ({self.source_to_detector:g} mm): the patient is between source and detector"
            )
        smallest = min(self.spacing)
        if smallest < 1e-3:
            raise XrcoreError(f"{owner}: pixel_spacing is {smallest:g} mm; if that was metres, give {smallest * 1000:g}")

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
        """Make a calibrated system from its camera matrix.

        K alone fixes rays, not the scale on the detector: give exactly one of `source_to_detector` and `pixel_spacing`.

        Parameters
        ----------
        K : Float[Tensor, "3 3"]
            Camera matrix `[[fx, 0, cx], [0, fy, cy], [0, 0, 1]]` [pixels], up to scale.
        shape : tuple of int
            Pixels of the detector, (rows, cols).
        source_to_isocenter : float
            Distance from the source to the isocentre [mm].
        source_to_detector : float, optional
            Distance from the source to the detector's plane [mm].
        pixel_spacing : float, optional
            Length of a column step on the detector [mm].

        Returns
        -------
        CArm
            The C-arm whose `K` is this one.

        Raises
        ------
        XrcoreError
            If K has skew or is malformed, or a parameter makes no sense.
        """
        owner = "CArm.from_intrinsics"
        k = as_tensor(owner, "K", K, "a finite 3x3 matrix")
        if k.shape != (3, 3) or not torch.isfinite(k).all() or k[2, 2] == 0:
            raise XrcoreError(f"{owner}: K must be a finite 3x3 matrix [[fx, 0, cx], [0, fy, cy], [0, 0, 1]], got {shown(k.tolist())}")
        k = k / k[2, 2]
        fx, fy, skew = float(k[0, 0]), float(k[1, 1]), float(k[0, 1])
        if fx <= 0 or fy <= 0:
            raise XrcoreError(f"{owner}: focal lengths must be positive, got {fx:g} and {fy:g} pixels")
        if abs(skew) > 1e-6 * fx or float(k[1, 0].abs() + k[2, :2].abs().sum()) > 1e-9:
            raise XrcoreError(f"{owner}: K must be [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]; skew is not supported")
        if (source_to_detector is None) == (pixel_spacing is None):
            raise XrcoreError(f"{owner}: give exactly one of source_to_detector and pixel_spacing")
        name, length = ("source_to_detector", source_to_detector) if pixel_spacing is None else ("pixel_spacing", pixel_spacing)
        require(owner, name, length, is_number(length) and length > 0, "a positive length in mm")
        assert length is not None
        distance = length if pixel_spacing is None else fx * length
        return cls(
            source_to_detector=distance,
            source_to_isocenter=source_to_isocenter,
            shape=shape,
            pixel_spacing=(distance / fy, distance / fx),
            principal_point=(float(k[1, 2]), float(k[0, 2])),
        )

    @property
    def spacing(self) -> tuple[float, float]:
        """(row, col) pixel spacing [mm]."""
        return self.pixel_spacing  # type: ignore[return-value]

    @property
    def center(self) -> tuple[float, float]:
        """(row, col) of the principal point [pixels]."""
        return self.principal_point  # type: ignore[return-value]

    @property
    def focal_lengths(self) -> tuple[float, float]:
        """(row, col) pixels by which a ray's direction turns through a slope of 1; infinite where rays are parallel."""
        return self.source_to_detector / self.spacing[0], self.source_to_detector / self.spacing[1]

    @property
    def source_steps(self) -> tuple[float, float]:
        """How far the source moves from a row, and from a column, to the next [mm]: nowhere, for a C-arm."""
        return 0.0, 0.0

    def spacing_at(self, depth: float) -> tuple[float, float]:
        """Distance between neighbouring pixels' rays at some distance from the source.

        Parameters
        ----------
        depth : float
            Along the camera's axis, such as `source_to_isocenter` [mm].

        Returns
        -------
        tuple of float
            (row, col) [mm].
        """
        return self.spacing[0] * depth / self.source_to_detector, self.spacing[1] * depth / self.source_to_detector

    @property
    def K(self) -> Float[Tensor, "3 3"]:
        """Camera matrix [pixels], float64: `(col, row, 1) ~ K @ (x, y, z)`."""
        row, col = self.center
        fy, fx = self.focal_lengths
        return torch.tensor([[fx, 0.0, col], [0.0, fy, row], [0.0, 0.0, 1.0]], dtype=torch.float64)

    @property
    def magnification(self) -> float:
        """How much larger the isocentre's plane appears on the detector."""
        return self.source_to_detector / self.source_to_isocenter

    def resized(self, shape: tuple[int, int]) -> CArm:
        """Cut the same detector into other pixels; its outer edges stay where they are.

        Parameters
        ----------
        shape : tuple of int
            The new (rows, cols).

        Returns
        -------
        CArm
            The C-arm with these pixels.
        """
        rows, cols = _shape("CArm.resized", shape)
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
        """Keep a part of the detector.

        Parameters
        ----------
        top, left : int
            The pixel at which the part starts.
        shape : tuple of int
            Pixels of the part, (rows, cols).

        Returns
        -------
        CArm
            The C-arm with this part for its detector.
        """
        for name, value in (("top", top), ("left", left)):
            require("CArm.cropped", name, value, is_number(value), "a number of pixels")
        row, col = self.center
        return replace(self, shape=_shape("CArm.cropped", shape), principal_point=(row - top, col - left))

    def corners(self) -> Float[Tensor, "4 3"]:
        """The detector's outer corners in the camera frame.

        Returns
        -------
        Float[Tensor, "4 3"]
            Points [mm]: upper left, upper right, lower right, lower left of the image as shown.
        """
        rows, cols = self.shape
        (row_step, col_step), (row, col) = self.spacing, self.center
        edges = [(-0.5, -0.5), (-0.5, cols - 0.5), (rows - 0.5, cols - 0.5), (rows - 0.5, -0.5)]
        points = [((c - col) * col_step, (r - row) * row_step, self.source_to_detector) for r, c in edges]
        return torch.tensor(points, dtype=torch.float64)

    def corner_sources(self) -> Float[Tensor, "4 3"]:
        """The sources of the rays to the detector's corners, in the camera frame.

        Returns
        -------
        Float[Tensor, "4 3"]
            Points [mm], in the order of `corners`: the origin, but for a slot scan.
        """
        moves = torch.tensor([*self.source_steps[::-1], 0.0], dtype=torch.float64) > 0
        return torch.where(moves, self.corners(), 0.0)

    def to_dict(self) -> dict[str, Any]:
        """Name and value of each parameter, for files.

        Returns
        -------
        dict
            Such that `CArm(**carm.to_dict()) == carm`.
        """
        return {
            "source_to_detector": self.source_to_detector,
            "source_to_isocenter": self.source_to_isocenter,
            "shape": list(self.shape),
            "pixel_spacing": list(self.spacing),
            "principal_point": list(self.center),
        }

    def project(self, points: Float[Tensor, "*b n 3"]) -> Float[Tensor, "*b n 2"]:
        """Project points onto the detector.

        Parameters
        ----------
        points : Float[Tensor, "*b n 3"]
            In the camera frame [mm].

        Returns
        -------
        Float[Tensor, "*b n 2"]
            Pixels (row, col).
        """
        k = self.K.to(points)
        u = k[0, 0] * points[..., 0] / points[..., 2] + k[0, 2]
        v = k[1, 1] * points[..., 1] / points[..., 2] + k[1, 2]
        return torch.stack([v, u], -1)


def _shape(owner: str, shape: Any) -> tuple[int, int]:
    """(rows, cols) as integers."""
    sizes = as_numbers(shape, 2)
    whole = sizes is not None and all(LARGEST_SIDE >= n == int(n) >= 1 for n in sizes)
    require(owner, "shape", shape, whole, f"two positive whole numbers (rows, cols), at most {LARGEST_SIDE}")
    rows, cols = sizes or (0, 0)
    return int(rows), int(cols)
