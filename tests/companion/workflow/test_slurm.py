"""The workflow runs unchanged on Slurm: a one-node cluster on this machine, jobs handed to it by Snakemake's executor plugin."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from companion.studies.common.paths import Paths
from companion.studies.common.plan import Plan

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
SCRIPTS = Path(__file__).parent / "slurm"
DAEMONS = ("munged", "slurmctld", "slurmd", "sbatch")
SNAKEMAKE = Path(sys.executable).with_name("snakemake")

# two jobs in a row, each telling which Slurm job it was
TOY = """
rule second:
    input: "first.txt"
    output: "second.txt"
    threads: 3
    shell: "cat {input} > {output}; echo second $SLURM_JOB_ID >> {output}"

rule first:
    output: "first.txt"
    shell: "echo first $SLURM_JOB_ID > {output}"
"""


def obstacle() -> str | None:
    """Why there can be no Slurm here."""
    path = os.environ["PATH"] + os.pathsep + "/usr/sbin"
    absent = [name for name in DAEMONS if shutil.which(name, path=path) is None]
    if absent:
        return f"no {', '.join(absent)}: apt-get install slurmctld slurmd munge slurm-client"
    if os.geteuid() != 0:
        return "slurmd needs root"
    if find_spec("snakemake_executor_plugin_slurm") is None or not SNAKEMAKE.exists():
        return "snakemake and snakemake-executor-plugin-slurm are not installed"
    return None


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a running one-node Slurm."""
    if reason := obstacle():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("slurm")
    started = subprocess.run([SCRIPTS / "start.sh", folder], capture_output=True, text=True)
    assert started.returncode == 0, started.stderr
    assert started.stdout.splitlines()[-1] == f"SLURM_CONF={folder}/slurm.conf"
    yield folder
    subprocess.run([SCRIPTS / "stop.sh", folder], check=True)
    assert not (folder / "run").exists()


@pytest.fixture
def submit(cluster: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run Snakemake as a user of a cluster would: our profile, and what only this cluster needs (no accounting; no time to lose)."""

    def call(*arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
        command = [SNAKEMAKE, "--profile", ROOT / "workflow" / "slurm", "--slurm-status-command=squeue"]
        command += ["--slurm-init-seconds-before-status-checks=1", f"--slurm-logdir={cluster / 'jobs'}", "--retries=0", *arguments]
        environment = os.environ | {"SLURM_CONF": str(cluster / "slurm.conf"), "OMP_NUM_THREADS": "1"}
        return subprocess.run(list(map(str, command)), cwd=folder, env=environment, capture_output=True, text=True, timeout=1200)

    return call


def finished(cluster: Path) -> dict[int, dict[str, str]]:
    """What Slurm itself wrote down of each job, by its number."""
    log = cluster / "log" / "jobs.txt"
    records = [dict(re.findall(r"(\w+)=(\S*)", line)) for line in log.read_text().splitlines()] if log.exists() else []
    return {int(record["JobId"]): record for record in records}


def test_each_rule_is_a_job_of_its_own(cluster, submit, tmp_path):
    (tmp_path / "Snakefile").write_text(TOY)
    before = finished(cluster).keys()
    done = submit(folder=tmp_path)
    assert done.returncode == 0, done.stderr
    jobs = {number: job for number, job in finished(cluster).items() if number not in before}
    told = dict(line.split() for line in (tmp_path / "second.txt").read_text().splitlines())
    assert told.keys() == {"first", "second"}
    assert sorted(jobs) == [int(told["first"]), int(told["second"])]
    assert {job["JobState"] for job in jobs.values()} == {"COMPLETED"}
    assert [job["ProcCnt"] for job in jobs.values()] == ["1", "3"]
    assert {job["WorkDir"] for job in jobs.values()} == {str(tmp_path)}

    again = submit(folder=tmp_path)
    assert "Nothing to be done" in again.stdout + again.stderr


def test_a_training_of_the_workflow_runs_there_unchanged(cluster, submit, tmp_path):
    (tmp_path / "workflow").symlink_to(ROOT / "workflow")  # so that what it makes lies here
    (tmp_path / "notebooks").symlink_to(ROOT / "notebooks")
    training = next(iter(Plan.read(ROOT / "workflow" / "smoke.yaml").trainings))
    origin = Paths("smoke").origin(training)
    before = finished(cluster).keys()
    done = submit("-s", "workflow/Snakefile", "--config", "profile=smoke", "--", origin, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert {"commit", "seed", "machine", "minutes"} <= json.loads((tmp_path / origin).read_text()).keys()
    (job,) = (job for number, job in finished(cluster).items() if number not in before)
    assert job["JobState"] == "COMPLETED"
    assert job["WorkDir"] == str(tmp_path)
    assert "mem=3000M" in job["Tres"]  # what the rule asks for, not the profile's default


def test_a_folder_in_use_is_refused_and_its_cluster_left_alone(cluster):
    again = subprocess.run([SCRIPTS / "start.sh", cluster], capture_output=True, text=True)
    assert again.returncode == 1
    assert "take a fresh folder" in again.stderr
    environment = os.environ | {"SLURM_CONF": str(cluster / "slurm.conf")}
    asked = subprocess.run(["sinfo", "--noheader", "--format=%T"], env=environment, capture_output=True, text=True)
    assert asked.stdout.strip() == "idle"
