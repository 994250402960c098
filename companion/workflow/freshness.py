"""What of a profile is made already: results that came with a clone count, where their settings and their code are those of today."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from companion.studies import STUDIES, study
from companion.studies.common.paths import Paths
from companion.studies.common.plan import Plan
from companion.studies.common.provenance import is_of, write
from xrcore.utilities import atomic_file, read_json

_LONG_AGO = (1, 1)  # times of a file that is older than any other


def take_results(plan: Plan, paths: Paths) -> None:
    """Mark what is there and of today as made, and what is not as to be made.

    Snakemake compares times of files, which in a clone say nothing, and knows nothing of code. So each training and each part has a file
    with the digest of its setup among its inputs: new where what is there is of another setup, else older than everything. A study whose
    results are of today is marked as gathered.

    Parameters
    ----------
    plan : Plan
        The profile.
    paths : Paths
        Where its files are.
    """
    for name, training in plan.trainings.items():
        _mark(paths.setup("models", name), training.setup, paths.origin(name))
    for name in STUDIES:
        one, mark = study(name), paths.gathered(name)
        setups = {part: one.setup(plan, part) for part in one.parts(plan)}
        for part, setup in setups.items():
            _mark(paths.setup("parts", f"{name}/{part}"), setup, paths.part(name, part).with_suffix(".json"))
        kept = _record(paths.result(name, ".json"))
        if not paths.result(name).exists() or setups != {part: of.get("setup") for part, of in kept.get("parts", {}).items()}:
            mark.unlink(missing_ok=True)
        elif _record(mark) != kept:
            for suffix in (".csv", ".json"):
                os.utime(paths.result(name, suffix))  # not older than the parts that came with the clone
            write(mark, kept)


def _mark(file: Path, setup: str, made: Path) -> None:
    """Write a setup; the file is new only where what was made is of another one. What is lacking is made where it is needed, as it is."""
    with atomic_file(file) as temporary:
        temporary.write_text(setup + "\n", encoding="ascii")
    if not made.exists() or is_of(made, setup):
        os.utime(file, _LONG_AGO)


def _record(path: Path) -> dict[str, Any]:
    return dict(read_json(path)) if path.exists() else {}
