"""The CTs and the C-arm of the benchmarks; those of `xrcore.experiments`."""

from __future__ import annotations

import sys

from xrcore import XrcoreError, experiments
from xrcore.geometry.presets import PAPER_CARM as CARM

PATIENTS = experiments.PATIENTS


def chosen(numbers: str | None) -> tuple[experiments.Patient, ...]:
    """Patients by number ("1,6#"), default all; exits where the data are not there."""
    try:
        return experiments.chosen(numbers)
    except XrcoreError as error:
        sys.exit(str(error))


__all__ = ["CARM", "PATIENTS", "chosen"]
