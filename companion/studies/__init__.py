"""The studies behind the tables, by name. Each is measured in parts, which may run side by side, and gathered into results/."""

from __future__ import annotations

from importlib import import_module

from companion.studies.base import Study
from xrcore import XrcoreError

__all__ = ["STUDIES", "Study", "study"]

# where each is
_HOME = {
    "comparison": ("table1_comparison", "Comparison"),
    "ablation": ("table3_ablation", "Ablation"),
    "cohort": ("table3_patients", "Cohort"),
    "cases": ("table4_xray_cases", "Cases"),
    "wrist": ("real_xrays", "Wrist"),
    "speed": ("speed", "Speed"),
}
STUDIES = tuple(_HOME)


def study(name: str) -> Study:
    """Find a study by its name.

    Parameters
    ----------
    name : str
        One of STUDIES.

    Returns
    -------
    Study
        Ready to be measured.

    Raises
    ------
    XrcoreError
        If there is none of that name.
    """
    if name not in _HOME:
        raise XrcoreError(f"there is no study {name!r}; choose from {', '.join(STUDIES)}")
    module, kind = _HOME[name]
    made: Study = getattr(import_module(f"companion.studies.{module}"), kind)()
    return made
