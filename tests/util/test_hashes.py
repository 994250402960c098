"""Hashes of files, folders and files that belong together."""

from __future__ import annotations

import hashlib
import os
import subprocess

import pytest

from xrcore import XrcoreError
from xrcore._util.hashes import file_sha256, fingerprint


def test_one_file_is_its_own_hash(tmp_path):
    (tmp_path / "a").write_bytes(b"content")
    assert file_sha256(tmp_path / "a") == hashlib.sha256(b"content").hexdigest()
    assert fingerprint(tmp_path / "a", [tmp_path / "a"]) == fingerprint(tmp_path / "a")


def test_files_that_belong_together_are_what_sha256sum_prints(tmp_path):
    for name in ("head.mhd", "body.raw"):
        (tmp_path / name).write_text(name)
    command = "find head.mhd body.raw -type f | xargs sha256sum | LC_ALL=C sort -k 2 | sha256sum"
    printed = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    for files in ([tmp_path / "body.raw"], [tmp_path / "body.raw", tmp_path / "head.mhd"]):
        found = fingerprint(tmp_path / "head.mhd", files)
        assert found == {"path": str(tmp_path / "head.mhd"), "files": 2, "sha256": printed.split()[0]}


def test_hidden_files_do_not_count(tmp_path):
    (tmp_path / "sub").mkdir()
    for name in ("a", "sub/b"):
        (tmp_path / name).write_text(name)
    before = fingerprint(tmp_path)
    (tmp_path / ".git").mkdir()
    for name in (".DS_Store", "sub/._b", ".git/c"):
        (tmp_path / name).touch()
    assert fingerprint(tmp_path) == before
    command = "find * -not -path '*/.*' -type f | xargs sha256sum | LC_ALL=C sort -k 2 | sha256sum"
    printed = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert before["sha256"] == printed.split()[0]


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(XrcoreError, match="not a file"):
        file_sha256(tmp_path / "pipe")
    (tmp_path / "a").touch()
    assert fingerprint(tmp_path)["files"] == 1
