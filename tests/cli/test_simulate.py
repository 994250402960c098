"""`xrcore simulate`: an X-ray as acquired, with the truth beside."""

from __future__ import annotations

import json
from pathlib import Path

import pydicom
import pytest
import torch
from support.ct_files import write_pelvis

from xrcore.ct import read_ct
from xrcore.geometry import CArm, Pose
from xrcore.registration.registration_files import read_pose
from xrcore.simulation import Acquisition
from xrcore.simulation import simulate as acquire
from xrcore.xray import read_xray, write_carm

CARM = CArm(source_to_detector=1259.65, source_to_isocenter=742.5, shape=(48, 48), pixel_spacing=9.0)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ct.nii.gz and carm.yaml."""
    folder = tmp_path_factory.mktemp("case")
    write_pelvis(folder / "ct.nii.gz", 3, 8.0)
    write_carm(folder / "carm.yaml", CARM)
    return folder


def simulate(run, case: Path, out: Path, *more: object):
    return run("simulate", case / "ct.nii.gz", "--carm", case / "carm.yaml", "--spacing", 8, "--out", out, *more)


@pytest.mark.parametrize(
    ("name", "files"), [("x.dcm", {"x.dcm"}), ("x.tif", {"x.tif", "x.carm.yaml"}), ("x.png", {"x.png", "x.carm.yaml"})]
)
def test_the_truth_lies_beside_the_xray_and_not_in_it(run, case, tmp_path, name, files):
    done = simulate(run, case, tmp_path / name, "--pose", "3,-8,2,5,-4,10", "--seed", 7)
    assert done.code == 0, done.err
    assert {path.name for path in tmp_path.iterdir()} == {name, "x.truth.json", *([] if name == "x.dcm" else ["x.carm.yaml"])}
    volume = read_ct(case / "ct.nii.gz", 8.0)
    truth = read_pose(str(tmp_path / "x.truth.json"), CARM, volume.isocenter)
    assert truth.numbers[0].tolist() == [3, -8, 2, 5, -4, 10]
    beside = tmp_path / "x.carm.yaml"
    xray = read_xray(tmp_path / name, beside if beside.exists() else None)
    assert xray.pose is None
    if name == "x.dcm":
        assert "PositionerPrimaryAngle" not in pydicom.dcmread(tmp_path / name)
    wanted = acquire(volume, CARM, truth, seed=7)
    seen = wanted.mask
    got, want = xray.image[seen].double(), wanted.image[seen].double()
    assert torch.corrcoef(torch.stack([got, want]))[0, 1] > 0.9999


def test_settings_and_a_random_pose_are_recorded_and_repeat(run, case, tmp_path):
    for name in ("a.tif", "b.tif"):
        assert simulate(run, case, tmp_path / name, "--seed", 5, "--set", "photons=500", "--set", "mask=rectangle").code == 0
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()
    truth = json.loads((tmp_path / "a.truth.json").read_text())
    assert Acquisition(**truth["acquisition"]) == Acquisition(photons=500, mask="rectangle")
    drawn = Pose.random(generator=torch.Generator().manual_seed(5))
    assert list(truth["pose"].values()) == pytest.approx(drawn.numbers[0].tolist())
    assert truth["inputs"]["ct"]["sha256"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--set", "fotons=3"), "there is no fotons; choose from kilovolts"),
        (("--set", "photons"), "expected FIELD=VALUE"),
        (("--set", "bits=99"), "bits must be"),
        (("--pose", "sideways"), "neither six numbers"),
        (("--seed", 2**64), "--seed"),
        (("--set", "photons=1e300"), "photons must be"),
        (("--set", "tool=1e8"), "tool must be"),
    ],
)
def test_what_makes_no_sense_is_told_and_nothing_written(run, case, tmp_path, more, said):
    done = simulate(run, case, tmp_path / "x.dcm", *more)
    assert done.code == 2
    assert said in done.err
    assert len(done.err.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_what_is_in_the_way_is_told(run, case, tmp_path):
    (tmp_path / "x.truth.json").mkdir()
    assert "x.truth.json: a folder of this name" in simulate(run, case, tmp_path / "x.dcm").err
    assert "must end in" in simulate(run, case, tmp_path / "x.jpg").err


def test_the_geometry_that_is_read_is_not_replaced(run, case, tmp_path):
    given = tmp_path / "x.carm.yaml"
    given.write_bytes((case / "carm.yaml").read_bytes() + b"# mine\n")
    for command in ("simulate", "render"):
        done = run(command, case / "ct.nii.gz", "--carm", given, "--spacing", 8, "--out", tmp_path / "x.png")
        assert (done.code, "would replace a file that is read" in done.err) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == ["x.carm.yaml"]
    assert given.read_bytes().endswith(b"# mine\n")
