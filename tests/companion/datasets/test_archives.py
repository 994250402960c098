"""Archives: what is wanted of them is unpacked whole, and nothing gets out of its folder."""

from __future__ import annotations

import hashlib
import io
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.data_sets import ABOUT, store, visible
from support.server import Site, serving

from companion.datasets.archives import unpack
from companion.datasets.lock_file import read_records
from companion.datasets.store import ABSENT, HERE, MIRRORED
from xrcore import XrcoreError

INSIDE = {"set/a.txt": b"one", "set/deep/b.txt": b"two" * 1000, "set/readme.md": b"three"}


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as site:
        yield site


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", content: bytes = b"x") -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    info.size = len(content) if kind == tarfile.REGTYPE else 0
    return info, content


def tar(path: Path, *extra: tuple[tarfile.TarInfo, bytes], files: dict[str, bytes] = INSIDE) -> Path:
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as archive:
        for info, content in [*(member(name, content=content) for name, content in files.items()), *extra]:
            archive.addfile(info, io.BytesIO(content))
    return path


def zipped(path: Path, *extra: tuple[str, int], files: dict[str, bytes] = INSIDE) -> Path:
    """extra: names with their Unix mode."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        for name, mode in extra:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            archive.writestr(info, b"../outside")
    return path


@pytest.mark.parametrize("make", [lambda p: tar(p / "x.tar.gz"), lambda p: tar(p / "x.tar"), lambda p: zipped(p / "x.zip")])
def test_only_wanted_members_are_unpacked(tmp_path, make: Callable[[Path], Path]):
    found = unpack(make(tmp_path), tmp_path / "out", ("*.txt",))
    wanted = {name: content for name, content in INSIDE.items() if name.endswith(".txt")}
    assert found == {name: (len(content), hashlib.sha256(content).hexdigest()) for name, content in wanted.items()}
    assert visible(tmp_path / "out") == sorted(wanted)
    assert all((tmp_path / "out" / name).read_bytes() == content for name, content in wanted.items())


def test_links_between_members_become_files(tmp_path):
    links = (member("set/deep/c.txt", tarfile.SYMTYPE, "../a.txt"), member("d.txt", tarfile.LNKTYPE, "set/a.txt"))
    unpack(tar(tmp_path / "x.tar", *links), tmp_path / "out", ("*",))
    for name in ("set/deep/c.txt", "d.txt"):
        assert (tmp_path / "out" / name).read_bytes() == b"one"
        assert not (tmp_path / "out" / name).is_symlink()


@pytest.mark.parametrize(
    "bad",
    [
        member("../outside"),
        member("set/../../outside"),
        member("/tmp/outside"),
        member("C:/outside"),
        member("..\\outside"),
        member("set/link", tarfile.SYMTYPE, "/etc/passwd"),
        member("set/link", tarfile.SYMTYPE, "../../outside"),
        member("link", tarfile.SYMTYPE, "set/../.."),
        member("link", tarfile.LNKTYPE, "../outside"),
        member("set/device", tarfile.CHRTYPE),
        member("set/disk", tarfile.BLKTYPE),
        member("set/pipe", tarfile.FIFOTYPE),
    ],
    ids=lambda bad: f"{bad[0].name}-{bad[0].linkname}",
)
def test_a_tar_that_leads_out_is_refused_whole(tmp_path, bad):
    archive = tar(tmp_path / "x.tar.gz", bad)
    with pytest.raises(XrcoreError, match=r"x\.tar\.gz: refused, its member"):
        unpack(archive, tmp_path / "in/out", ("*.txt",))
    assert visible(tmp_path) == ["x.tar.gz"]


@pytest.mark.parametrize(
    "bad",
    [
        ("../outside", 0o100644),
        ("/tmp/outside", 0o100644),
        ("..\\outside", 0o100644),
        ("a/../../outside", 0),
        ("link", stat.S_IFLNK | 0o777),
        ("pipe", stat.S_IFIFO | 0o644),
    ],
)
def test_a_zip_that_leads_out_is_refused_whole(tmp_path, bad):
    archive = zipped(tmp_path / "x.zip", bad)
    with pytest.raises(XrcoreError, match=r"x\.zip: refused, its member"):
        unpack(archive, tmp_path / "in/out", ("*.txt",))
    assert visible(tmp_path) == ["x.zip"]


def test_damaged_archives_are_said_to_be(tmp_path):
    for archive in (tar(tmp_path / "x.tar.gz"), tar(tmp_path / "x.tar"), zipped(tmp_path / "x.zip")):
        content = archive.read_bytes()
        for damaged in (content[: len(content) // 2], b"<html>not found</html>", b""):
            archive.write_bytes(damaged)
            with pytest.raises(XrcoreError, match=r"x\.(tar|tar\.gz|zip): (a damaged archive|it holds nothing)"):
                unpack(archive, tmp_path / "out", ("*.md",))
            assert not (tmp_path / "out").exists()


def test_members_that_are_expected_must_be_there(tmp_path):
    with pytest.raises(XrcoreError, match=r"x\.zip: it holds nothing that matches '\*\.dcm'"):
        unpack(zipped(tmp_path / "x.zip"), tmp_path / "out", ("*.txt", "*.dcm"))
    assert not (tmp_path / "out").exists()


def test_members_of_one_name_are_refused(tmp_path):
    for extra in (member("set/a.txt"), member("set/a.txt/below")):
        with pytest.raises(XrcoreError, match="two of its members have the same name"):
            unpack(tar(tmp_path / "x.tar", extra), tmp_path / "out", ("*",))
        assert not (tmp_path / "out").exists()


# through a fetch


def entry(site: Site, **changes: object) -> dict[str, object]:
    address = f"{site.address}/set.tar.gz"
    return {
        "kind": "archive",
        "path": "ct/set",
        "file": "set.tar.gz",
        "members": ["*.txt"],
        **ABOUT,
        "url": address,
        "verified": False,
        **changes,
    }


def test_an_archive_is_fetched_unpacked_and_recorded(site, tmp_path):
    site.files["/set.tar.gz"] = content = tar(tmp_path / "set.tar.gz").read_bytes()
    data = store(tmp_path, z=entry(site))
    assert data.fetch("z") == "downloaded"
    assert data.state("z") == HERE
    assert visible(data.folder) == ["ct/set/set/a.txt", "ct/set/set/deep/b.txt", "data.lock.json"]
    record = read_records(data.folder)["z"]
    assert (record.bytes, record.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert [c.wrong for c in data.verify("z")] == [None, None]
    assert data.fetch("z") == "here"
    assert len(site.requests) == 1
    (data.folder / "ct/set/set/a.txt").write_bytes(b"two")
    assert [c.path.name for c in data.verify("z") if c.wrong] == ["a.txt"]
    (data.folder / "ct/set/set/a.txt").unlink()
    data.fetch("z")
    assert all(c.wrong is None for c in data.verify("z"))


def test_a_refused_archive_is_neither_recorded_nor_kept(site, tmp_path):
    bad = tar(tmp_path / "bad.tar.gz", member("../../outside.txt"))
    site.files["/set.tar.gz"] = bad.read_bytes()
    data = store(tmp_path, z=entry(site))
    with pytest.raises(XrcoreError, match=r"z: set\.tar\.gz: refused, its member '../../outside\.txt'"):
        data.fetch("z")
    assert data.state("z") == ABSENT
    assert visible(tmp_path) == ["bad.tar.gz", "manifest.yaml"]
    site.files["/set.tar.gz"] = tar(tmp_path / "set.tar.gz").read_bytes()
    data.fetch("z")
    assert data.state("z") == HERE


def test_a_fetch_killed_before_its_record_unpacks_again(site, tmp_path, monkeypatch):
    site.files["/set.tar.gz"] = tar(tmp_path / "set.tar.gz").read_bytes()
    data = store(tmp_path, z=entry(site))
    with monkeypatch.context() as patch:
        patch.setattr("companion.datasets.store.write_record", lambda *arguments: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            data.fetch("z")
    assert data.state("z") != HERE
    with pytest.raises(XrcoreError, match="xrcore data fetch z"):
        data.find("z")
    data.fetch("z")
    assert data.state("z") == HERE
    assert len(site.requests) == 1  # the archive itself had arrived


def test_a_mirror_may_hold_the_archive_or_its_members(site, tmp_path):
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    tar(mirror / "set.tar.gz")
    data = store(tmp_path, mirror, z=entry(site))
    assert data.fetch("z") == "copied from mirror"
    other = store(tmp_path / "data", data.folder, z=entry(site))
    assert other.state("z") == MIRRORED
    assert other.fetch("z") == "in mirror"
    assert site.requests == []
