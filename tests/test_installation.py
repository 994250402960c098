"""The package installs where there is no repository, and the recipes for containers and Binder do what they say.

The environments are fresh but for what is large: the packages that xrcore declares, and those that they declare, are links to the ones
that are installed here. So a package that is used but not declared is missing, and nothing large is installed twice.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
INSTALLERS = ("pip", "setuptools")
OWN = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "MAKEFLAGS", "MFLAGS", "MAKELEVEL"}


def needed(extras: Iterable[str]) -> set[str]:
    """Names of the distributions that xrcore with these extras needs, and that these need."""
    wanted = [*PROJECT["dependencies"], *INSTALLERS, *(text for extra in extras for text in PROJECT["optional-dependencies"][extra])]
    open_, seen = list(map(Requirement, wanted)), set[tuple[str, frozenset[str]]]()
    while open_:
        one = open_.pop()
        if (key := (one.name.lower(), frozenset(one.extras))) in seen:
            continue
        seen.add(key)
        for text in distribution(one.name).requires or ():
            other = Requirement(text)
            if other.marker is None or any(other.marker.evaluate({"extra": extra}) for extra in ("", *one.extras)):
                open_.append(other)
    return {name for name, _ in seen}


def run(*command: object, at: Path, path: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command with the programs of an environment before others."""
    kept = {name: value for name, value in os.environ.items() if name not in OWN}
    variables = {"PATH": f"{path}:{kept['PATH']}", "PIP_NO_BUILD_ISOLATION": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1", **variables}
    done = subprocess.run(list(map(str, command)), cwd=at, env=kept | variables, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done


@pytest.fixture(scope="module")
def fresh() -> Callable[..., Path]:
    """Make an environment in a folder that holds what xrcore needs, but not xrcore."""

    def make(folder: Path, *extras: str) -> Path:
        venv.create(folder, symlinks=True)
        (site,) = folder.glob("lib/python*/site-packages")
        try:
            names = needed(extras)
        except PackageNotFoundError as error:
            pytest.skip(f"{error.name} is not installed here; make .venv/.gpu installs all")
        for name in names:
            one = distribution(name)
            for top in {file.parts[0] for file in one.files or ()} - {"..", "__pycache__"}:
                if not (site / top).exists():
                    (site / top).symlink_to(Path(str(one.locate_file(top))).absolute())
        return folder / "bin"

    return make


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The files that the repository holds, as a clone or `COPY . .` brings them."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    if listed.returncode:
        pytest.skip("no clone of the repository")
    for name in filter(None, listed.stdout.split("\0")):
        if name.startswith(("results/", "figures/", "tests/", "models/")) or not (ROOT / name).exists():
            continue
        (tmp_path / "clone" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, tmp_path / "clone" / name, follow_symlinks=False)
    return tmp_path / "clone"


def trusted(folder: Path) -> bool:
    return json.loads((folder / "demo" / "registration.json").read_text())["trusted"]


def test_the_wheel_works_outside_the_repository(fresh, clone, tmp_path):
    wheels, empty = tmp_path / "wheels", tmp_path / "empty"
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index", "-w", wheels, clone, at=tmp_path, path=Path(sys.prefix))
    (wheel,) = wheels.glob("*.whl")
    programs = fresh(tmp_path / "venv")
    run("python", "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel, at=tmp_path, path=programs)
    shutil.rmtree(clone)
    empty.mkdir()
    where = run("python", "-c", "import xrcore, companion; print(xrcore.__file__, companion.__file__)", at=empty, path=programs).stdout
    assert all(path.startswith(str(tmp_path / "venv")) for path in where.split())
    assert "verdict     trusted" in run("xrcore", "demo", at=empty, path=programs).stdout
    assert trusted(empty)
    assert "wrist-biplane" in run("xrcore", "data", "list", at=empty, path=programs).stdout


def instructions() -> list[tuple[str, str]]:
    """Of the Dockerfile: RUN, COPY and so on, with what follows."""
    text = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text())
    return [(word, rest) for word, rest in (line.split(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))]


def test_the_container_recipe_installs_and_runs_the_demo(fresh, clone):
    """Its commands, in a fresh environment; what is left out is the base image and its system packages."""
    steps = instructions()
    assert [word for word, _ in steps] == ["FROM", "RUN", "WORKDIR", "COPY", "ARG", "RUN", "CMD"]
    image = re.fullmatch(r"python:(3\.\d+)-slim", steps[0][1])
    assert image
    assert tuple(map(int, image[1].split("."))) >= (3, 11)
    programs = fresh(clone / ".venv", "notebooks", "workflow", "peers")
    run("sh", "-c", steps[5][1], at=clone, path=programs)
    run(*json.loads(steps[6][1]), at=clone, path=programs)
    assert trusted(clone)
    assert "snakemake" in run("make", "-n", "reproduce", "PROFILE=smoke", "SNAKEMAKE=snakemake", at=clone, path=programs).stdout


def test_binder_installs_the_notebooks(fresh, clone, tmp_path):
    programs = fresh(tmp_path / "venv", "notebooks")
    run("./.binder/postBuild", at=clone, path=programs)
    code = "import anywidget, ipywidgets, jupyterlab, k3d, xrcore.widgets; print(xrcore.__file__)"
    assert run("python", "-c", code, at=tmp_path, path=programs).stdout.strip().startswith(str(clone))
