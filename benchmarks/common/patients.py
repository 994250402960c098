"""CTs and C-arm of the benchmarks: those of `companion.experiments`, also from a mirror beside the repository."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from companion import experiments
from xrcore import XrcoreError
from xrcore.geometry.presets import PAPER_CARM as CARM

_BESIDE = Path(__file__).parents[3] / "shared" / "data"
if _BESIDE.is_dir():
    os.environ.setdefault("XRCORE_DATA_MIRROR", str(_BESIDE))
PATIENTS = experiments.PATIENTS


def choose_patients(numbers: str | None) -> tuple[experiments.Patient, ...]:
    """Patients by number ("1,6#"), default all; exits where the data are not there."""
    try:
        return experiments.choose_patients(numbers)
    except XrcoreError as error:
        sys.exit(str(error))


__all__ = ["CARM", "PATIENTS", "choose_patients"]
