"""The workflow: it goes on where it was killed, runs again what changed, and every notebook runs."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml

import xrcore as xr
from companion.studies.common.plan import Plan, slug
from companion.workflow.notebooks import NOTEBOOKS
from companion.workflow.snakemake_run import run

ROOT = Path(__file__).parents[3]


def test_the_workflow_is_refused_where_it_cannot_run(tmp_path):
    with pytest.raises(xr.XrcoreError, match="unknown profile"):
        run("large", root=ROOT)
    with pytest.raises(xr.XrcoreError, match="holds no workflow"):
        run("smoke", root=tmp_path)


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """What of the repository the workflow needs, without a result of its own."""
    root = tmp_path_factory.mktemp("clone")
    for folder in ("workflow", "notebooks", "benchmarks"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns(".ipynb_checkpoints", "__pycache__"))
    (root / "results").mkdir()
    shutil.copy(ROOT / "results" / "speed.json", root / "results")  # which notebook 08 reads
    return root


def reproduce(root: Path, *options: str, cores: int = 2) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "xrcore", "reproduce", "--profile", "smoke", "--cores", str(cores), *options]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=1200)


@pytest.fixture
def planned(clone, capfd):
    """Jobs of each rule that a dry run for a target names."""

    def call(target: str) -> dict[str, int]:
        capfd.readouterr()
        code = run("smoke", root=clone, dry_run=True, extra=[target])
        out, err = capfd.readouterr()
        assert code == 0, out + err
        words = [line.split() for line in (out + err).splitlines()]
        return {w[0]: int(w[1]) for w in words if len(w) == 2 and w[1].isdigit() and w[0] in RULES}

    return call


RULES = ("data", "train", "part", "kept_part", "gather", "notebook")


@pytest.mark.slow
def test_a_killed_run_goes_on_and_only_what_changed_runs_again(clone, planned):
    pytest.importorskip("snakemake", reason="Snakemake is not installed (the workflow extra)")
    target, result = "build/smoke/gathered/cohort.json", clone / "results" / "smoke" / "cohort.csv"
    result.parent.mkdir(parents=True)
    result.write_text("what came with the clone, of nobody knows which code\n")
    everything = planned(target)
    assert everything == {"train": 4, "kept_part": 4, "gather": 1}
    assert reproduce(clone, "--dry-run", "--", target).returncode == 0  # as the command line says it

    command = [sys.executable, "-m", "xrcore", "reproduce", "--profile", "smoke", "--cores", "1", "--", target]
    process = subprocess.Popen(command, cwd=clone, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    origins = clone / "build" / "smoke" / "models"
    deadline = time.monotonic() + 600
    while not list(origins.glob("*/*/origin.json")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    # Snakemake may call a training again whose end it did not see; the model is there, and stays
    kept = {path: path.stat().st_mtime_ns for path in origins.glob("*/*/model.json")}
    assert kept

    answer = reproduce(clone, "--", target)
    assert answer.returncode == 0, answer.stderr[-2000:]
    assert all(path.stat().st_mtime_ns == time_of for path, time_of in kept.items())
    assert planned(target) == {}

    plan = Plan.read(clone / "workflow" / "smoke.yaml")
    table = pd.read_csv(result)
    assert len(table) == len(plan.subjects) * 2 * 2 * plan.cohort.poses
    assert table["failure"].isna().all()
    origin = json.loads((clone / target).read_text())
    assert set(origin["trainings"]) == {plan.cohort_training(slug(s), p) for s in plan.subjects for p in ("paper", "acquired")}

    # another clone that has the rows, and no network: nothing is made anew that need not
    build = clone / "build"
    build.rename(clone / "elsewhere")
    assert planned(target) == {}
    (clone / "results" / "smoke" / "cohort.json").unlink()
    assert planned(target) == {"gather": 1}
    shutil.rmtree(build)
    (clone / "elsewhere").rename(build)
    assert reproduce(clone, "--", target).returncode == 0

    text = (clone / "workflow" / "smoke.yaml").read_text()
    more = yaml.safe_load(text)
    more["cohort"]["poses"] += 1
    (clone / "workflow" / "smoke.yaml").write_text(yaml.safe_dump(more))
    assert planned(target) == {"kept_part": 4, "gather": 1}
    more["networks"]["settings"]["images"] *= 2
    (clone / "workflow" / "smoke.yaml").write_text(yaml.safe_dump(more))
    assert planned(target) == {"train": 4, "kept_part": 4, "gather": 1}
    # a model of other settings gives way to the new one
    one = "build/smoke/models/cohort/phantom-1-implant-paper/origin.json"
    assert reproduce(clone, "--", one).returncode == 0
    assert json.loads((clone / one).read_text())["images"] == more["networks"]["settings"]["images"]
    (clone / "workflow" / "smoke.yaml").write_text(text)


def test_a_second_run_in_the_same_clone_is_refused(clone):
    fcntl = pytest.importorskip("fcntl", reason="no flock here")
    (clone / "build").mkdir(exist_ok=True)
    with (clone / "build" / ".reproduce").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        answer = reproduce(clone, "--dry-run")
    assert answer.returncode == 2
    assert "another `xrcore reproduce` is running" in answer.stderr


@pytest.mark.slow
def test_every_notebook_runs_in_profile_smoke_and_says_the_same_twice(clone):
    for module, extra in (("snakemake", "workflow"), ("papermill", "notebooks"), ("nbval", "dev")):
        pytest.importorskip(module, reason=f"{module} is not installed (the {extra} extra)")
    answer = reproduce(clone)
    assert answer.returncode == 0, (answer.stdout + answer.stderr)[-3000:]
    executed = clone / "build" / "smoke" / "notebooks"
    assert (executed.parent / "reproduction.crate.zip").read_bytes().startswith(b"PK")
    for name, studies in NOTEBOOKS.items():
        assert (executed / f"{name}.ipynb").exists()
        assert (clone / "results" / "smoke" / "tables" / f"{name}.csv").stat().st_size
        assert (clone / "figures" / "smoke" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert (clone / "figures" / "smoke" / f"{name}.pdf").read_bytes().startswith(b"%PDF")
        assert all((clone / "results" / "smoke" / f"{study}.json").exists() for study in studies)
    # nbval runs them again and compares the key cells
    options = ("--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout=300", "-p", "no:cacheprovider", "-q")
    again = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(executed)], cwd=clone, capture_output=True, text=True, timeout=1200
    )
    assert again.returncode == 0, again.stdout[-3000:]
    checked = [cell for path in executed.glob("*.ipynb") for cell in json.loads(path.read_text())["cells"]]
    tags = [tag for cell in checked for tag in cell["metadata"].get("tags", ())]
    assert tags.count("nbval-check-output") >= len(NOTEBOOKS)
