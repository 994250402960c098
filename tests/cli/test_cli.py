"""The command line: what it prints, writes and returns; and that bad input ends in one line, code 2, and nothing written."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
import torch
import typer
import yaml
from commands import Done
from PIL import Image
from support.ct_files import write_pelvis

import xrcore
from xrcore._util.errors import XrcoreError
from xrcore._util.hashes import fingerprint
from xrcore.cli.app import add_commands
from xrcore.geometry import CArm, Pose
from xrcore.phantom import pelvis_hu
from xrcore.registration.registration_files import read_pose
from xrcore.xray import read_xray, write_carm, write_xray

CARM = CArm(source_to_detector=1259.65, source_to_isocenter=742.5, shape=(96, 96), pixel_spacing=4.5)
TRUTH = "6,-8,3,12,-9,15"
FAST = ("--spacing", "4")


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ct.nii.gz, carm.yaml, and an X-ray as DICOM and as PNG."""
    folder = tmp_path_factory.mktemp("case")
    write_pelvis(folder / "ct.nii.gz", 3, 4.0)
    write_carm(folder / "carm.yaml", CARM)
    volume = xrcore.read_ct(folder / "ct.nii.gz", 4.0)
    drr = xrcore.render(volume, CARM, Pose([float(n) for n in TRUTH.split(",")]))
    # without the pose, which would be the start
    write_xray(folder / "xray.dcm", drr, CARM)
    write_xray(folder / "xray.png", drr, CARM)
    return folder


@pytest.fixture
def folder(case: Path, tmp_path: Path) -> Path:
    """A copy of `case` that a test may spoil."""
    for file in case.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def off_by(found: dict[str, float]) -> float:
    """Largest difference to the truth, deg or mm; depth, which one view hardly shows, counts a fifth."""
    difference = np.abs(np.array(list(found.values())) - [float(n) for n in TRUTH.split(",")])
    return float((difference / [1, 1, 1, 1, 1, 5]).max())


# ---- what works


def test_version_and_help(run):
    assert run("--version") == (0, f"xrcore {xrcore.__version__}\n", "")
    assert run("--help").out == run().out
    for command in ("demo", "register", "render", "bench"):
        done = run(command, "--help")
        assert done.code == 0
        assert "Example" in done.out
        assert f"xrcore {command}" in done.out.split("Examples:")[1]


def test_a_command_that_cannot_be_loaded_leaves_the_others(caplog):
    commands = typer.Typer()
    values = {"broken": "companion.absent:app", "bare": "companion:absent", "number": "math:pi"}
    broken = [EntryPoint(name, value, "xrcore.commands") for name, value in values.items()]
    add_commands(commands, [*broken, EntryPoint("bench", "companion.cli.bench:bench", "xrcore.commands")])
    assert [command.name for command in commands.registered_commands] == ["bench"]
    assert [" ".join(line.split()[:2]) for line in caplog.messages] == ["xrcore bare", "xrcore broken", "xrcore number"]
    assert "No module named 'companion.absent'" in caplog.messages[1]
    assert "math:pi is no command" in caplog.messages[2]


def test_a_command_that_fails_as_it_loads_is_told_where_the_user_looks(tmp_path):
    (tmp_path / "unfinished.py").write_text("raise RuntimeError('two\\nlines')\n")
    package = tmp_path / "unfinished-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: unfinished\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text("[xrcore.commands]\nunfinished = unfinished:app\n")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([sys.executable, "-m", "xrcore", "--version"], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0
    assert done.stderr == "xrcore: note: xrcore unfinished is not there: two lines\n"


def test_register_writes_what_it_found(run, case, tmp_path):
    out = tmp_path / "new" / "result"
    done = run("register", case / "ct.nii.gz", case / "xray.dcm", "--out", out, *FAST)
    assert done.code == 0, done.err
    assert sorted(p.name for p in out.iterdir()) == ["camera_from_ct.tfm", "overlay.png", "registered_xray.tif", "registration.json"]
    record = json.loads((out / "registration.json").read_text())
    assert record["device"] == ("cuda:0" if torch.cuda.is_available() else "cpu")
    assert record["trusted"] is True
    assert list(record["pose"]) == ["rx", "ry", "rz", "tx", "ty", "tz"]
    assert off_by(record["pose"]) < 0.2
    covariance = np.array(record["covariance"])
    assert covariance.shape == (6, 6)
    np.testing.assert_allclose(list(record["standard_deviation"].values()), np.sqrt(np.diag(covariance)), rtol=1e-9)
    np.testing.assert_allclose(np.array(record["camera_from_world"]) @ record["world_from_camera"], np.eye(4), atol=1e-9)
    assert record["inputs"]["xray"]["sha256"] == hashlib.sha256((case / "xray.dcm").read_bytes()).hexdigest()
    assert record["versions"]["xrcore"] == xrcore.__version__
    with Image.open(out / "overlay.png") as picture:
        assert picture.width > picture.height > 100
    assert "trusted" in done.out


def test_what_there_is_to_note_about_a_ct_is_logged_once(run, tmp_path):
    hu = sitk.Image(30, 30, 30, sitk.sitkInt16)
    hu.SetSpacing((4.0, 4.0, 4.0))
    hu[10:20, 10:20, 10:20] = 1200
    sitk.WriteImage(hu, str(tmp_path / "bone.nrrd"))
    done = run("render", tmp_path / "bone.nrrd", "--out", tmp_path / "ap.png", *FAST)
    assert done.code == 0, done.err
    assert done.err.count("there is no air") == 1
    assert done.err.startswith("xrcore: note: ")


def test_transform_takes_ct_points_to_where_the_xray_shows_them(run, case, tmp_path):
    """The .tfm, read by ITK, against the pinhole camera of the C-arm and a ball drawn into the CT."""
    hu = sitk.Image(60, 60, 60, sitk.sitkInt16) - 1000
    hu.SetSpacing((4.0, 4.0, 4.0))
    hu.SetOrigin((-100.0, -120.0, -90.0))
    hu[15:45, 15:45, 15:45] = 0
    hu[20:24, 34:38, 17:21] = 2000
    hu[33:37, 30:34, 37:41] = 2000
    sitk.WriteImage(hu, str(tmp_path / "balls.nii.gz"))
    ball = np.array(hu.TransformContinuousIndexToPhysicalPoint((21.5, 35.5, 18.5)))
    ct, xray = tmp_path / "balls.nii.gz", tmp_path / "balls.dcm"
    assert run("render", ct, "--carm", case / "carm.yaml", "--pose", TRUTH, "--out", xray, *FAST).code == 0
    done = run("register", ct, xray, "--initial", TRUTH, "--out", tmp_path, *FAST)
    assert done.code in (0, 3), done.err
    transform = sitk.ReadTransform(str(tmp_path / "camera_from_ct.tfm"))
    row, col = CARM.project(torch.tensor([transform.TransformPoint(ball.tolist())], dtype=torch.float64))[0].tolist()
    image = read_xray(xray).image.numpy()
    window = image[round(row) - 3 : round(row) + 4, round(col) - 3 : round(col) + 4]
    ball_at = np.array(np.unravel_index(window.argmax(), window.shape)) - 3
    assert np.abs(ball_at).max() <= 1
    assert window.max() > 1.3 * np.median(image[image > 0])


def test_png_needs_and_takes_carm_yaml(run, case, tmp_path):
    done = run("register", case / "ct.nii.gz", case / "xray.png", "--carm", case / "carm.yaml", "--out", tmp_path / "a", *FAST)
    assert done.code == 0, done.err
    record = json.loads((tmp_path / "a" / "registration.json").read_text())
    assert off_by(record["pose"]) < 0.2
    assert set(record["inputs"]) == {"ct", "xray", "carm"}


def test_everything_that_was_read_is_recorded_by_its_hash(run, case, folder):
    image = sitk.ReadImage(str(case / "ct.nii.gz"))
    sitk.WriteImage(image, str(folder / "ct.mhd"))
    sitk.WriteImage(sitk.Cast(image > -2000, sitk.sitkUInt8), str(folder / "labels.nhdr"))
    Image.fromarray(np.full(CARM.shape, 255, np.uint8)).save(folder / "mask.png")
    (folder / "carm.yaml").write_text((folder / "carm.yaml").read_text() + "mask: mask.png\n")
    (folder / "start.json").write_text(
        json.dumps(dict(zip(("rx", "ry", "rz", "tx", "ty", "tz"), map(float, TRUTH.split(",")), strict=True)))
    )

    def recorded() -> dict[str, str]:
        arguments = ("--carm", folder / "carm.yaml", "--labels", folder / "labels.nhdr", "--initial", folder / "start.json")
        done = run("register", folder / "ct.mhd", folder / "xray.png", *arguments, "--out", folder / "result", *FAST)
        assert done.code in (0, 3), done.err
        inputs = json.loads((folder / "result" / "registration.json").read_text())["inputs"]
        return {name: one["sha256"] for name, one in inputs.items()}

    before = recorded()
    assert set(before) == {"ct", "xray", "carm", "mask", "labels", "initial"}
    for changed in ("ct.raw", "labels.raw"):
        content = (folder / changed).read_bytes()
        (folder / changed).write_bytes(content[:-2] + bytes([content[-2] ^ 2, content[-1]]))
    Image.fromarray(np.full(CARM.shape, 254, np.uint8)).save(folder / "mask.png")
    after = recorded()
    assert {key for key in before if before[key] != after[key]} == {"ct", "labels", "mask"}


def test_an_inverted_xray_is_turned_over_and_said_so(run, case, tmp_path):
    image = read_xray(case / "xray.dcm").image
    write_xray(tmp_path / "dark.png", -image)
    done = run("register", case / "ct.nii.gz", tmp_path / "dark.png", "--carm", case / "carm.yaml", "--out", tmp_path / "out", *FAST)
    assert done.code == 0, done.err
    record = json.loads((tmp_path / "out" / "registration.json").read_text())
    assert off_by(record["pose"]) < 0.2
    assert record["inverted"] is True
    assert "inverted" in done.err


def test_a_result_is_a_start(run, case, tmp_path):
    start = {"pose": dict(zip(("rx", "ry", "rz", "tx", "ty", "tz"), (5, -7, 2, 11, -8, 12), strict=True))}
    (tmp_path / "start.json").write_text(json.dumps(start))
    for given in (tmp_path / "start.json", "5,-7,2,11,-8,12"):
        done = run("register", case / "ct.nii.gz", case / "xray.dcm", "--initial", given, "--out", tmp_path / "out", *FAST)
        assert done.code == 0, done.err
        assert json.loads((tmp_path / "out" / "registration.json").read_text())["initial_pose"] == start["pose"]


def test_rendered_dicom_reads_back_to_the_same_view(run, case, tmp_path):
    done = run("render", case / "ct.nii.gz", "--carm", case / "carm.yaml", "--pose", TRUTH, "--out", tmp_path / "x.dcm", *FAST)
    assert done.code == 0, done.err
    xray = read_xray(tmp_path / "x.dcm")
    assert xray.carm == CARM
    torch.testing.assert_close(xray.pose.numbers[0], torch.tensor([float(n) for n in TRUTH.split(",")], dtype=torch.float64))
    again = xrcore.render(xrcore.read_ct(case / "ct.nii.gz", 4.0), xray.carm, xray.pose)[0]
    assert (again - xray.image).abs().max() < 1e-3
    done = run("register", case / "ct.nii.gz", tmp_path / "x.dcm", "--out", tmp_path / "out", *FAST)
    assert done.code == 0, done.err
    assert off_by(json.loads((tmp_path / "out" / "registration.json").read_text())["pose"]) < 0.2


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_rendered_rasters_have_their_geometry_beside_them(run, case, tmp_path, suffix):
    done = run("render", case / "ct.nii.gz", "--out", tmp_path / f"ap{suffix}", *FAST)
    assert done.code == 0, done.err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ap.carm.yaml", f"ap{suffix}"]
    assert read_xray(tmp_path / f"ap{suffix}", tmp_path / "ap.carm.yaml").carm.shape == (256, 256)


def test_render_of_a_negative_pose_needs_no_quotes(run, case, tmp_path):
    assert run("render", case / "ct.nii.gz", "--out", tmp_path / "x.dcm", "--pose", "-6,-8,3,12,-9,15", *FAST).code == 0
    assert read_xray(tmp_path / "x.dcm").pose.numbers[0, 0] == pytest.approx(-6)


def test_bench_is_said_to_need_a_clone(run, monkeypatch, tmp_path):
    monkeypatch.setattr("companion.cli.bench.SCRIPT", tmp_path / "speed.py")
    done = run("bench")
    assert done.code == 2
    assert "clone of the repository" in done.err


def test_a_pose_file_holds_for_a_ct_with_another_isocenter(tmp_path):
    """What the numbers mean depends on the isocentre; where the camera stands does not."""
    there, here = torch.tensor([10.0, -20.0, 30.0], dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    pose = Pose([float(n) for n in TRUTH.split(",")])
    matrix = pose.camera_from_world(CARM, there)[0]
    record = {
        "pose": pose.to_dict(),
        "isocenter": there.tolist(),
        "carm": {"source_to_isocenter": 742.5},
        "camera_from_world": matrix.tolist(),
    }
    file = tmp_path / "pose.json"
    for content in (record, {"camera_from_world": matrix.tolist()}):
        file.write_text(json.dumps(content))
        torch.testing.assert_close(read_pose(str(file), CARM, here).camera_from_world(CARM, here)[0], matrix)
    file.write_text(json.dumps(record))
    torch.testing.assert_close(read_pose(str(file), CARM, there).numbers, pose.numbers)
    for content in (pose.to_dict(), pose.numbers[0].tolist()):
        file.write_text(json.dumps(content))
        torch.testing.assert_close(read_pose(str(file), CARM, here).numbers, pose.numbers)


@pytest.mark.parametrize(
    "content",
    [
        '{"rx": 1}',
        "[1, 2]",
        "[1, 2, 3, 4, 5, null]",
        '"text"',
        '{"camera_from_world": [[1]]}',
        '{"pose": {"rx": "x"}}',
        "[1,2,3,4,5,1e999]",
    ],
)
def test_a_pose_file_that_holds_none_is_refused(tmp_path, content):
    (tmp_path / "pose.json").write_text(content)
    with pytest.raises(XrcoreError, match=r"pose\.json"):
        read_pose(str(tmp_path / "pose.json"), CARM, torch.zeros(3))


def test_fingerprint_of_a_folder_is_what_sha256sum_prints(tmp_path):
    for name in ("b", "a", "C"):
        (tmp_path / name).write_text(name * 3)
    command = "sha256sum * | LC_ALL=C sort -k 2 | sha256sum"
    if not shutil.which("sha256sum"):
        pytest.skip("no sha256sum on this machine")
    printed = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert fingerprint(tmp_path) == {"path": str(tmp_path), "files": 3, "sha256": printed.split()[0]}


# ---- what does not


def text(path: Path) -> Path:
    path.write_text("this is not an image\n" * 100)
    return path


def truncated(path: Path, share: float = 0.5) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    return path


def ct_of(path: Path, values: np.ndarray) -> Path:
    sitk.WriteImage(sitk.GetImageFromArray(values), str(path))
    return path


def nan_ct(path: Path) -> Path:
    values = np.full((20, 20, 20), -1000.0, np.float32)
    values[5:15, 5:15, 5:15] = 100
    values[10, 10, 10] = np.nan
    return ct_of(path, values)


def grey(path: Path, value: int = 700) -> Path:
    Image.fromarray(np.full(CARM.shape, value, np.uint16)).save(path)
    return path


def carm_file(path: Path, **changes: object) -> Path:
    content = {"source_to_detector": 1259.65, "source_to_isocenter": 742.5, "pixel_spacing": 4.5} | changes
    path.write_text(yaml.safe_dump({key: value for key, value in content.items() if value is not None}))
    return path


def other_dicom(path: Path) -> Path:
    data = pydicom.dcmread(path)
    data.remove_private_tags()
    del data.DistanceSourceToPatient
    data.save_as(path)
    return path


def test_free_intrinsics_are_printed_and_written(run, case, tmp_path):
    free = ("--free", "source-to-detector,principal-point=3")
    done = run("register", case / "ct.nii.gz", case / "xray.dcm", "--initial", TRUTH, *FAST, *free, "--out", tmp_path / "out")
    assert "calibration source_to_detector 12" in " ".join(done.out.split())
    record = json.loads((tmp_path / "out" / "registration.json").read_text())
    assert record["calibration"]["prior"] == pytest.approx([0.02 * CARM.source_to_detector, 3.0, 3.0])
    assert record["options"]["free"] == {"source_to_detector": None, "principal_point": 3.0}


BAD_REGISTER = {
    "missing CT": (lambda d: {"ct": d / "no.nii.gz"}, "no.nii.gz"),
    "CT that is no image": (lambda d: {"ct": text(d / "a.nii")}, "a.nii"),
    "truncated CT": (lambda d: {"ct": truncated(d / "ct.nii.gz")}, "ct.nii.gz"),
    "CT of one slice": (lambda d: {"ct": ct_of(d / "a.mha", np.zeros((1, 30, 30), np.int16))}, "a.mha"),
    "CT with NaN": (lambda d: {"ct": nan_ct(d / "a.mha")}, "NaN"),
    "CT that is an X-ray": (lambda d: {"ct": d / "xray.dcm"}, "xray.dcm"),
    "folder without a CT": (lambda d: {"ct": d}, str),
    "empty CT": (lambda d: {"ct": ct_of(d / "a.mha", np.full((9, 9, 9), -1000, np.int16))}, "a.mha"),
    "missing X-ray": (lambda d: {"xray": d / "no.dcm"}, "no.dcm"),
    "X-ray that is no image": (lambda d: {"xray": text(d / "a.png")}, "a.png"),
    "DICOM that is none": (lambda d: {"xray": text(d / "a.dcm")}, "a.dcm"),
    "truncated DICOM": (lambda d: {"xray": truncated(d / "xray.dcm")}, "xray.dcm"),
    "truncated PNG": (lambda d: {"xray": truncated(d / "xray.png"), "carm": d / "carm.yaml"}, "xray.png"),
    "constant X-ray": (lambda d: {"xray": grey(d / "a.png"), "carm": d / "carm.yaml"}, "constant"),
    "PNG without geometry": (lambda d: {"xray": d / "xray.png"}, "carm.yaml"),
    "DICOM that lacks a distance": (lambda d: {"xray": other_dicom(d / "xray.dcm")}, "DistanceSourceToPatient"),
    "missing carm.yaml": (lambda d: {"xray": d / "xray.png", "carm": d / "no.yaml"}, "no.yaml"),
    "carm.yaml that lacks a key": (
        lambda d: {"xray": d / "xray.png", "carm": carm_file(d / "c.yaml", source_to_isocenter=None)},
        "source_to_isocenter",
    ),
    "unknown key": (lambda d: {"xray": d / "xray.png", "carm": carm_file(d / "c.yaml", sdd=1259)}, "'sdd'"),
    "distance in metres": (lambda d: {"xray": d / "xray.png", "carm": carm_file(d / "c.yaml", source_to_detector=1.25965)}, "metres"),
    "broken YAML": (lambda d: {"xray": d / "xray.png", "carm": text(d / "c.yaml")}, "c.yaml"),
    "CT outside the view": (lambda d: {"initial": "0,0,0,3000,0,0"}, "outside"),
    "five numbers": (lambda d: {"initial": "1,2,3,4,5"}, "six"),
    "missing start": (lambda d: {"initial": d / "no.json"}, "no.json"),
    "start that is no JSON": (lambda d: {"initial": text(d / "a.json")}, "a.json"),
    "unknown method": (lambda d: {"method": "newton"}, "'newton'"),
    "unknown similarity": (lambda d: {"similarity": "ssd"}, "'ssd'"),
    "unknown intrinsic": (lambda d: {"free": "focal-length"}, "focal-length"),
    "intrinsic twice": (lambda d: {"free": "principal-point,principal-point"}, "twice"),
    "intrinsic of no width": (lambda d: {"free": "principal-point=0"}, "principal_point"),
    "unknown beam": (lambda d: {"kilovolts": 33}, "kilovolts"),
    "unknown detector": (lambda d: {"detector": "left"}, "detector"),
    "no such frame": (lambda d: {"frame": 4}, "frame"),
    "keep without labels": (lambda d: {"keep": "1,2"}, "--labels"),
    "spacing of zero": (lambda d: {"spacing": 0}, "spacing"),
    "spacing in words": (lambda d: {"spacing": "fine"}, "spacing"),
    "unknown option": (lambda d: {"speed": 11}, "--speed"),
    "out is a file": (lambda d: {"out": d / "carm.yaml"}, "carm.yaml"),
    "out below a file": (lambda d: {"out": d / "carm.yaml" / "result"}, "carm.yaml"),
}


@pytest.mark.parametrize("name", BAD_REGISTER)
def test_bad_input_is_one_line_and_leaves_nothing(run, folder, name):
    spoil, word = BAD_REGISTER[name]
    given = {"ct": folder / "ct.nii.gz", "xray": folder / "xray.dcm", "out": folder / "out"} | spoil(folder)
    word = folder.name if word is str else word
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    options = [part for key, value in given.items() if key not in ("ct", "xray") for part in (f"--{key}", value)]
    done = run("register", given["ct"], given["xray"], *options)
    refused(done)
    assert word in done.err
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert not (folder / "out").exists()


def refused(done: Done) -> None:
    """Code 2, nothing on stdout, and one line on stderr, notes aside."""
    lines = [line for line in done.err.splitlines() if not line.startswith("xrcore: note:")]
    assert done.code == 2
    assert done.out == ""
    assert len(lines) == 1, done.err
    assert lines[0].startswith("xrcore: error: ")


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("render", "CT"), "--out"),
        (("render", "CT", "--out", "x.jpg"), ".png"),
        (("render", "CT", "--out", "x.png", "--pose", "0,0,0,3000,0,0"), "outside"),
        (("render", "CT", "--out", "x.png", "--pose", "a,b,c,d,e,f"), "pose"),
        (("render", "CT", "--out", "x.png", "--carm", "no.yaml"), "no.yaml"),
        (("render", "no.nii.gz", "--out", "x.png"), "no.nii.gz"),
        (("regsiter", "CT"), "register"),
        (("demo", "--seed", "-1"), "seed"),
        (("demo", "extra"), "extra"),
    ],
)
def test_other_commands_refuse_in_one_line(run, case, tmp_path, monkeypatch, arguments, word):
    monkeypatch.chdir(tmp_path)
    done = run(*(case / "ct.nii.gz" if a == "CT" else a for a in arguments))
    refused(done)
    assert word in done.err
    assert not list(tmp_path.iterdir())


def test_old_results_stay_when_a_registration_fails(run, folder):
    out = folder / "out"
    out.mkdir()
    (out / "registration.json").write_text("old")
    refused(run("register", folder / "ct.nii.gz", truncated(folder / "xray.dcm"), "--out", out))
    assert [p.name for p in out.iterdir()] == ["registration.json"]
    assert (out / "registration.json").read_text() == "old"


@pytest.mark.parametrize(
    ("trouble", "code"),
    [
        (lambda: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device")), 2),
        (lambda: (_ for _ in ()).throw(KeyboardInterrupt), 130),
        (lambda: os.kill(os.getpid(), signal.SIGTERM), 143),
    ],
    ids=["disk full", "interrupted", "terminated"],
)
@pytest.mark.parametrize("existing", [False, True])
def test_a_write_that_breaks_off_leaves_nothing(run, case, tmp_path, monkeypatch, trouble, code, existing):
    out = tmp_path / "out"
    if existing:
        out.mkdir()
        (out / "ap.dcm").write_text("old")
    seen = []

    def half_written(path: Path, *_: object) -> None:
        path.write_bytes(b"half")
        seen.append(path)
        trouble()

    monkeypatch.setattr("xrcore.xray.write_xray", half_written)
    done = run("render", case / "ct.nii.gz", "--out", out / "ap.dcm", *FAST)
    assert seen
    assert done.code == code
    if code == 2:
        refused(done)
        assert "No space left" in done.err
    assert [(p.name, p.read_text()) for p in tmp_path.rglob("*") if p.is_file()] == ([("ap.dcm", "old")] if existing else [])
    assert out.exists() == existing


def test_an_untrusted_result_is_written_and_says_so(run, case, tmp_path):
    """A CT of another patient cannot be right."""
    hu, world_from_voxel = pelvis_hu(8, 4.0)
    image = sitk.GetImageFromArray(np.ascontiguousarray(hu[::-1, ::-1, ::-1]))
    image.SetSpacing(np.diag(world_from_voxel)[:3].tolist())
    sitk.WriteImage(image, str(tmp_path / "other.nii.gz"))
    done = run("register", tmp_path / "other.nii.gz", case / "xray.dcm", "--out", tmp_path / "out", *FAST)
    assert done.code == 3
    record = json.loads((tmp_path / "out" / "registration.json").read_text())
    assert record["trusted"] is False
    assert record["reasons"]
    assert "NOT trusted" in done.out


# ---- where the output goes


def shell(line: str, **variables: str) -> Done:
    """A command line of a shell, `xrcore` in it standing for this program; the exit code is that of its last command."""
    program = f"{shlex.quote(sys.executable)} -c 'from xrcore.cli import main; main()'"
    done = subprocess.run(["bash", "-c", line.replace("xrcore", program)], capture_output=True, env=os.environ | variables)
    return Done(done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_full_output_is_one_line():
    done = shell("xrcore --help > /dev/full")
    assert done == (1, "", "xrcore: error: output cannot be written (No space left on device)\n")
    assert shell("xrcore render none.nii --out a.png > /dev/full 2> /dev/full").code == 2


def test_closed_output_changes_nothing_else(folder):
    assert shell("xrcore --help >&-") == (0, "", "")
    assert shell("xrcore --help <&- >&- 2>&-") == (0, "", "")
    line = f"xrcore render {folder}/ct.nii.gz --spacing 16 --carm {folder}/carm.yaml --out {folder}/a.png"
    assert shell(f"{line} <&- >&- 2>&-").code == 0
    assert read_xray(folder / "a.png", folder / "a.carm.yaml").image.any()  # which no text was mixed into
    assert shell("xrcore render none.nii --out a.png 2>&-").code == 2


def test_output_that_lacks_characters_shows_them_as_escapes(folder):
    (folder / "é\udcff").mkdir()
    done = shell(
        f"xrcore render {folder}/ct.nii.gz --spacing 16 --carm {folder}/carm.yaml --out {folder}/$'\\xc3\\xa9\\xff'/a.png",
        PYTHONIOENCODING="ascii",
        PYTHONUTF8="1",
    )
    assert done.code == 0
    # the first render on a machine says that it compiles
    assert not [line for line in done.err.splitlines() if "compiling the CPU renderer" not in line]
    assert r"\xe9\udcff/a.png: 96 x 96 pixels" in done.out


# ---- absurd values


@pytest.mark.parametrize("device", ["cuda:99999999999999999999", "cuda:999", "cuda:٣", "cuda:" + "9" * 5000, "cuda:-1"])
def test_absurd_devices_are_one_line(folder, run, device):
    done = run("register", folder / "ct.nii.gz", folder / "xray.dcm", "--out", folder / "out", "--device", device)
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert len(done.err) < 300
    assert "Traceback" not in done.err


@pytest.mark.parametrize("content", ["[" + "9" * 400 + ",0,0,0,0,0]", '{"pose": {}, "pose": [0,0,0,0,0,0]}', "[true,0,0,0,0,0]"])
def test_poses_that_are_none_are_one_line(folder, run, content):
    (folder / "pose.json").write_text(content)
    done = run("render", folder / "ct.nii.gz", "--spacing", "16", "--pose", folder / "pose.json", "--out", folder / "a.png")
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert str(folder) in done.err
    assert not (folder / "a.png").exists()


def test_a_pipe_is_no_pose_and_a_long_name_no_file(folder, run):
    os.mkfifo(folder / "pipe.json")
    for pose, words in ((folder / "pipe.json", "not a file"), ("n" * 300, "neither six numbers")):
        done = run("render", folder / "ct.nii.gz", "--spacing", "16", "--pose", pose, "--out", folder / "a.png")
        assert done.code == 2
        assert words in done.err
