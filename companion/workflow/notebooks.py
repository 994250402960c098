"""The notebooks of the reproduction: what each reads, and how it is run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from companion.studies.common.paths import Paths
from companion.workflow.figure_sources import record_sources
from xrcore import XrcoreError
from xrcore.utilities import check_writable, read_json

# the studies whose results a notebook reads
NOTEBOOKS: dict[str, tuple[str, ...]] = {
    "02_table1_comparison": ("comparison",),
    "03_table2_refinement": ("cases",),
    "04_table3_ablation": ("ablation",),
    "05_table3_patients": ("cohort",),
    "06_table4_xray_cases": ("cases",),
    "07_real_xrays": ("wrist", "head"),
    "08_speed": ("speed",),
}


def execute(paths: Paths, name: str) -> Path:
    """Run a notebook on a profile's results by papermill, and keep its table and figure in results/ and figures/.

    The figure carries hashes of what it was made from, by which `figure_sources.changed_sources` notices a stale one.

    Parameters
    ----------
    paths : Paths
        Of the profile.
    name : str
        Of the notebook, without suffix.

    Returns
    -------
    Path
        The executed copy in build/PROFILE/notebooks.

    Raises
    ------
    XrcoreError
        If there is no such notebook, it lacks a parameter, or it fails.
    """
    made = _execute(paths, name, {"profile": paths.profile, "keep": True}, paths.build / "notebooks")
    for figure in paths.figures.glob(f"{name}*.png"):
        record_sources(figure, sources(paths, name), paths.root)
    return made


def sources(paths: Paths, name: str) -> list[Path]:
    """List what a notebook's table and figure are made from: itself, and results.

    Parameters
    ----------
    paths : Paths
        Of the profile.
    name : str
        Of the notebook, without suffix.

    Returns
    -------
    list of Path
        Files.
    """
    read = [paths.root / "notebooks" / f"{name}.ipynb", *(paths.result(study) for study in NOTEBOOKS[name])]
    read += [images for study in NOTEBOOKS[name] if (images := paths.result(study, ".npz")).exists()]
    if "speed" in NOTEBOOKS[name]:  # beside which the renderer's own times are shown
        read.append(paths.root / "results" / "speed.json")
    if "ablation" in NOTEBOOKS[name] and paths.result("ablation", ".json").exists():  # whose trainings' courses are drawn
        read += [paths.curve(training) for training in read_json(paths.result("ablation", ".json"))["trainings"]]
    return read


def execute_all(paths: Paths) -> None:
    """Run every notebook into `paths.pages`, also those that need no results, unless a copy there is newer than what it reads.

    Parameters
    ----------
    paths : Paths
        Of the profile.

    Raises
    ------
    XrcoreError
        If results are lacking, or a notebook fails.
    """
    for source in sorted((paths.root / "notebooks").glob("*.ipynb")):
        needed = sources(paths, source.stem) if source.stem in NOTEBOOKS else []
        for path in needed:
            if not path.exists():
                raise XrcoreError(f"{path}: not there yet; `make reproduce PROFILE={paths.profile}` makes it")
        made = paths.pages / source.name
        if not made.exists() or any(path.stat().st_mtime > made.stat().st_mtime for path in (source, *needed)):
            print(f"running {source} ...", flush=True)
            _execute(paths, source.stem, {"profile": paths.profile} if needed else {}, paths.pages)


def _execute(paths: Paths, name: str, parameters: dict[str, Any], folder: Path) -> Path:
    import papermill
    from papermill.exceptions import PapermillExecutionError

    source = paths.root / "notebooks" / f"{name}.ipynb"
    if not source.exists():
        raise XrcoreError(f"{source}: there is no such notebook")
    # papermill itself only warns of a parameter that a notebook does not have
    if unknown := sorted(parameters.keys() - papermill.inspect_notebook(str(source)).keys()):
        raise XrcoreError(f"{source}: has no parameter `{unknown[0]}`")
    target = folder / f"{name}.ipynb"
    check_writable(folder, target.name, f".{target.name}")
    target.parent.mkdir(parents=True, exist_ok=True)
    growing = target.with_name(f".{target.name}")
    os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    try:
        papermill.execute_notebook(str(source), str(growing), parameters, cwd=str(source.parent), progress_bar=False, log_output=False)
    except PapermillExecutionError as error:
        raise XrcoreError(f"{source}: failed ({error.ename}: {error.evalue}); {growing} shows where") from None
    except RuntimeError as error:  # of a kernel that died, or never came
        raise XrcoreError(f"{source}: {' '.join(str(error).split())}, perhaps for want of memory") from None
    growing.replace(target)
    return target
