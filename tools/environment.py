"""Print environment.yml, for those who prefer conda, from the requirements in pyproject.toml.

    python tools/environment.py > environment.yml

A test compares the two, so that nobody edits the one without the other.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
CONDA_NAMES = {"torch": "pytorch"}  # besides capitals, which conda does not use
PIP_ONLY = {"efficientnet-pytorch", "k3d", "roma", "snakemake", "snakemake-executor-plugin-slurm"}  # not on conda-forge
SECTIONS = {
    "": "the core",
    "notebooks": "the notebooks",
    "workflow": "the workflow",
    "docs": "the documentation",
}  # by extra, those that exist

HEADER = """\
# For those who prefer conda: conda env create -f environment.yml && conda activate xrcore
# Written by tools/environment.py from the requirements in pyproject.toml, which is the file to edit.
name: {name}
channels:
  - conda-forge
dependencies:
  - python{python}
  - pip
"""


def split(requirement: str) -> tuple[str, str]:
    """("torch", ">=2.4") of "torch>=2.4"."""
    found = re.fullmatch(r"([A-Za-z0-9._-]+)\s*([<>=!~][^;\[]*)?", requirement)
    if found is None:
        raise SystemExit(f"pyproject.toml: {requirement!r} is not a plain name and version; teach tools/environment.py")
    return found[1].lower(), (found[2] or "").strip()


def environment(project: dict) -> str:
    """The text of environment.yml. project: the table of that name in pyproject.toml."""
    by_extra = {"": project["dependencies"], **project["optional-dependencies"]}
    lines, by_pip, seen = [], [], set()
    for extra, title in SECTIONS.items():
        here = []
        for name, versions in map(split, by_extra.get(extra, ())):
            if name in seen:
                continue
            seen.add(name)
            (by_pip if name in PIP_ONLY else here).append(CONDA_NAMES.get(name, name) + versions)
        lines += [f"  # {title}", *(f"  - {entry}" for entry in sorted(here))] if here else []
    lines += ["  # not on conda-forge, and xrcore itself", "  - pip:", *(f"      - {entry}" for entry in [*sorted(by_pip), "-e ."])]
    return HEADER.format(name=project["name"], python=project["requires-python"]) + "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(environment(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]), end="")
