"""What of a profile is made already: results that came with a clone count, where their settings and their code are those of today."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from companion.studies import STUDIES, study
from companion.studies.common.paths import Paths
from companion.studies.common.plan import Plan
from companion.studies.common.provenance import write
from xrcore.utilities import read_json


def take_results(plan: Plan, paths: Paths) -> list[Path]:
    """Mark the studies whose results are of today, unmark the others, and find their parts that must be measured again.

    Snakemake compares times of files, which in a clone say nothing, and knows nothing of code.

    Parameters
    ----------
    plan : Plan
        The profile.
    paths : Paths
        Where its files are.

    Returns
    -------
    list of Path
        Files of parts that are there, but of other settings or other code.
    """
    again: list[Path] = []
    for name in STUDIES:
        one, mark = study(name), paths.gathered(name)
        setups = {part: one.setup(plan, part) for part in one.parts(plan)}
        kept = _record(paths.result(name, ".json"))
        if paths.result(name).exists() and setups == {part: of.get("setup") for part, of in kept.get("parts", {}).items()}:
            if not mark.exists():
                write(mark, kept)
            continue
        mark.unlink(missing_ok=True)
        files = {part: paths.part(name, part).with_suffix(".json") for part in setups}
        again += [file for part, file in files.items() if file.exists() and _record(file).get("setup") != setups[part]]
    return again


def _record(path: Path) -> dict[str, Any]:
    return dict(read_json(path)) if path.exists() else {}
