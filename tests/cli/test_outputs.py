"""What is in the way of the results is said before the work: here none of the inputs is there, and that is not what is said."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from xrcore.registration.registration_files import FILES

COMMANDS = {
    "register": (("register", "absent.nii.gz", "absent.dcm", "--out"), FILES),
    "train": (("train", "absent.nii.gz", "--out"), ("training.png", "model.json", "log.csv", "checkpoint.json")),
    "demo": (("demo", "--out"), (*FILES, "bones.seg.nrrd", "ct.nii.gz", "landmarks.csv", "xray.dcm")),
    "bench": (("bench", "--out"), ("speed.csv", "speed.json")),
}
IN_FOLDERS = [(command, name) for command, (_, names) in COMMANDS.items() for name in names]


def refusal(run, *arguments: object) -> str:
    done = run(*arguments)
    assert done.code == 2
    assert done.out == ""
    (line,) = done.err.splitlines()
    assert line.startswith("xrcore: error: ")
    return line


@pytest.mark.parametrize(("command", "name"), IN_FOLDERS)
def test_a_folder_in_the_place_of_a_file(run, tmp_path, command, name):
    (tmp_path / "out" / name).mkdir(parents=True)
    arguments = [tmp_path / word if word.startswith("absent") else word for word in COMMANDS[command][0]]
    for path in arguments:
        if isinstance(path, Path):
            path.write_bytes(b"not looked into")
    assert f"{name}: a folder of this name is in the way" in refusal(run, *arguments, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == [name]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("out", "said"),
    [
        ("file", "this is a file, not a folder"),
        ("file/below", "file is a file"),
        ("link", "a link that leads nowhere"),
        ("x" * 256, "File name too long"),
        ("new/" + "é" * 128, "File name too long"),
    ],
)
def test_an_out_that_cannot_be_a_folder(run, tmp_path, command, out, said):
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to("nowhere")
    assert said in refusal(run, *COMMANDS[command][0], tmp_path / out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link"]


@pytest.mark.parametrize(
    ("out", "taken"), [("ap.png", "ap.png"), ("ap.png", "ap.carm.yaml"), ("ap.dcm", "ap.dcm"), ("f/ap.tif", "f/ap.carm.yaml")]
)
def test_a_folder_in_the_place_of_an_image(run, tmp_path, out, taken):
    (tmp_path / taken).mkdir(parents=True)
    assert f"{Path(taken).name}: a folder of this name is in the way" in refusal(run, "render", "absent.nii.gz", "--out", tmp_path / out)
    assert not any((tmp_path / taken).iterdir())


@pytest.mark.parametrize(
    "words",
    [
        *(words for words, _ in (COMMANDS["register"], COMMANDS["train"])),
        ("track", "absent.nii.gz", "absent.dcm", "--out"),
        ("render", "absent.nii.gz", "--out"),
        ("simulate", "absent.nii.gz", "--out"),
        ("draw", "absent.dcm", "absent", "--labels", "absent.nii.gz", "--out"),
        ("draw", "absent.dcm", "absent", "--slicer"),
    ],
    ids=lambda words: f"{words[0]} {words[-1]}",
)
def test_folders_may_be_missing_and_are_made_only_for_results(run, tmp_path, words):
    assert "no such file" in refusal(run, *words, tmp_path / "new/patient/out.png")
    assert not any(tmp_path.iterdir())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere; tests/util/test_atomic.py asks as another user")
@pytest.mark.parametrize("command", COMMANDS)
def test_a_folder_without_permission(run, tmp_path, command):
    tmp_path.chmod(0o555)
    assert "no permission to write in" in refusal(run, *COMMANDS[command][0], tmp_path / "out")
