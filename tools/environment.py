"""Print environment.yml, for those who prefer conda, or that of Binder, from the requirements in pyproject.toml.

    python tools/environment.py > environment.yml
    python tools/environment.py binder > .binder/environment.yml

A test compares them, so that nobody edits the one without the others. Binder installs xrcore itself by .binder/postBuild.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
CONDA_NAMES = {"torch": "pytorch"}  # besides capitals, which conda does not use
PIP_ONLY = {"efficientnet-pytorch", "k3d", "rocrate", "roma", "snakemake", "snakemake-executor-plugin-slurm"}  # not on conda-forge
SECTIONS = {
    "": "the core",
    "notebooks": "the notebooks",
    "workflow": "the workflow",
    "docs": "the documentation",
}  # by extra, those that exist

PURPOSES = {
    "conda": "For those who prefer conda: conda env create -f environment.yml && conda activate xrcore",
    "binder": "What Binder installs for the notebooks; conda's PyTorch is built for CPUs where there is no GPU",
}

HEADER = """\
# {purpose}
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


def environment(project: dict, user: str = "conda") -> str:
    """The text of environment.yml. project: the table of that name in pyproject.toml; user: conda, or binder for notebooks alone."""
    by_extra = {"": project["dependencies"], **project["optional-dependencies"]}
    lines, by_pip, seen = [], [], set()
    for extra, title in SECTIONS.items():
        if user == "binder" and extra not in ("", "notebooks"):
            continue
        here = []
        for name, versions in map(split, by_extra.get(extra, ())):
            if name in seen:
                continue
            seen.add(name)
            (by_pip if name in PIP_ONLY else here).append(CONDA_NAMES.get(name, name) + versions)
        lines += [f"  # {title}", *(f"  - {entry}" for entry in sorted(here))] if here else []
    itself = [] if user == "binder" else ["-e ."]
    lines += [f"  # not on conda-forge{', and xrcore itself' if itself else ''}", "  - pip:"]
    lines += [f"      - {entry}" for entry in [*sorted(by_pip), *itself]]
    return HEADER.format(purpose=PURPOSES[user], name=project["name"], python=project["requires-python"]) + "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(environment(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"], *sys.argv[1:]), end="")
