"""The six CTs of the experiments, and how the benchmarks find them."""

from __future__ import annotations

import os
import sys
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import xrcore as xr

ROOT = Path(os.environ.get("XRCORE_DATA_MIRROR", Path(__file__).parents[2] / "shared" / "data"))
# The paper's detector: 432 mm square, cut into 256 x 256 pixels.
CARM = xr.CArm(source_to_detector=1259.65, source_to_isocenter=742.5, shape=(256, 256), pixel_spacing=1.6875)


@dataclass(frozen=True)
class Patient:
    """number and name as in the paper's Table 3. path: below the data root. options: of `read_ct`."""

    number: str
    name: str
    path: str
    options: dict[str, Any] = field(default_factory=dict)

    def volume(self, spacing: float) -> xr.Volume:
        """The CT at `spacing` [mm]."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # remarks about these CTs are known
            return xr.read_ct(ROOT / self.path, spacing=spacing, **self.options)


PATIENTS = (
    Patient("1", "abdomen", "ct/cort_abdomen_dicom"),
    # its publishers zeroed the soft tissue
    Patient("2", "pelvis-bone", "ct/rayemb_pelvis_bone.nii.gz", {"background": 0}),
    Patient("3", "thorax", "ct/totalsegmentator_thorax.nii.gz"),
    Patient("4", "hip", "ct/sts_036.nii.gz"),
    Patient("5", "femur", "ct/sts_040.nii.gz"),
    Patient("6#", "pelvis-implant", "ct/totalsegmentator_pelvis_implant.nii.gz"),
)


def chosen(numbers: str | None) -> list[Patient]:
    """Patients by number ("1,6#"), default all; exits where the data are not there."""
    if not ROOT.is_dir():
        sys.exit("the CTs were not found; set XRCORE_DATA_MIRROR to the folder that holds ct/ and xray/")
    wanted = numbers.split(",") if numbers else [p.number for p in PATIENTS]
    return [p for p in PATIENTS if p.number in wanted]
