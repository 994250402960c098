"""Output is whole or not there, whatever goes wrong on the way."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

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


@pytest.mark.parametrize("name", ["absent/table.csv", "table\0.csv", "taken.csv"])
def test_a_file_that_cannot_be_is_named(tmp_path, name):
    (tmp_path / "taken.csv").mkdir()
    with pytest.raises(XrcoreError, match="cannot be written"), atomic_file(tmp_path / name) as temporary:
        temporary.write_text("text")
    assert names(tmp_path) == ["taken.csv"]


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


def test_a_folder_in_a_files_way_is_named(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(XrcoreError, match="a: a folder of this name is in the way"), atomic_folder(tmp_path) as folder:
        (folder / "a").write_text("a")
    assert names(tmp_path) == ["a"]


def test_an_output_that_cannot_be_is_refused_before_the_work(tmp_path):
    (tmp_path / "file").write_text("")
    check_writable(tmp_path / "new/folder")
    for folder, why in ((tmp_path / "file", "this is a file, not a folder"), (tmp_path / "file/below", "file is a file")):
        with pytest.raises(XrcoreError, match=why):
            check_writable(folder)
