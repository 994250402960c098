"""What clinical X-rays show besides a patient: things in the beam, collimators, marks, and the processing of a workstation.

Drawn for training only, in single precision and at a network's few pixels: shapes are plausible, not exact.
"""

from xrcore.simulation.clinical.beam_changes import attenuate
from xrcore.simulation.clinical.changes import ClinicalChanges
from xrcore.simulation.clinical.processing import process

__all__ = ["ClinicalChanges", "attenuate", "process"]
