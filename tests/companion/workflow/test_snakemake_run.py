"""The plan of the reproduction, its studies, and the workflow that runs them."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

import xrcore as xr
from companion.experiments import Phantom
from companion.studies import STUDIES, study
from companion.studies.ball import STEEL, WithBall, insert_ball
from companion.studies.paper import TABLES, paper_table
from companion.studies.paths import Paths
from companion.studies.plan import PROFILES, VARIANTS, Plan, slug
from companion.studies.report import Report
from companion.workflow.notebooks import NOTEBOOKS, execute
from companion.workflow.snakemake_run import run

ROOT = Path(__file__).parents[3]


# the plan


@pytest.mark.parametrize("profile", PROFILES)
def test_every_study_finds_its_trainings_in_the_plan(profile):
    plan = Plan.read(Paths(profile, ROOT).plan)
    used = {name for s in map(study, STUDIES) for part in s.parts(plan) for name in s.trainings(plan, part)}
    assert used == set(plan.trainings)
    setups = [training.setup for name, training in plan.trainings.items() if name.startswith("ablation/")]
    assert len(set(setups)) == len(setups) == len(VARIANTS) * len(plan.ablation.seeds)


@pytest.mark.parametrize("profile", PROFILES)
def test_the_ablation_differs_in_nothing_but_its_parts(profile):
    plan = Plan.read(Paths(profile, ROOT).plan)
    seed = plan.ablation.seeds[0]
    same = {"autoencoder": True, "attention": True, "scheme": "none", "set_size": None}
    settings = {plan.trainings[f"ablation/{variant.key}-{seed}"].settings.changed(**same) for variant in VARIANTS}
    assert len(settings) == 1


def test_the_profile_paper_has_the_papers_sizes():
    plan = Plan.read(Paths("paper", ROOT).plan)
    assert plan.ablation.poses == 3200
    assert {training.settings.architecture.pixels for training in plan.trainings.values() if training.settings.method == "psss"} == {256}
    assert len(plan.subjects) == 6


def broken(tmp_path: Path, text: str) -> str:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(xr.XrcoreError) as caught:
        Plan.read(path)
    message = str(caught.value)
    assert "\n" not in message
    assert "mine.yaml" in message
    return message


def test_a_broken_plan_is_refused_in_one_line(tmp_path):
    good = yaml.safe_load(Paths("smoke", ROOT).plan.read_text())
    assert "not valid YAML" in broken(tmp_path, "a: [1")
    assert "expected names and values" in broken(tmp_path, "- 1")
    assert "ablation: is missing" in broken(tmp_path, yaml.safe_dump({k: v for k, v in good.items() if k != "ablation"}))
    assert "no field 'colour'" in broken(tmp_path, yaml.safe_dump(good | {"colour": 1}))
    assert "no field 'pose'" in broken(tmp_path, yaml.safe_dump(good | {"cohort": {"settings": {}, "pose": 1}}))
    assert "'poses'" in broken(tmp_path, yaml.safe_dump(good | {"cohort": {"settings": {}}}))
    assert "patients or phantoms" in broken(tmp_path, yaml.safe_dump(good | {"patients": ["1"]}))
    assert "no patient '7'" in broken(tmp_path, yaml.safe_dump({k: v for k, v in good.items() if k != "phantoms"} | {"patients": ["7"]}))
    with pytest.raises(xr.XrcoreError, match="cannot be read"):
        Plan.read(tmp_path / "none.yaml")


def test_other_settings_are_another_setup():
    plan = Plan.read(Paths("smoke", ROOT).plan)
    more = replace(plan, cohort=replace(plan.cohort, poses=plan.cohort.poses + 1))
    for name in STUDIES:
        for part in study(name).parts(plan):
            assert (study(name).setup(plan, part) == study(name).setup(more, part)) == (name != "cohort")


# the ball


def test_the_ball_has_its_mass_and_its_place():
    volume = xr.phantom.pelvis(0, spacing=4.0)
    center = volume.isocenter + torch.tensor([7.3, -3.1, 11.7])
    with_ball = insert_ball(volume, center, 6.0)
    iron = with_ball.material("iron").double()
    voxel = math.prod(volume.spacing) / 1000  # [cm3]
    assert float(iron.sum()) * voxel == pytest.approx(STEEL * 4 / 3 * math.pi * 0.6**3, rel=0.02)
    index = torch.nonzero(iron).flip(-1).double()
    place = index @ volume.world_from_voxel[:3, :3].T + volume.world_from_voxel[:3, 3]
    weight = iron[iron > 0][:, None]
    torch.testing.assert_close((place * weight).sum(0) / weight.sum(), center.double(), atol=0.1, rtol=0)
    # what was there gave way, and nothing else changed
    full = iron > STEEL - 1e-4
    assert full.any()
    assert float(with_ball.density[:-1, full].abs().max()) == 0
    outside = iron == 0
    torch.testing.assert_close(with_ball.density[:-1, outside], volume.density[:, outside])


def test_the_ball_stays_where_it_is_at_every_spacing():
    subject = WithBall(Phantom(0))
    carm = xr.CArm(source_to_detector=1259.65, source_to_isocenter=742.5, shape=(128, 128), pixel_spacing=3.375)
    pose = xr.Pose(ry=20)
    expected = carm.project(
        pose.camera_from_world(carm, subject.volume(4.0).isocenter)[0, :3] @ torch.cat([subject.center, torch.ones(1)]).double()
    )
    for spacing in (2.0, 4.0):
        image = xr.render(subject.volume(spacing), carm, pose)[0] - xr.render(Phantom(0).volume(spacing), carm, pose)[0]
        weight = image.double().clamp_min(0)
        grid = torch.stack(torch.meshgrid(torch.arange(128.0), torch.arange(128.0), indexing="ij"), -1).double()
        seen = (grid * weight[..., None]).sum((0, 1)) / weight.sum()
        assert float(torch.linalg.norm(seen - expected.reshape(2))) < 0.5, spacing


# the paper's tables and the report


def test_the_papers_tables_agree_with_each_other():
    table1, table3, table4 = (paper_table(name) for name in (TABLES[0], TABLES[2], TABLES[3]))
    patients = table3[table3.index.str.startswith("dataset")]
    assert patients["mtre_mean"].mean() == pytest.approx(table1.loc["PSSS", "mtre_mm"], abs=6e-3)
    cases = table4.filter(like="case")
    assert (cases.mean(axis=1) - table4["mean"]).abs().max() < 2e-3
    assert cases.loc["PD"].std(ddof=0) == pytest.approx(table4.loc["PD", "std"], abs=2e-3)
    with pytest.raises(xr.XrcoreError, match="no table"):
        paper_table("table5")


def test_a_notebook_without_results_says_which_command_makes_them(tmp_path):
    shutil.copytree(ROOT / "workflow", tmp_path / "workflow")
    report = Report("mine", "laptop", root=tmp_path)
    for ask in (report.cases, report.images, report.origin):
        with pytest.raises(xr.XrcoreError, match="make reproduce PROFILE=laptop"):
            ask("ablation")
    with pytest.raises(xr.XrcoreError, match="no such profile"):
        Report("mine", "large", root=tmp_path)
    with pytest.raises(xr.XrcoreError, match="no such notebook"):
        execute(Paths("laptop", tmp_path), "mine")


def test_errors_are_one_line_in_a_notebook():
    assert xr.XrcoreError("wrong")._render_traceback_() == ["xrcore: error: wrong"]


def test_results_of_the_laptop_are_in_the_repository_with_where_they_come_from():
    for name in {name for studies in NOTEBOOKS.values() for name in studies}:
        report = Report("any", "laptop", root=ROOT)
        assert len(report.cases(name))
        origin = report.origin(name)
        assert len(origin["commit"]) == 40
        assert not origin["uncommitted"]
        assert {"seed", "machine", "minutes"} <= origin.keys()


# the workflow


def test_the_workflow_is_refused_where_it_cannot_run(tmp_path):
    with pytest.raises(xr.XrcoreError, match="unknown profile"):
        run("large", root=ROOT)
    with pytest.raises(xr.XrcoreError, match="holds no workflow"):
        run("smoke", root=tmp_path)


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """What of the repository the workflow needs, without any result."""
    root = tmp_path_factory.mktemp("clone")
    for folder in ("workflow", "notebooks", "benchmarks"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns(".ipynb_checkpoints", "__pycache__"))
    return root


def reproduce(root: Path, *options: str, cores: int = 2) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "xrcore", "reproduce", "--profile", "smoke", "--cores", str(cores), *options]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=1200)


def planned(root: Path, *options: str) -> dict[str, int]:
    """Jobs of each rule that a dry run names."""
    answer = reproduce(root, "--dry-run", *options)
    assert answer.returncode == 0, answer.stderr
    lines = (answer.stdout + answer.stderr).splitlines()
    words = [line.split() for line in lines]
    return {w[0]: int(w[1]) for w in words if len(w) == 2 and w[1].isdigit() and w[0] in RULES}


RULES = ("data", "train", "part", "gather", "notebook")


@pytest.mark.slow
def test_a_killed_run_goes_on_and_only_what_changed_runs_again(clone):
    pytest.importorskip("snakemake", reason="Snakemake is not installed (the workflow extra)")
    target, result = "build/smoke/gathered/cohort.json", clone / "results" / "smoke" / "cohort.csv"
    result.parent.mkdir(parents=True)
    result.write_text("what came with the clone\n")
    everything = planned(clone, "--", target)
    assert everything == {"train": 4, "part": 2, "gather": 1}

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
    assert planned(clone, "--", target) == {}

    plan = Plan.read(clone / "workflow" / "smoke.yaml")
    table = pd.read_csv(result)
    assert len(table) == len(plan.subjects) * 2 * 2 * plan.cohort.poses
    assert table["failure"].isna().all()
    origin = json.loads((clone / target).read_text())
    assert set(origin["trainings"]) == {f"cohort/{slug(s)}-{p}" for s in plan.subjects for p in ("paper", "acquired")}

    text = (clone / "workflow" / "smoke.yaml").read_text()
    more = yaml.safe_load(text)
    more["cohort"]["poses"] += 1
    (clone / "workflow" / "smoke.yaml").write_text(yaml.safe_dump(more))
    assert planned(clone, "--", target) == {"part": 2, "gather": 1}
    more["cohort"]["settings"]["images"] *= 2
    (clone / "workflow" / "smoke.yaml").write_text(yaml.safe_dump(more))
    assert planned(clone, "--", target) == {"train": 4, "part": 2, "gather": 1}
    # a model of other settings gives way to the new one
    one = "build/smoke/models/cohort/phantom-0-paper/origin.json"
    assert reproduce(clone, "--", one).returncode == 0
    assert json.loads((clone / one).read_text())["images"] == more["cohort"]["settings"]["images"]
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


@pytest.mark.slow
def test_the_studys_twin_of_the_wrist_is_found_where_it_is(clone):
    """Both cameras together know the pose; the study's own code on a wrist whose truth is known."""
    from companion.datasets.biplane import WristBiplane
    from companion.studies import wrist_views as wrist
    from companion.studies.simulated_wrist import write_wrist
    from xrcore.geometry import rigid

    case = next(iter(wrist.STARTS))
    truth = write_wrist(clone / "twin")[case]
    wrist.run(clone / "twin.csv", clone / "twin.npz", clone / "twin", seeds=[0], cases=[case])
    with np.load(clone / "twin.npz", allow_pickle=False) as kept:
        found = torch.from_numpy(kept[f"{case[0]}_{case[1]}_biplane_rig_from_ct"]).double()
    points = WristBiplane(clone / "twin").bone(case[0]).surface_points(32)
    assert float((rigid.apply(found, points) - rigid.apply(truth, points)).norm(dim=1).max()) < 0.2  # [mm]
    table = pd.read_csv(clone / "twin.csv")
    between = table[table["method"] == "camera 1 - camera 2"].iloc[0]
    assert between["out_of_depth_mm"] < 0.5
    assert between["angle_deg"] < 2
