"""Output is whole or not there, whatever goes wrong on the way."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from xrcore._util.errors import XrcoreError
from xrcore.utilities import atomic_file, atomic_folder, check_writable


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def permissions(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def fail_after(path: Path) -> None:
    path.write_text("")
    raise RuntimeError


def test_a_file_appears_when_it_is_whole(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("before")
    with atomic_file(path) as temporary:
        assert temporary.suffix == ".csv"  # some writers choose the format by it
        temporary.write_text("half")
        assert path.read_text() == "before"
    assert path.read_text() == "half"
    assert names(tmp_path) == ["table.csv"]


@pytest.mark.parametrize("error", [RuntimeError("broken"), KeyboardInterrupt()], ids=["error", "interrupt"])
def test_a_file_stays_as_it_was_where_its_writer_fails(tmp_path, error):
    path = tmp_path / "table.csv"
    path.write_text("before")

    def write() -> None:
        with atomic_file(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(type(error)):
        write()
    assert path.read_text() == "before"
    assert names(tmp_path) == ["table.csv"]


def test_a_full_disk_is_named_in_one_line(tmp_path, monkeypatch):
    path = tmp_path / "table.csv"
    path.write_text("before")
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(XrcoreError, match=r"table.csv: cannot be written \(No space left on device\)$"), atomic_file(path) as temporary:
        temporary.write_text("after")
    assert path.read_text() == "before"
    assert names(tmp_path) == ["table.csv"]


@pytest.mark.parametrize("name", ["file/table.csv", "new/table\0.csv", "taken.csv", "new/" + "x" * 256])
def test_a_file_that_cannot_be_is_named(tmp_path, name):
    (tmp_path / "taken.csv").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(XrcoreError, match="cannot be written"), atomic_file(tmp_path / name) as temporary:
        temporary.write_text("text")
    assert names(tmp_path) == ["file", "taken.csv"]


def test_folders_above_a_file_are_made_and_stay_only_with_it(tmp_path):
    path = tmp_path / "results/patient/table.csv"
    with pytest.raises(RuntimeError), atomic_file(path) as temporary:
        fail_after(temporary)
    assert names(tmp_path) == []
    with atomic_file(path) as temporary:
        temporary.write_text("text")
    assert path.read_text() == "text"
    (tmp_path / "there").mkdir()
    with pytest.raises(RuntimeError), atomic_file(tmp_path / "there/new/table.csv") as temporary:
        fail_after(temporary)
    assert names(tmp_path) == ["results", "there"]  # what was there before stays, though it is empty


@pytest.fixture
def umask() -> Iterator[None]:
    before = os.umask(0o027)
    yield
    os.umask(before)


def test_permissions_are_those_of_any_new_file(tmp_path, umask):
    (tmp_path / "plain").write_text("")
    with atomic_file(tmp_path / "atomic") as temporary:
        temporary.write_text("")
    with atomic_folder(tmp_path / "folder") as folder:
        (folder / "file").write_text("")
    assert permissions(tmp_path / "atomic") == permissions(tmp_path / "folder/file") == permissions(tmp_path / "plain") == 0o640


def test_a_kill_leaves_what_was_there(tmp_path):
    (tmp_path / "table.csv").write_text("before")
    code = f"""
import os, signal
from xrcore.utilities import atomic_file
with atomic_file({str(tmp_path / "table.csv")!r}) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    assert (tmp_path / "table.csv").read_text() == "before"
    assert len(list(tmp_path.glob(".table-*.part.csv"))) == 1


def test_a_folder_gets_all_files_or_none(tmp_path):
    target = tmp_path / "new/result"
    with pytest.raises(RuntimeError), atomic_folder(target) as folder:
        fail_after(folder / "a")
    assert names(tmp_path) == []
    with atomic_folder(target) as folder:
        (folder / "a").write_text("a")
        (folder / "b").write_text("b")
        assert not target.exists()
    assert names(target) == ["a", "b"]
    with atomic_folder(target) as folder:
        (folder / "b").write_text("again")
    assert names(target) == ["a", "b"]  # files of other names stay
    assert (target / "b").read_text() == "again"


# forks a process that writes into DIR/N/result, for each event of the file system, which kills it there; prints what each left
KILLED_AT_EVERY_EVENT = """
import json, os, signal, sys
from itertools import count
from pathlib import Path
from xrcore._util.atomic import atomic_folder

def write(target, last):
    def kill(event, arguments, seen=count(1)):
        if event.split(".")[0] in ("os", "open", "shutil") and next(seen) == last:
            os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(kill)
    with atomic_folder(target, record="record.json") as folder:
        for name in ("points.tfm", "picture.png", "record.json"):
            (folder / name).write_text("new")

def texts(target):
    return {path.name: path.read_text() for path in target.iterdir() if path.is_file()} if target.exists() else None

for last in count(1):
    target = Path(sys.argv[1]) / str(last) / "result"
    for name, text in json.loads(sys.argv[2]).items():
        target.mkdir(parents=True, exist_ok=True)
        (target / name).write_text(text)
    if (child := os.fork()) == 0:
        write(target, last)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    print(json.dumps(texts(target)))
    if status == 0:
        break
"""
WHOLE = {"points.tfm": "new", "picture.png": "new", "record.json": "new"}


def killed_at_every_event(folder: Path, **old: str) -> list[dict[str, str] | None]:
    command = [sys.executable, "-c", KILLED_AT_EVERY_EVENT, folder, json.dumps(old)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_kill_at_any_moment_leaves_a_new_folder_whole_or_absent(tmp_path):
    left = killed_at_every_event(tmp_path)
    assert len(left) > 10
    assert left[0] is None
    assert left[-1] == WHOLE
    assert all(files in (None, WHOLE) for files in left)


def test_a_kill_at_any_moment_leaves_no_record_over_files_that_are_not_its_own(tmp_path):
    old = {"points.tfm": "old", "picture.png": "old", "record.json": "old", "other": "old"}
    left = killed_at_every_event(tmp_path, **old)
    assert left[0] == old
    assert left[-1] == WHOLE | {"other": "old"}
    for files in left:
        assert files is not None
        assert files.pop("other") == "old"
        assert "record.json" not in files or set(files.values()) in ({"old"}, {"new"})


def test_files_of_two_writers_do_not_mix(tmp_path):
    code = """
import os, sys
from pathlib import Path
from xrcore._util.atomic import atomic_folder
target = Path(sys.argv[1])
for _ in range(10):
    for text in ("one", "two"):
        if os.fork() == 0:
            with atomic_folder(target, record="file 0") as folder:
                for number in range(20):
                    (folder / f"file {number}").write_text(text)
            os._exit(0)
    assert os.wait()[1] == os.wait()[1] == 0
    print(*sorted({path.read_text() for path in target.iterdir()}))
"""
    (tmp_path / "out").mkdir()
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "out"], capture_output=True, text=True, timeout=120, check=True)
    assert set(done.stdout.splitlines()) <= {"one", "two"}


def test_a_new_folder_is_as_others_may_read_it(tmp_path, umask):
    with atomic_folder(tmp_path / "new") as folder:
        (folder / "a").write_text("a")
    assert permissions(tmp_path / "new") == 0o750


def test_a_folder_behind_a_link_is_written_to(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there")
    with atomic_folder(tmp_path / "link") as folder:
        (folder / "a").write_text("a")
    assert names(tmp_path / "there") == ["a"]


@pytest.mark.parametrize("length", [250, 255])
def test_the_longest_names_are_written(tmp_path, length):
    name = "é" * ((length - 4) // 2) + "." + "x" * 3
    with atomic_folder(tmp_path / name) as folder, atomic_file(folder / name) as temporary:
        temporary.write_text("text")
    assert (tmp_path / name / name).read_text() == "text"


def test_a_folder_in_a_files_way_is_named(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(XrcoreError, match="a: a folder of this name is in the way"), atomic_folder(tmp_path) as folder:
        (folder / "a").write_text("a")
    assert names(tmp_path) == ["a"]


def test_an_output_that_cannot_be_is_refused_before_the_work(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "taken").mkdir()
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "circle").symlink_to("circle")
    check_writable(tmp_path / "new/folder", "name")
    check_writable(tmp_path, "file", "new")
    for folder, names_in_it, why in (
        (tmp_path / "file", (), "this is a file, not a folder"),
        (tmp_path / "file/below", (), "file is a file"),
        (tmp_path / "link", (), "this is a link that leads nowhere"),
        (tmp_path / "circle/below", (), "circle"),
        (tmp_path / ("x" * 256), (), "File name too long"),
        (tmp_path / "new" / ("é" * 128), (), "File name too long"),
        (tmp_path / "new", ("x" * 256,), "File name too long"),
        (tmp_path / ("x" * 5000), (), "File name too long"),
        (tmp_path / "a\0b", (), "null"),
        (tmp_path, ("new", "taken"), "taken: a folder of this name is in the way"),
    ):
        with pytest.raises(XrcoreError, match=why) as caught:
            check_writable(folder, *names_in_it)
        assert "\n" not in str(caught.value)
    assert names(tmp_path) == ["circle", "file", "link", "taken"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user, to whom permissions apply")
def test_folders_without_permission_are_named():
    code = """
import os, sys
from xrcore._util.atomic import atomic_file, atomic_folder, check_writable
from xrcore._util.errors import XrcoreError
os.setgid(65534), os.setuid(65534)
def write():
    with atomic_folder(sys.argv[1]) as folder:
        raise SystemExit("began to write")
def write_file():
    with atomic_file(os.path.join(sys.argv[1], "file")):
        raise SystemExit("began to write")
for attempt in (lambda: check_writable(sys.argv[1], "file"), write, write_file):
    try:
        attempt()
        print("accepted")
    except XrcoreError as error:
        print(error)
"""
    with TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        for mode, below in ((0o555, ""), (0o666, ""), (0o000, ""), (0o555, "new"), (0o666, "new"), (0o000, "new")):
            folder = Path(place) / f"{mode:o}{below}"
            folder.mkdir()
            folder.chmod(mode)
            done = subprocess.run([sys.executable, "-c", code, folder / below], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            said = done.stdout.splitlines()
            assert len(said) == 3, done.stdout
            assert all(re.search("permission to write in|Permission denied", line) for line in said), said
