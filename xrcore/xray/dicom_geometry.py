"""Distances and pixel spacing of a DICOM X-ray, and what contradicts them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from xrcore.ct.dicom_tags import number, numbers, tag, text

# which tag gives which key of a carm.yaml
TAGS = {
    "source_to_detector": "DistanceSourceToDetector",
    "source_to_isocenter": "DistanceSourceToPatient",
    "pixel_spacing": "ImagerPixelSpacing",
}


def stored_geometry(tags: Dataset, path: Path, notes: list[str]) -> tuple[dict[str, Any], str]:
    """Keys of a carm.yaml as far as the tags give them, and a remark to make if this pixel spacing is used.

    A distance of 0 is one that the system does not know.
    """
    detector = number(tags, "DistanceSourceToDetector", path) or None
    isocenter = number(tags, "DistanceSourceToIsocenter", path) or number(tags, "DistanceSourceToPatient", path) or None
    magnification = number(tags, "EstimatedRadiographicMagnificationFactor", path) or None
    ratio = detector / isocenter if detector and isocenter else None
    if magnification and ratio and abs(magnification / ratio - 1) > 0.05:
        notes.append(
            f"{tag('EstimatedRadiographicMagnificationFactor')} is {magnification:g}, but the distances from the source say {ratio:.4g}; "
            "the distances are used"
        )
    spacing, remark = _pixel_spacing(tags, ratio or magnification, path)
    found = {"source_to_detector": detector, "source_to_isocenter": isocenter, "pixel_spacing": spacing}
    _contradictions(tags, spacing, path, notes)
    return {key: value for key, value in found.items() if value is not None}, remark


def _pixel_spacing(tags: Dataset, magnification: float | None, path: Path) -> tuple[list[float] | None, str]:
    """Pixel spacing at the detector, rows and columns [mm], with a remark where it is not what ImagerPixelSpacing says."""
    for keyword in ("ImagerPixelSpacing", "NominalScannedPixelSpacing"):  # at the detector; at the film
        if (spacing := numbers(tags, keyword, 2, path)) is not None:
            return spacing, ""
    if (spacing := numbers(tags, "PixelSpacing", 2, path)) is None:
        return None, ""
    stands = f"stands for the absent {tag('ImagerPixelSpacing')}"
    calibration = text(tags, "PixelSpacingCalibrationType").upper()
    if calibration in ("GEOMETRY", "FIDUCIAL") and magnification is not None:
        return [s * magnification for s in spacing], f"{tag('PixelSpacing')}, calibrated at the patient, times {magnification:.5g} {stands}"
    return spacing, f"{tag('PixelSpacing')} {stands}; it may have been calibrated at the patient"


def _contradictions(tags: Dataset, spacing: list[float] | None, path: Path, notes: list[str]) -> None:
    """Remark on tags that do not fit the pixel spacing at the detector, or a detector across the beam."""
    angulation = number(tags, "ColumnAngulationPatient", path) or number(tags, "ColumnAngulation", path)
    if angulation:
        notes.append(f"{tag('ColumnAngulation')}: the beam meets the detector {angulation:g} deg off its normal, which is not modelled")
    if spacing is None or min(spacing) <= 0:
        return
    at_patient = numbers(tags, "PixelSpacing", 2, path)
    if at_patient is not None and min(np.divide(at_patient, spacing)) > 1.01:
        notes.append(f"{tag('PixelSpacing')} {at_patient} is wider than the pixels are at the detector, {spacing}")
    aspect = numbers(tags, "PixelAspectRatio", 2, path)
    if aspect is not None and min(aspect) > 0 and abs(aspect[0] / aspect[1] * spacing[1] / spacing[0] - 1) > 0.01:
        notes.append(f"{tag('PixelAspectRatio')} {aspect[0]:g}:{aspect[1]:g} contradicts the pixel spacing {spacing}, which is used")
    field = numbers(tags, "FieldOfViewDimensions", None, path)
    if field and min(field) > 0:
        size = max(float(tags.Rows) * spacing[0], float(tags.Columns) * spacing[1])
        if abs(size / max(field) - 1) > 0.2:
            notes.append(
                f"{tag('FieldOfViewDimensions')} says {max(field):g} mm, but at its pixel spacing the image measures {size:.4g} mm"
            )
