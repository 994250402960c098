"""One source of truth: pyproject.toml says what is needed, constraints.txt and environment.yml agree."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import xrcore

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONDA_NAMES = {"torch": "pytorch"}
FOR_CONDA = [extra for extra in ("notebooks", "workflow", "docs") if extra in PROJECT["optional-dependencies"]]


def requirements(*extras: str) -> dict[str, Requirement]:
    texts = [*PROJECT["dependencies"], *(text for extra in extras for text in PROJECT["optional-dependencies"][extra])]
    return {canonicalize_name(r.name): r for r in map(Requirement, texts)}


def pins() -> dict[str, str]:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9-]+==[\w.]+", line) for line in lines)
    return dict(line.split("==") for line in lines)


def test_each_requirement_is_pinned_within_its_limits():
    pinned = pins()
    # torch's CUDA builds ask for one version of Triton, each for another, which a pin would contradict
    assert "triton" not in pinned
    for name, requirement in requirements(*PROJECT["optional-dependencies"]).items():
        if name == "triton":
            continue
        assert name in pinned, f"constraints.txt lacks {name}"
        assert requirement.specifier.contains(pinned[name]), f"{requirement} excludes the pinned {pinned[name]}"


def test_constraints_keep_gpu_builds_away():
    # torchvision would replace a CPU build of torch by gigabytes of another
    assert pins()["torch"] == "2.13.0"
    assert not [name for name in pins() if name.startswith(("nvidia", "torchvision", "triton"))]


@pytest.mark.parametrize(("file", "user"), [("environment.yml", ()), (".binder/environment.yml", ("binder",))])
def test_environment_yml_is_what_pyproject_makes_it(file, user):
    command = [sys.executable, str(ROOT / "tools" / "environment.py"), *user]
    made = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert (ROOT / file).read_text() == made, f"run: python tools/environment.py {' '.join(user)} > {file}"


def test_environment_yml_says_the_same():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert environment["name"] == PROJECT["name"]
    entries = environment["dependencies"]
    (by_pip,) = (entry["pip"] for entry in entries if isinstance(entry, dict))
    assert by_pip[-1] == "-e ."
    by_conda = {r.name: r.specifier for r in map(Requirement, (e for e in entries if isinstance(e, str) and e != "pip"))}
    assert str(by_conda.pop("python")) == PROJECT["requires-python"]
    listed = by_conda | {r.name: r.specifier for r in map(Requirement, by_pip[:-1])}
    wanted = {CONDA_NAMES.get(name, name): r.specifier for name, r in requirements(*FOR_CONDA).items()}
    assert listed == wanted


def test_the_citation_names_this_version_and_the_paper():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert citation["message"]
    assert (citation["title"], citation["version"], citation["license"]) == (PROJECT["name"], xrcore.__version__, PROJECT["license"])
    assert citation["abstract"] == PROJECT["description"]
    assert citation["authors"]
    paper = citation["preferred-citation"]
    assert {"type", "title", "authors", "year", "doi"} <= paper.keys()
    assert all({"family-names", "given-names"} <= author.keys() for author in paper["authors"])
    assert paper["url"] == f"https://doi.org/{paper['doi']}"


@pytest.mark.parametrize("name", xrcore.__all__)
def test_the_public_surface_is_there(name: str):
    assert getattr(xrcore, name) is not None
    assert name in dir(xrcore)


def test_unknown_names_are_refused():
    with pytest.raises(AttributeError, match="No xrcore attribute rander"):
        _ = xrcore.rander


def test_importing_loads_nothing_heavy():
    code = "import sys, xrcore, xrcore.cli; print(*sys.modules)"
    loaded = set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())
    assert not loaded & {"torch", "numba", "numpy", "SimpleITK", "matplotlib", "pydicom"}


def test_geometry_does_not_load_torchs_compiler():
    code = "import sys, xrcore.geometry; print(*sys.modules)"
    loaded = set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())
    assert "roma" in loaded
    assert "torch._dynamo" not in loaded


def test_measuring_needs_no_library_that_only_draws():
    code = "import sys, companion.workflow.__main__, companion.studies.common.base, companion.studies.common.trainings; print(*sys.modules)"
    loaded = set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())
    assert "torch" in loaded
    assert not loaded & {"seaborn", "IPython", "ipywidgets", "anywidget"}


def test_what_runs_notebooks_and_packs_them_does_not_wait_for_torch():
    code = "import sys, companion.workflow.notebooks, companion.workflow.ro_crate; print(*sys.modules)"
    loaded = set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())
    assert not loaded & {"torch", "numba", "pandas"}
