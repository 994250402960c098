"""`xrcore track`: files written, verdicts, going on after a run that was ended, and what it refuses."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import Done
from dicom_files import counts, saved, xray_dataset
from PIL import Image, ImageSequence
from support.ct_files import write_pelvis

import xrcore as xr
from xrcore.cli.options import input_fingerprints
from xrcore.xray import write_carm, write_xray

CARM = xr.CArm(source_to_detector=1260, source_to_isocenter=742.5, shape=(96, 96), pixel_spacing=4.5)
POSES = [xr.Pose(rx=3, ry=-8 + 2 * i, tx=10 + 3 * i) for i in range(4)]
Run = Callable[..., Done]


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CT, a folder of four frames, the same as one multi-frame TIFF, and the C-arm."""
    folder = tmp_path_factory.mktemp("cine")
    write_pelvis(folder / "ct.nii.gz", 3, 4.0)
    volume = xr.read_ct(folder / "ct.nii.gz", 4.0)
    frames = folder / "frames"
    frames.mkdir()
    for number, pose in enumerate(POSES, 8):  # 10 comes after 9
        write_xray(frames / f"f{number}.png", xr.render(volume, CARM, pose), CARM)
    pages = [Image.open(frames / f"f{number}.png") for number in range(8, 12)]
    pages[0].save(folder / "cine.tif", save_all=True, append_images=pages[1:])
    write_carm(folder / "carm.yaml", CARM)
    return folder


def arguments(case: Path, out: Path, frames: str = "frames") -> tuple[str, ...]:
    return ("track", str(case / "ct.nii.gz"), str(case / frames), "--carm", str(case / "carm.yaml"), "--spacing", "4", "--out", str(out))


def rows(out: Path, name: str = "track.csv") -> list[dict[str, str]]:
    with (out / name).open() as file:
        return list(csv.DictReader(file))


def test_a_folder_is_tracked_and_a_run_that_was_ended_goes_on(run: Run, case: Path, tmp_path: Path):
    done = run(*arguments(case, tmp_path), "--smooth")
    assert done.code == 0, done.err
    assert "all trusted" in done.out
    table = rows(tmp_path)
    assert [row["name"] for row in table] == ["f8.png", "f9.png", "f10.png", "f11.png"]
    for row, pose in zip(table, POSES, strict=True):
        assert float(row["ry"]) == pytest.approx(float(pose.numbers[0, 1]), abs=0.7)
        assert float(row["tx"]) == pytest.approx(float(pose.numbers[0, 3]), abs=1.5)
    assert len(rows(tmp_path, "smoothed.csv")) == 4
    with Image.open(tmp_path / "overlay.gif") as video:
        assert len(list(ImageSequence.Iterator(video))) == 4
    # as a killed run leaves it: two frames and a part of a line
    lines = (tmp_path / "track.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "track.jsonl").write_text("".join(lines[:3]) + lines[3][:40])
    (tmp_path / "track.csv").unlink()
    again = run(*arguments(case, tmp_path), "--video", "none")
    assert again.code == 0, again.err
    assert "going on after 2 of 4 frames" in again.out
    kept, found = table[:2], rows(tmp_path)
    assert found[:2] == kept
    assert [row["searched"] for row in found] == ["True", "False", "False", "False"]
    # a folder of another track is left alone
    other = run(*arguments(case, tmp_path), "--video", "none", "--check-every", "2")
    assert other.code == 2
    assert "other inputs or options" in other.err
    assert rows(tmp_path) == found


def test_frames_that_were_exported_again_are_not_taken_for_those_of_before(run: Run, case: Path, tmp_path: Path):
    frames, out = tmp_path / "frames", tmp_path / "out"
    frames.mkdir()
    for number in (8, 9):
        shutil.copy(case / "frames" / f"f{number}.png", frames)
    given = (*arguments(case, out)[:2], str(frames), *arguments(case, out)[3:], "--video", "none")
    done = run(*given)
    assert done.code == 0, done.err
    assert "s of start-up" in done.out
    shutil.copy(case / "frames" / "f11.png", frames / "f9.png")
    stale = [out / name for name in ("smoothed.csv", "overlay.gif")]
    for path in stale:
        path.write_text("of the frames before")
    done = run(*given)
    assert (done.code, "other inputs or options" in done.err) == (2, True)
    assert all(path.exists() for path in stale)
    (out / "track.jsonl").unlink()  # as the message advises
    assert run(*given).code in (0, 3)
    assert not any(path.exists() for path in stale)


def test_a_damaged_frame_is_bridged_and_told_and_a_first_one_ends_it(run: Run, case: Path, tmp_path: Path):
    frames, out = tmp_path / "frames, 2nd", tmp_path / "out"
    frames.mkdir()
    for number in (8, 9, 10):
        shutil.copy(case / "frames" / f"f{number}.png", frames / f"f,{number}.png")
    whole = (frames / "f,9.png").read_bytes()
    (frames / "f,9.png").write_bytes(whole[: len(whole) // 2])
    Image.new("L", (4, 4)).save(frames / "preview.jpg")
    given = (*arguments(case, out)[:2], *map(str, [frames]), *arguments(case, out)[3:])
    done = run(*given)
    assert done.code == 3, done.err
    assert "not read: preview.jpg" in done.err
    why = "bridged by the motion, since this frame cannot be registered"
    assert f"frame 1 (f,9.png): {why}: {frames / 'f,9.png'}: cannot be read" in done.out
    table = rows(out)
    assert [(row["name"], row["trusted"]) for row in table] == [("f,8.png", "True"), ("f,9.png", "False"), ("f,10.png", "True")]
    assert why in table[1]["reasons"]
    with Image.open(out / "overlay.gif") as video:
        assert len(list(ImageSequence.Iterator(video))) == 3
    (frames / "f,8.png").write_bytes(whole[:100])
    done = run(*(word if word != str(out) else str(tmp_path / "other") for word in given))
    assert (done.code, len(done.err.splitlines())) == (2, 1)
    assert f"frame 0 (f,8.png): {frames / 'f,8.png'}: cannot be read as PNG" in done.err
    assert not (tmp_path / "other").exists()


def test_pages_of_a_file_are_the_same_sequence(case: Path):
    paged, listed = (
        xr.read_frames(case / "cine.tif", case / "carm.yaml"),
        xr.read_frames(str(case / "frames" / "*.png"), case / "carm.yaml"),
    )
    assert len(paged) == len(listed) == 4
    assert paged.names == tuple(f"cine.tif#{i}" for i in range(4))
    for one, other in zip(paged, listed, strict=True):
        assert (one[0].xray.image == other[0].xray.image).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("--video", "film.avi"), "must end in .gif, .webp or .mp4"),
        (("--motion", "3"), "expected two numbers"),
        (("--rig", "rig.yaml"), "not both"),
        (("--search", "wide"), "expected anywhere"),
    ],
)
def test_bad_options_are_told_before_anything_is_written(run: Run, case: Path, tmp_path: Path, change: tuple[str, ...], message: str):
    done = run(*arguments(case, tmp_path / "out"), *change)
    assert done.code == 2
    assert message in done.err
    assert not (tmp_path / "out").exists()


def test_frames_that_are_not_there_are_told(run: Run, case: Path, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    for frames, message in ((tmp_path / "empty", "no images"), (tmp_path / "x*.png", "no file matches"), (tmp_path / "x.png", "x.png")):
        with pytest.raises(xr.XrcoreError, match=message):
            xr.read_frames(frames)
    with pytest.raises(xr.XrcoreError, match="4 and 1 frames; each camera must have as many"):
        xr.read_frames([case / "frames", case / "frames" / "f8.png"], rig=rig_of_two(case, tmp_path))


def rig_of_two(case: Path, folder: Path) -> Path:
    """A rig.yaml of two cameras at one place."""
    eye = [[float(i == j) for j in range(4)] for i in range(4)]
    views = [{"camera_from_rig": eye, "carm": str(case / "carm.yaml")} for _ in range(2)]
    (folder / "rig.yaml").write_text(json.dumps({"views": views}))
    return folder / "rig.yaml"


def test_each_camera_of_a_rig_has_its_own_sequence(case: Path, tmp_path: Path):
    shutil.copytree(case / "frames", tmp_path / "other")
    frames = xr.read_frames([case / "frames", tmp_path / "other"], rig=rig_of_two(case, tmp_path))
    assert len(frames) == 4
    assert len(frames[3]) == 2
    assert (frames[3][1].xray.image == xr.read_xray(case / "frames" / "f11.png", case / "carm.yaml").image).all()
    assert frames[3:].names == ("f11.png",)


def test_more_frames_than_a_file_has_bytes_are_refused(tmp_path: Path):
    saved(tmp_path / "cine.dcm", xray_dataset(counts((3, 24, 32)), NumberOfFrames=20_000))
    with pytest.raises(xr.XrcoreError, match=r"NumberOfFrames .* 20000"):
        xr.read_frames(tmp_path / "cine.dcm")


def test_frames_of_a_dicom_file_come_one_by_one(tmp_path: Path):
    values = counts((3, 24, 32))
    saved(tmp_path / "cine.dcm", xray_dataset(values, NumberOfFrames=3))
    frames = xr.read_frames(tmp_path / "cine.dcm")
    assert frames.names == ("cine.dcm#0", "cine.dcm#1", "cine.dcm#2")
    for number, (view,) in enumerate(frames):
        assert (view.xray.image == xr.read_xray(tmp_path / "cine.dcm", frame=number).image).all()
    assert (frames[0][0].xray.image != frames[2][0].xray.image).any()


def test_what_was_exchanged_since_is_not_gone_on_with(run: Run, case: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Other pixels under the name of a frame, other labels, another start: each is a track of its own."""
    seen: list[dict[str, object]] = []

    def stop(folder: Path, inputs: dict[str, object]) -> None:
        seen.append(json.loads(json.dumps(inputs)))
        raise xr.XrcoreError("enough")

    monkeypatch.setattr("xrcore.registration.tracking.files.known_frames", stop)
    (tmp_path / "frames").mkdir()
    files = {"f.png": (case / "frames" / "f8.png"), "labels.nii.gz": case / "ct.nii.gz", "pose.json": None}
    for name, source in files.items():
        path = tmp_path / ("frames" if name == "f.png" else ".") / name
        path.write_bytes(b"[0, 0, 0, 0, 0, 0]" if source is None else source.read_bytes())
    given = ["track", case / "ct.nii.gz", tmp_path / "frames", "--carm", case / "carm.yaml", "--out", tmp_path / "out"]
    given += ["--labels", tmp_path / "labels.nii.gz", "--initial", tmp_path / "pose.json"]
    run(*given)
    run(*given)
    assert seen[0] == seen[1]
    changes = {"frames/f.png": (case / "frames" / "f9.png").read_bytes(), "labels.nii.gz": b"other", "pose.json": b"[1, 0, 0, 0, 0, 0]"}
    for name, content in changes.items():
        (tmp_path / name).write_bytes(content)
        run(*given)
        assert seen[-1] != seen[-2], name


def test_files_of_the_system_and_odd_digits_are_no_trouble(case: Path, tmp_path: Path):
    for name in ("f10.png", "f2.png", "\u00b2a.png"):
        (tmp_path / name).write_bytes((case / "frames" / "f8.png").read_bytes())
    (tmp_path / "._f2.png").write_bytes(b"\0\5\x16\7")
    assert xr.read_frames(tmp_path).names == ("f2.png", "f10.png", "\u00b2a.png")
    for given in (5, [5]):
        with pytest.raises(xr.XrcoreError, match="sources must be a path"):
            xr.read_frames(given)  # type: ignore[arg-type]


def test_what_a_rig_names_is_beside_what_names_it_and_counts_as_an_input(case: Path, tmp_path: Path):
    folder, rig = tmp_path / "cameras", tmp_path / "rig.yaml"
    folder.mkdir()
    (folder / "one.yaml").write_text((case / "carm.yaml").read_text() + "mask: mask.png\n")
    left = Image.new("L", CARM.shape, 0)
    left.paste(255, (0, 0, 40, 96))
    left.save(folder / "mask.png")
    eye = [[float(row == column) for column in range(4)] for row in range(4)]
    rig.write_text(json.dumps({"views": [{"camera_from_rig": eye, "carm": "cameras/one.yaml"}]}))
    (view,) = xr.read_frames([case / "frames"], rig=rig)[0]
    assert view.xray.mask[:, :40].all()
    assert not view.xray.mask[:, 40:].any()

    def read() -> object:
        return input_fingerprints(case / "ct.nii.gz", None, None, [rig], None)["rig"]

    first = read()
    left.putpixel((50, 50), 255)
    left.save(folder / "mask.png")
    second = read()
    (folder / "one.yaml").write_text((folder / "one.yaml").read_text() + "invert: true\n")
    assert first != second != read()
