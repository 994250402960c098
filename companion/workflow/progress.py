"""What a reproduction has made and has left to make, in words."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from statistics import mean

from companion.studies import STUDIES, study
from companion.studies.common.paths import Paths
from companion.studies.common.plan import Plan
from xrcore.utilities import read_json


def progress_in_words(plan: Plan, paths: Paths, again: Collection[Path], cores: int) -> str:
    """Count the networks that are evaluated, trained, or left, and estimate how long the rest takes.

    Parameters
    ----------
    plan : Plan
        The profile.
    paths : Paths
        Where its files are.
    again : collection of Path
        Files of parts that are there, but out of date, as `take_results` finds them.
    cores : int
        Trainings side by side.

    Returns
    -------
    str
        One line.
    """
    evaluated: set[str] = set()
    needed: set[str] = set()
    minutes: list[float] = []
    for name in STUDIES:
        one = study(name)
        for part in one.parts(plan):
            file = paths.part(name, part).with_suffix(".json")
            there = paths.gathered(name).exists() or (file.exists() and file not in again)
            (evaluated if there else needed).update(one.trainings(plan, part))
            if file.exists():
                minutes += [of["minutes"] for of in read_json(file).get("trainings", {}).values()]
    trained = {name for name in needed if paths.origin(name).exists()}
    left = len(needed - trained)
    said = f"{plan.name}: of {len(plan.trainings)} networks {len(evaluated - needed)} are evaluated, {len(trained)} trained, {left} left"
    if left and minutes:
        said += f", about {left * mean(minutes) / 60 / min(cores, left):.1f} h where trainings take {mean(minutes):.0f} min"
    return f"{said}; results go to {paths.results}"
