"""The studies behind the tables, by name. Each is measured in parts, which may run in parallel, and gathered into results/."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from xrcore import XrcoreError

if TYPE_CHECKING:  # a notebook's run, which needs no more than the names, does not wait for torch
    from companion.studies.common.base import Study

__all__ = ["STUDIES", "study"]

# module and class of each
_HOME = {
    "comparison": ("table1_comparison", "ComparisonStudy"),
    "ablation": ("table3_ablation", "AblationStudy"),
    "cohort": ("table3_patients", "CohortStudy"),
    "cases": ("table4_xray_cases", "CasesStudy"),
    "wrist": ("real_xrays", "WristStudy"),
    "head": ("megavolt_xrays", "HeadStudy"),
    "speed": ("speed", "SpeedStudy"),
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
