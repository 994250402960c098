"""A reproduction as an RO-Crate: its tables, figures and notebooks, and what each was made from, in one file to deposit."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from companion.studies import STUDIES
from companion.studies.common.paths import Paths
from companion.workflow.notebooks import NOTEBOOKS, sources
from xrcore import XrcoreError
from xrcore.utilities import atomic_file

_PAPER = "https://doi.org/10.1007/978-3-031-43996-4_49"
_LICENCE = "https://spdx.org/licenses/MIT"


def write_crate(paths: Paths) -> Path:
    """Write build/PROFILE/reproduction.crate.zip.

    Each study and each notebook is a `CreateAction`: by what, from what, to what; of a study also when, on which commit, seed and machine.

    Parameters
    ----------
    paths : Paths
        Of the profile, whose reproduction is complete.

    Returns
    -------
    Path
        The archive.

    Raises
    ------
    XrcoreError
        If a result is lacking.
    """
    from rocrate.model.contextentity import ContextEntity
    from rocrate.rocrate import ROCrate

    crate = ROCrate()
    crate.name = f"Reproduction of PSSS (MICCAI 2023) with xrcore, profile {paths.profile}"
    crate.description = "Tables and figures of the paper, made again, with what each was made from"
    crate.license = _LICENCE
    paper = {"@type": "ScholarlyArticle", "name": "A Patient-Specific Self-supervised Model for Automatic X-Ray/CT Registration"}
    crate.root_dataset["citation"] = crate.add(ContextEntity(crate, _PAPER, properties=paper))

    def kept(path: Path) -> Any:
        """The file's entry, made once, under its path in the repository."""
        if not path.exists():
            raise XrcoreError(f"{path}: not there yet; `make reproduce PROFILE={paths.profile}` makes it")
        name = path.relative_to(paths.root).as_posix()
        return crate.dereference(name) or crate.add_file(path, name)

    snakefile = paths.root / "workflow" / "Snakefile"
    workflow = crate.add_workflow(snakefile, "workflow/Snakefile", main=True, lang="snakemake")
    times = []
    for study in STUDIES:
        made = [kept(paths.result(study, suffix)) for suffix in (".csv", ".json")]
        origin = json.loads(paths.result(study, ".json").read_text(encoding="utf-8"))
        times.append(datetime.strptime(origin["finished"], "%Y-%m-%d %H:%M:%S %z").isoformat())
        says = {
            "name": f"study {study}",
            "endTime": times[-1],
            "description": f"commit {origin['commit']}, seed {origin['seed']}, {origin['minutes']} minutes, {origin['machine']['cpu']}",
        }
        crate.add_action(workflow, object=[kept(paths.plan)], result=made, properties=says)
    for name in NOTEBOOKS:
        notebook, *read = map(kept, sources(paths, name))
        made = [*(paths.results / "tables").glob(f"{name}*.csv"), *paths.figures.glob(f"{name}*.p*")]
        results = [kept(path) for path in (*sorted(made), paths.build / f"notebooks/{name}.ipynb")]
        crate.add_action(notebook, object=read, result=results, properties={"name": f"notebook {name}"})
    crate.datePublished = max(times)
    target = paths.build / "reproduction.crate.zip"
    with atomic_file(target) as temporary:
        crate.write_zip(temporary)
    return target
