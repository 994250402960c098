"""What a reproduction has made and has left to make, in words."""

from __future__ import annotations

from statistics import mean

from companion.studies import STUDIES, study
from companion.studies.common.paths import Paths
from companion.studies.common.plan import Plan
from companion.studies.common.provenance import is_of
from xrcore.utilities import read_json


def progress_in_words(plan: Plan, paths: Paths, cores: int) -> str:
    """Count the networks that are evaluated, trained, or left, and estimate how long the rest takes.

    Parameters
    ----------
    plan : Plan
        The profile.
    paths : Paths
        Where its files are, after `take_results`.
    cores : int
        Of the machine.

    Returns
    -------
    str
        One line.
    """
    evaluated: set[str] = set()
    needed: set[str] = set()
    minutes: dict[str, float] = {}  # of trainings whose rows are current, on such a device
    for name in STUDIES:
        one = study(name)
        for part in one.parts(plan):
            current = one.is_current(plan, paths, part)
            there = current or paths.gathered(name).exists()
            (evaluated if there else needed).update(one.trainings(plan, part))
            if current:
                record = read_json(paths.part(name, part).with_suffix(".json"))
                minutes |= {
                    training: of["minutes"] for training, of in record["trainings"].items() if plan.device != "cpu" or "gpu" not in of
                }
    trained = {name for name in needed if is_of(paths.origin(name), plan.trainings[name].setup)}
    left = len(needed - trained)
    said = f"{plan.name}: of {len(plan.trainings)} networks {len(evaluated - needed)} are evaluated, {len(trained)} trained, {left} left"
    if left and minutes:
        each = mean(minutes.values())
        hours = left * each / 60 / min(max(cores // plan.threads, 1), left)
        said += f", about {hours:.1f} h at {each:.0f} min each"
    return f"{said}; results go to {paths.results}"
