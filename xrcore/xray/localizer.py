"""CT localizers (scouts, topograms): slot scans whose tags say where they were taken, in the space of the CTs of the same examination."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64, Shaped
from numpy import ndarray
from pydicom.dataset import Dataset
from torch import Tensor

from xrcore._util.errors import XrcoreError
from xrcore.ct.dicom_tags import number, numbers, plane_axes, tag, text
from xrcore.geometry import CArm, SlotScan

_ALONG = 0.99  # cosine from which an axis of the image counts as the table's
# by how a patient lies, head first: (x, y) of the gantry's top and of its 90 degrees
_TOP_AND_SIDE = {"S": ((0, -1), (1, 0)), "P": ((0, 1), (-1, 0)), "DR": ((1, 0), (0, 1)), "DL": ((-1, 0), (0, -1))}


@dataclass(frozen=True, kw_only=True, eq=False)
class Localizer:
    """Where the pixels of a localizer are, LPS [mm], and on which side its source was."""

    first: Float64[ndarray, "3"]  # the first pixel's centre
    along_columns: Float64[ndarray, "3"]  # from column to column, a unit vector
    along_rows: Float64[ndarray, "3"]  # from row to row
    spacing: tuple[float, float]  # (row, col) in the isocentre's plane
    scan: str
    to_source: Float64[ndarray, "3"]
    frame_of_reference: str

    def as_seen(self, image: Shaped[ndarray, "H W"]) -> Shaped[ndarray, "rows cols"]:
        """The image as the camera sees it: head up, rows along the table."""
        turned = image if self.scan == "rows" else image.T
        down, right = self._stored_axes()
        camera = self._axes()
        return turned[:: 1 if down @ camera[:, 1] > 0 else -1, :: 1 if right @ camera[:, 0] > 0 else -1]

    def carm_as_seen(self, carm: CArm) -> CArm:
        """The geometry of that image; carm: of the image as stored. Raises XrcoreError where it scans along the other axis."""
        if isinstance(carm, SlotScan) and carm.scan != self.scan:
            raise XrcoreError(f"the geometry says scan: {carm.scan}, and the file's tags {self.scan}; leave scan out")
        numbers = {"shape": carm.shape, "pixel_spacing": carm.spacing, "principal_point": carm.center}
        if self.scan == "columns":
            numbers = {key: pair[::-1] for key, pair in numbers.items()}
        (rows, cols), (row, col) = numbers["shape"], numbers["principal_point"]
        down, right = self._stored_axes()
        camera = self._axes()
        row, col = (row if down @ camera[:, 1] > 0 else rows - 1 - row), (col if right @ camera[:, 0] > 0 else cols - 1 - col)
        return replace(carm, **numbers | {"principal_point": (row, col)}, **({"scan": "rows"} if isinstance(carm, SlotScan) else {}))  # type: ignore[arg-type]

    def world_from_camera(self, carm: CArm) -> Float[Tensor, "4 4"]:
        """The camera; carm: of the image as stored."""
        (row, col), (row_step, col_step) = carm.center, self.spacing
        isocenter = self.first + col * col_step * self.along_columns + row * row_step * self.along_rows
        matrix = np.eye(4)
        matrix[:3, :3] = self._axes()
        matrix[:3, 3] = isocenter + carm.source_to_isocenter * self.to_source
        return torch.from_numpy(matrix)

    def _stored_axes(self) -> tuple[Float64[ndarray, "3"], Float64[ndarray, "3"]]:
        """Along the table and across it, as the image is stored."""
        return (self.along_rows, self.along_columns) if self.scan == "rows" else (self.along_columns, self.along_rows)

    def _axes(self) -> Float64[ndarray, "3 3"]:
        """The camera's axes in columns, y down the table to the feet."""
        along = self._stored_axes()[0]
        down = along * (-1.0 if along[2] > 0 else 1.0)
        return np.stack([np.cross(down, -self.to_source), down, -self.to_source], 1)


def is_localizer(tags: Dataset) -> bool:
    """Whether a file says to be a CT's localizer."""
    return text(tags, "Modality") == "CT" and "LOCALIZER" in text(tags, "ImageType").upper()


def stored_localizer(tags: Dataset, path: Path, notes: list[str]) -> Localizer:
    """What the tags say. Raises XrcoreError naming the tag that is missing or makes no sense."""
    first, axes, spacing = (
        _needed(tags, keyword, count, path)
        for keyword, count in (("ImagePositionPatient", 3), ("ImageOrientationPatient", 6), ("PixelSpacing", 2))
    )
    columns, rows = plane_axes(axes, (spacing[0], spacing[1]), path)
    if max(abs(rows[2]), abs(columns[2])) < _ALONG:
        raise XrcoreError(f"{path}: neither rows nor columns run along the table by {tag('ImageOrientationPatient')}; not a localizer's")
    return Localizer(
        first=np.array(first),
        along_columns=columns / np.linalg.norm(columns),
        along_rows=rows / np.linalg.norm(rows),
        spacing=(spacing[0], spacing[1]),
        scan="rows" if abs(rows[2]) >= _ALONG else "columns",
        to_source=_to_source(np.cross(columns, rows), tags, path, notes),
        frame_of_reference=text(tags, "FrameOfReferenceUID"),
    )


def localizer_geometry(localizer: Localizer, tags: Dataset, path: Path) -> dict[str, Any]:
    """Keys of a carm.yaml as far as the tags give them."""
    found = {
        "source_to_detector": number(tags, "DistanceSourceToDetector", path) or None,
        "source_to_isocenter": number(tags, "DistanceSourceToIsocenter", path) or number(tags, "DistanceSourceToPatient", path) or None,
        "isocenter_spacing": list(localizer.spacing),
        "scan": localizer.scan,
    }
    return {key: value for key, value in found.items() if value is not None}


def _to_source(normal: Float64[ndarray, "3"], tags: Dataset, path: Path, notes: list[str]) -> Float64[ndarray, "3"]:
    """The unit vector along the image's normal that points to the source.

    The tube's angle counts as on the gantry's face: 0 is above the table, 90 at the left of a patient who lies on the back, head first.
    Without it, the source was above the table or at that side, as is usual.
    """
    normal = normal / np.linalg.norm(normal)
    position = text(tags, "PatientPosition").upper()
    top, side = (np.array([*pair, 0.0]) for pair in _TOP_AND_SIDE.get(position[2:], _TOP_AND_SIDE["S"]))
    if position.startswith("FF"):
        side = -side
    angle = number(tags, "AngularPosition", path)
    if angle is not None:
        turn = np.deg2rad(angle)
        cosine = float(normal @ (np.cos(turn) * top + np.sin(turn) * side))
        if abs(cosine) >= _ALONG:
            return normal * np.sign(cosine)
        notes.append(f"{tag('AngularPosition')} {angle:g} does not fit the image's plane and is not used")
    usual = top if abs(normal @ top) > abs(normal @ side) else side
    name = "above the table" if usual is top else "at the gantry's 90 degrees, the left of a patient who lies on the back, head first"
    notes.append(f"no tag says where the source was: taken {name}")
    return normal * (np.sign(normal @ usual) or 1.0)


def _needed(tags: Dataset, keyword: str, count: int, path: Path) -> list[float]:
    values = numbers(tags, keyword, count, path)
    if values is None:
        raise XrcoreError(f"{path}: a localizer without {tag(keyword)}, so its place is unknown")
    return values
