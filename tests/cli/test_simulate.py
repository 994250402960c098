"""`xrcore simulate`: an X-ray as acquired, with the truth beside."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
import torch
import trimesh
from support.ct_files import write_pelvis

from xrcore.ct import place_mesh, read_ct
from xrcore.geometry import CArm, Pose
from xrcore.phantom import pelvis_labels
from xrcore.registration.registration_files import read_pose
from xrcore.simulation import Acquisition
from xrcore.simulation import simulate as acquire
from xrcore.xray import Xray, read_xray, write_carm

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


def alike(xray: Xray, wanted: Xray) -> bool:
    """Within the mask, but for grey levels."""
    seen = wanted.mask & xray.mask
    return bool(torch.corrcoef(torch.stack([xray.image[seen], wanted.image[seen]]).double())[0, 1] > 0.9999)


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
    assert alike(xray, acquire(volume, CARM, truth, seed=7))


def test_settings_and_a_random_pose_are_recorded_and_repeat(run, case, tmp_path):
    for name in ("a.tif", "b.tif"):
        assert simulate(run, case, tmp_path / name, "--seed", 5, "--set", "kilovolts=60", "--set", "mask=rectangle").code == 0
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()
    truth = json.loads((tmp_path / "a.truth.json").read_text())
    assert Acquisition(**truth["acquisition"]) == Acquisition(kilovolts=60, mask="rectangle")
    drawn = Pose.random(generator=torch.Generator().manual_seed(5))
    assert list(truth["pose"].values()) == pytest.approx(drawn.numbers[0].tolist())
    assert truth["inputs"]["ct"]["sha256"]
    volume = read_ct(case / "ct.nii.gz", 8.0)
    wanted = acquire(volume, CARM, drawn, settings=Acquisition(kilovolts=60, mask="rectangle"), seed=5)
    assert alike(read_xray(tmp_path / "a.tif", tmp_path / "a.carm.yaml"), wanted)
    assert np.allclose(truth["camera_from_world"], drawn.camera_from_world(CARM, volume.isocenter)[0])


def test_of_the_ct_only_what_is_asked_for_is_seen_and_what_is_placed_into_it(run, case, tmp_path):
    labels, grid, values = pelvis_labels(3, 8.0)
    image = sitk.GetImageFromArray(labels)
    image.CopyInformation(sitk.ReadImage(str(case / "ct.nii.gz")))
    sitk.WriteImage(image, str(tmp_path / "labels.nrrd"))
    keep, (x, y, z) = [values["sacrum"]], grid[:3, 3] + 0.5 * np.diag(grid)[:3] * labels.shape[::-1]
    box = [x - 150, x + 90, y - 100, y + 100, z - 80, z + 110]
    ball = trimesh.creation.icosphere(2, 25.0)
    ball.apply_translation([x + 50, y, z])
    ball.export(tmp_path / "ball.stl")
    given = {
        ("--labels", tmp_path / "labels.nrrd", "--keep", keep[0]): read_ct(case / "ct.nii.gz", 8.0, labels=image, keep=keep),
        ("--crop", ",".join(map(str, box)), "--body", "--mesh", tmp_path / "ball.stl", "--material", "steel"): place_mesh(
            read_ct(case / "ct.nii.gz", 8.0, crop=box, body=True), tmp_path / "ball.stl", "steel"
        ),
    }
    for more, volume in given.items():
        assert simulate(run, case, tmp_path / "x.tif", "--pose", "ap", *more).code == 0
        assert alike(read_xray(tmp_path / "x.tif", tmp_path / "x.carm.yaml"), acquire(volume, CARM, Pose(), seed=0))


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


def test_the_truth_of_an_xray_that_a_rendering_replaces_does_not_stay(run, case, tmp_path):
    truth = tmp_path / "x.truth.json"
    assert simulate(run, case, tmp_path / "x.png", "--seed", 5).code == 0
    assert json.loads(truth.read_text())["options"]["spacing"] == 8.0
    words = ("render", case / "ct.nii.gz", "--spacing", 8, "--out", tmp_path / "x.png", "--pose")
    assert run(*words, truth).code == 0
    assert truth.exists()  # still the pose that the image shows
    assert run(*words, "lateral").code == 0
    assert not truth.exists()


def test_the_truth_of_an_xray_of_the_same_name_stays(run, case, tmp_path):
    assert simulate(run, case, tmp_path / "x.png").code == 0
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    done = simulate(run, case, tmp_path / "x.dcm", "--seed", 7)
    assert done.code == 2
    assert "x.truth.json is the truth of x.png there" in done.err
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert run("render", case / "ct.nii.gz", "--spacing", 8, "--out", tmp_path / "x.dcm").code == 0
    assert (tmp_path / "x.truth.json").read_bytes() == before["x.truth.json"]
    assert simulate(run, case, tmp_path / "x.png", "--seed", 7).code == 0  # its own is replaced
    assert (tmp_path / "x.truth.json").read_bytes() != before["x.truth.json"]
    assert run("render", case / "ct.nii.gz", "--spacing", 8, "--out", tmp_path / "x.png").code == 0
    assert not (tmp_path / "x.truth.json").exists()
    assert simulate(run, case, tmp_path / "x.dcm").code == 0  # a rendered image of the name has no truth to lose


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
