"""A slot scanner: a fan of rays that moves along the patient, as in CT localizers and EOS."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from jaxtyping import Float
from torch import Tensor

from xrcore._util.conversion import as_numbers
from xrcore._util.errors import XrcoreError, is_number, require
from xrcore.geometry.carm import CArm

SCANS = ("rows", "columns")


@dataclass(frozen=True, kw_only=True)
class SlotScan(CArm):
    """A source with a line of detector elements, which move together: perspective across the scan, parallel along it.

    It stands wherever a `CArm` does. The camera frame has its origin at the source of the principal point's row; the source of row r is
    at (0, (r - principal row) x row spacing, 0).

    Parameters
    ----------
    source_to_detector : float
        Distance from the source to the detector [mm].
    source_to_isocenter : float
        Distance from the source to the isocentre, about which poses turn [mm].
    shape : tuple of int
        Pixels of the image, (rows, cols).
    pixel_spacing : float or tuple of float
        Distance between pixel centres, (row, col) or one number [mm]: across the scan on the detector, along the scan as far as the
        source moves. Where a file gives the size at the isocentre, see `from_isocenter_spacing`.
    principal_point : tuple of float, optional
        (row, col) in pixels: across the scan where the perpendicular from the source meets the detector, along it where the isocentre is;
        default the image's centre.
    scan : str
        "rows": every row has its own source; "columns": every column has.

    Raises
    ------
    XrcoreError
        Naming the parameter that makes no sense.

    References
    ----------
    Gupta and Hartley, Linear pushbroom cameras, IEEE TPAMI 19(9), 1997.

    Examples
    --------
    >>> import torch
    >>> import xrcore as xr
    >>> scout = xr.SlotScan(source_to_detector=1040, source_to_isocenter=570, shape=(256, 512), pixel_spacing=(1.0, 1.8))
    >>> scout.project(torch.tensor([[0.0, 10.0, 570.0]]))  # ten rows from the middle, at any depth
    tensor([[137.5000, 255.5000]])
    """

    scan: str = "rows"

    def __post_init__(self) -> None:
        require("SlotScan", "scan", self.scan, isinstance(self.scan, str) and self.scan in SCANS, " or ".join(map(repr, SCANS)))
        super().__post_init__()

    @classmethod
    def from_isocenter_spacing(
        cls,
        spacing: float | Sequence[float],
        shape: tuple[int, int],
        *,
        source_to_isocenter: float,
        source_to_detector: float | None = None,
        principal_point: tuple[float, float] | None = None,
        scan: str = "rows",
    ) -> SlotScan:
        """Make a slot scan whose pixels are known by their size at the isocentre, as CT localizers give it.

        Parameters
        ----------
        spacing : float or tuple of float
            Distance between pixel centres in the isocentre's plane, (row, col) or one number [mm].
        shape : tuple of int
            Pixels of the image, (rows, cols).
        source_to_isocenter : float
            Distance from the source to the isocentre [mm].
        source_to_detector : float, optional
            Distance from the source to the detector [mm]; default twice that to the isocentre. It changes nothing for a body that is
            before the detector.
        principal_point : tuple of float, optional
            As for `SlotScan`.
        scan : str
            "rows" or "columns".

        Returns
        -------
        SlotScan
            Its `spacing_at(source_to_isocenter)` is `spacing`.

        Raises
        ------
        XrcoreError
            Naming the parameter that makes no sense.
        """
        owner = "SlotScan.from_isocenter_spacing"
        pair = (spacing, spacing) if is_number(spacing) else as_numbers(spacing, 2)
        require(owner, "spacing", spacing, pair is not None and min(pair) > 0, "a positive length in mm, one number or (row, col)")
        for name, value in (("source_to_isocenter", source_to_isocenter), ("source_to_detector", source_to_detector)):
            positive = (value is None and name == "source_to_detector") or (is_number(value) and value > 0)  # type: ignore[operator]
            require(owner, name, value, positive, "a positive length in mm")
        assert pair is not None
        distance = 2 * source_to_isocenter if source_to_detector is None else source_to_detector
        magnified = distance / source_to_isocenter
        across = scan == "rows", scan == "columns"  # whether columns, and whether rows, are
        return cls(
            source_to_detector=distance,
            source_to_isocenter=source_to_isocenter,
            shape=shape,
            pixel_spacing=(pair[0] * (magnified if across[1] else 1.0), pair[1] * (magnified if across[0] else 1.0)),  # type: ignore[operator]
            principal_point=principal_point,
            scan=scan,
        )

    @classmethod
    def from_intrinsics(cls, *_: Any, **__: Any) -> NoReturn:
        """Refuse: a camera matrix describes a source that stands still.

        Parameters
        ----------
        *_, **__ : object
            Whatever is given.

        Raises
        ------
        XrcoreError
            Always.
        """
        raise XrcoreError("SlotScan: a camera matrix describes a source that stands still; give distances and pixel_spacing")

    @property
    def focal_lengths(self) -> tuple[float, float]:
        """(row, col) pixels by which a ray's direction turns through a slope of 1; infinite along the scan."""
        fy, fx = super().focal_lengths
        return (math.inf, fx) if self.scan == "rows" else (fy, math.inf)

    @property
    def source_steps(self) -> tuple[float, float]:
        """How far the source moves from a row, and from a column, to the next [mm]."""
        return (self.spacing[0], 0.0) if self.scan == "rows" else (0.0, self.spacing[1])

    def spacing_at(self, depth: float) -> tuple[float, float]:
        """Distance between neighbouring pixels' rays at some distance from the source; along the scan it is the same everywhere.

        Parameters
        ----------
        depth : float
            Along the camera's axis, such as `source_to_isocenter` [mm].

        Returns
        -------
        tuple of float
            (row, col) [mm].
        """
        row, col = super().spacing_at(depth)
        return (self.spacing[0], col) if self.scan == "rows" else (row, self.spacing[1])

    @property
    def K(self) -> NoReturn:
        """Refused: no camera matrix describes a moving source."""
        raise XrcoreError("SlotScan: it has no camera matrix, as its source moves")

    def to_dict(self) -> dict[str, Any]:
        """Name and value of each parameter, for files.

        Returns
        -------
        dict
            Such that `SlotScan(**carm.to_dict()) == carm`.
        """
        return {**super().to_dict(), "scan": self.scan}

    def project(self, points: Float[Tensor, "*b n 3"]) -> Float[Tensor, "*b n 2"]:
        """Project points onto the image: in perspective across the scan, in parallel along it.

        Parameters
        ----------
        points : Float[Tensor, "*b n 3"]
            In the camera frame [mm].

        Returns
        -------
        Float[Tensor, "*b n 2"]
            Pixels (row, col).
        """
        pixels = []
        for axis in range(2):
            place, step = points[..., 1 - axis], self.source_steps[axis]
            pixels.append((place / step if step else place / points[..., 2] * self.focal_lengths[axis]) + self.center[axis])
        return torch.stack(pixels, -1)


def geometry_from_dict(values: dict[str, Any]) -> CArm:
    """Make the geometry that `to_dict` named: a SlotScan where there is `scan`, else a CArm.

    Parameters
    ----------
    values : dict
        Of parameters.

    Returns
    -------
    CArm
        Or SlotScan.
    """
    return SlotScan(**values) if "scan" in values else CArm(**values)


def require_pinhole(owner: str, carm: CArm) -> None:
    """Raise XrcoreError for a slot scan.

    Parameters
    ----------
    owner : str
        What is only there for sources that stand still.
    carm : CArm
        The geometry.
    """
    if isinstance(carm, SlotScan):
        raise XrcoreError(f"{owner}: a SlotScan is not supported here, only a CArm, whose source stands still")
