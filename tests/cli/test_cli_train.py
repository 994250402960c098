"""`xrcore train`, and `xrcore register --initial MODEL`, as a user types them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import Done
from support.ct_files import write_pelvis

from xrcore.cli.train import _begin as begin
from xrcore.geometry import CArm, Pose
from xrcore.learning import fine_tuning, profile, train_start
from xrcore.learning.training import start_models
from xrcore.phantom import pelvis
from xrcore.renderer import render
from xrcore.xray import write_carm, write_xray

CARM = CArm(source_to_detector=1259.65, source_to_isocenter=742.5, shape=(96, 96), pixel_spacing=4.5)
SMALL = ("--profile", "smoke", "--images", "48", "--set", "batch=8", "--set", "validation=4", "--protocol", "paper")


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ct.nii.gz, carm.yaml and xray.dcm."""
    folder = tmp_path_factory.mktemp("case")
    write_pelvis(folder / "ct.nii.gz", 3, 6.0)
    write_carm(folder / "carm.yaml", CARM)
    write_xray(folder / "xray.dcm", render(pelvis(3, 6.0), CARM, Pose(rx=4, ry=-5, tx=8))[0], CARM, None)
    return folder


def train(run: Callable[..., Done], case: Path, out: Path, *more: object) -> Done:
    return run("train", case / "ct.nii.gz", "--carm", case / "carm.yaml", "--out", out, *SMALL, *more)


def test_trains_and_serves_a_registration(run, case: Path, tmp_path: Path):
    done = train(run, case, tmp_path / "model")
    assert done.code == 0, done.err
    assert "validation" in done.out
    kept = {p.name.split("-")[0] for p in (tmp_path / "model").iterdir()}
    assert kept == {"model.json", "model", "log.csv", "training.png"}
    record = json.loads((tmp_path / "model" / "model.json").read_text())
    assert record["training"]["images"] == 48
    assert record["settings"]["batch"] == 8
    found = run("register", case / "ct.nii.gz", case / "xray.dcm", "--spacing", 6, "--initial", tmp_path / "model", "--out", tmp_path / "r")
    assert found.code in (0, 3), found.err
    written = json.loads((tmp_path / "r" / "registration.json").read_text())
    assert written["inputs"]["model"]["sha256"]
    assert "predict" in found.out


def test_a_finished_training_is_neither_overwritten_nor_repeated(run, case: Path, tmp_path: Path):
    assert train(run, case, tmp_path / "m").code == 0
    before = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "m").glob("model*")}
    refused = train(run, case, tmp_path / "m")
    assert refused.code == 2
    assert "holds a trained model" in refused.err
    assert train(run, case, tmp_path / "m", "--resume").code == 0
    other = train(run, case, tmp_path / "m", "--resume", "--seed", 5)
    assert other.code == 2
    assert "seed=0, not 5" in other.err
    assert {p.name: p.stat().st_mtime_ns for p in (tmp_path / "m").glob("model*")} == before


def test_fine_tunes(run, case: Path, tmp_path: Path):
    assert train(run, case, tmp_path / "a").code == 0
    assert train(run, case, tmp_path / "b", "--start", tmp_path / "a").code == 0
    record = json.loads((tmp_path / "b" / "model.json").read_text())
    assert record["training"]["start"] == {"images": 48, "patients": 1, "same_patient": True}
    # with another normalisation too
    assert train(run, case, tmp_path / "c", "--start", tmp_path / "a", "--set", "normalisation=rank", "--protocol", "clinical").code == 0
    settings = json.loads((tmp_path / "c" / "model.json").read_text())["settings"]
    assert settings["acquired"]
    assert settings["clinical"]


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A start model of the smoke profile's network in the place of the one that is shipped."""
    volumes = [pelvis(seed, 8.0) for seed in (1, 2)]
    settings = profile("smoke").changed(images=16, batch=8, validation=4)
    train_start(volumes, CARM, settings, out=tmp_path / "start")
    monkeypatch.setattr(start_models, "_SHIPPED", tmp_path / "start")
    return tmp_path / "start"


def began(folder: Path) -> dict:
    return json.loads((folder / "model.json").read_text())["training"]["start"]


def test_begins_with_the_start_model_where_it_fits(run, case: Path, shipped: Path, tmp_path: Path):
    done = train(run, case, tmp_path / "m")
    assert done.code == 0, done.err
    assert f"the start model in {shipped}, 48 images" in done.out
    assert began(tmp_path / "m") == {"images": 16, "patients": 2, "same_patient": False}
    scratch = train(run, case, tmp_path / "scratch", "--start", "none")
    assert "from scratch" in scratch.out
    assert began(tmp_path / "scratch") == {}
    # a network that is not the start model's
    other = train(run, case, tmp_path / "other", "--set", "tokens=16")
    assert "from scratch: the start model has tokens=32, this training tokens=16" in other.out
    assert began(tmp_path / "other") == {}
    refused = train(run, case, tmp_path / "refused", "--set", "tokens=16", "--start", shipped)
    assert refused.code == 2
    assert "tokens=32" in refused.err
    assert not (tmp_path / "refused").exists()


def test_without_the_repository_it_begins_from_scratch_and_says_so(run, case: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(start_models, "_SHIPPED", tmp_path / "nowhere")
    done = train(run, case, tmp_path / "m")
    assert "from scratch: there is no start model" in done.out
    assert began(tmp_path / "m") == {}


def test_a_start_model_needs_few_images_unless_told_otherwise(shipped: Path):
    smoke = profile("smoke")
    assert begin(None, smoke, {})[1].images == fine_tuning(smoke).images <= 4000
    assert begin(str(shipped), smoke, {})[1] == fine_tuning(smoke)
    more = begin(None, smoke.changed(images=9000, batch=16), {"images": 9000, "batch": 16})[1]
    assert (more.images, more.batch, more.ema) == (9000, 16, fine_tuning(smoke).ema)
    assert begin("none", smoke, {})[1] == smoke


def test_a_start_model_is_no_initial_pose(run, case: Path, shipped: Path, tmp_path: Path):
    done = run("register", case / "ct.nii.gz", case / "xray.dcm", "--spacing", 6, "--initial", shipped, "--out", tmp_path / "r")
    assert done.code == 2
    assert "start model, trained on 2 CTs" in done.err
    assert not (tmp_path / "r").exists()


def test_what_the_user_sets_wins_over_the_method(run, case: Path, tmp_path: Path):
    assert train(run, case, tmp_path / "s", "--method", "salehi", "--set", "pixels=64", "--set", "learning_rate=2e-4").code == 0
    settings = json.loads((tmp_path / "s" / "model.json").read_text())["settings"]
    assert settings["optimiser"] == "sgd"  # the method's
    assert settings["architecture"]["pixels"] == 64
    assert settings["learning_rate"] == 2e-4


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--set", "nosuch=1"), "no field 'nosuch'"),
        (("--set", "batch"), "FIELD=VALUE"),
        (("--set", "batch=many"), "batch must be"),
        (("--set", "pixels=100"), "multiple of"),
        (("--set", "pixels=99999999999999999999"), "32 to 2048"),
        (("--set", "hidden=1e9"), "1 to 4096"),
        (("--set", "pixels=2048", "--set", "bottleneck=4096", "--set", "hidden=4096", "--set", "attention=false"), "reduce pixels"),
        (("--set", "learning_rate=1e999"), "positive number"),
        (("--set", "spacing=-1e308"), "positive number"),
        (("--set", "batch=1e400"), "batch must be"),
        (("--set", "seed=" + "9" * 90), "seed must be"),
        (("--set", "images=" + "9" * 400), "not a value"),
        (("--rotation", "1,2"), "three numbers"),
        (("--translation", "a,b,c"), "three numbers"),
        (("--translation", "900,900,900"), "too small"),
        (("--profile", "desktop"), "laptop"),
        (("--method", "magic"), "psss"),
        (("--scheme", "shrinking"), "growing"),
        (("--protocol", "exact"), "acquired, clinical or paper"),
        (("--device", "cuda:9"), "not available"),
        (("--start", "nowhere"), "no such file or folder"),
    ],
)
def test_bad_input_ends_in_one_line(run, case: Path, tmp_path: Path, more, message: str):
    done = train(run, case, tmp_path / "out", *more)
    assert done.code == 2
    last = done.err.strip().splitlines()[-1]
    assert last.startswith("xrcore: ")
    assert message in last
    assert "Traceback" not in done.err
    assert not (tmp_path / "out").exists()


def test_a_model_of_another_geometry_is_refused(run, case: Path, tmp_path: Path):
    assert train(run, case, tmp_path / "model").code == 0
    other = CArm(source_to_detector=1000, source_to_isocenter=600, shape=(96, 96), pixel_spacing=4.5)
    write_carm(tmp_path / "other.yaml", other)
    done = run(
        "register", case / "ct.nii.gz", case / "xray.dcm", "--carm", tmp_path / "other.yaml", "--spacing", 6, "--initial",
        tmp_path / "model", "--out", tmp_path / "r",
    )  # fmt: skip
    assert done.code == 2
    assert "source_to_detector" in done.err
    assert not (tmp_path / "r").exists()


def test_an_empty_folder_is_no_model(run, case: Path, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    done = run("register", case / "ct.nii.gz", case / "xray.dcm", "--initial", tmp_path / "empty", "--out", tmp_path / "r")
    assert done.code == 2
    assert "model.json: not found" in done.err
