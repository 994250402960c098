"""The studies behind the tables, by name. Each is measured in parts, which may run side by side, and gathered into results/."""

from __future__ import annotations

from importlib import import_module

from companion.studies.base import Study
from xrcore._util.errors import XrcoreError

_HOME = {
    "ablation": "Ablation",
    "comparison": "Comparison",
    "cohort": "Cohort",
    "cases": "Cases",
    "wrist": "Wrist",
    "speed": "Speed",
}
STUDIES = tuple(_HOME)


def study(name: str) -> Study:
    """Raises XrcoreError for a name that is none."""
    if name not in _HOME:
        raise XrcoreError(f"there is no study {name!r}; choose from {', '.join(STUDIES)}")
    made: Study = getattr(import_module(f"companion.studies.{name}"), _HOME[name])()
    return made
