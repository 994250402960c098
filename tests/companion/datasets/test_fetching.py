"""Fetching: from a server that breaks off, lies, sends other bytes, or is not there; and nothing unfinished is ever seen as whole."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from support.data_sets import CONTENT, Bar, series, sha256, single, store, unverified, visible, write_manifest
from support.server import Site, serving

from companion.datasets.lock_file import FILE, read_records
from companion.datasets.mirror import Mirror
from companion.datasets.resuming_download import ResumingDownloader
from companion.datasets.store import ABSENT, BEGUN, DAMAGED, HERE, MIRRORED
from xrcore import XrcoreError

HALF = 5 * 65536


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as site:
        site.files["/data.bin"] = CONTENT
        yield site


# one file


def test_a_file_arrives_and_is_not_fetched_twice(site, tmp_path):
    data = store(tmp_path, x=single(site))
    assert data.state("x") == ABSENT
    bar = Bar()
    assert data.fetch("x", bar=bar) == "downloaded"
    assert (bar.total, bar.count) == (len(CONTENT), len(CONTENT))
    assert data.find("x").read_bytes() == CONTENT
    assert data.state("x") == HERE
    assert data.fetch("x") == "here"
    assert site.requests == [("/data.bin", None)]
    assert visible(data.folder) == ["ct/data.bin"]
    assert not list((data.folder / ".downloads").glob("x*"))


def test_a_broken_transfer_goes_on_where_it_was(site, tmp_path):
    site.break_after = [HALF, 65536]
    bar = Bar()
    data = store(tmp_path, x=single(site))
    data.fetch("x", bar=bar)
    assert data.find("x").read_bytes() == CONTENT
    assert site.requests == [("/data.bin", None), ("/data.bin", f"bytes={HALF}-"), ("/data.bin", f"bytes={HALF + 65536}-")]
    assert sum(site.sent) == len(CONTENT)  # only the rest each time
    assert bar.count == len(CONTENT)


def test_a_later_run_goes_on_too(site, tmp_path):
    data = store(tmp_path, x=single(site))
    site.break_after, site.statuses = [HALF], [200, 500, 500, 500]
    with pytest.raises(XrcoreError, match=rf"HTTP 500; {HALF} bytes are kept, the same command continues there"):
        data.fetch("x")
    assert data.state("x") == BEGUN
    assert visible(data.folder) == []
    assert store(tmp_path, x=single(site)).fetch("x") == "downloaded"
    assert site.requests[-1] == ("/data.bin", f"bytes={HALF}-")
    assert sum(site.sent) == len(CONTENT)


def test_a_server_without_ranges_sends_the_whole_again(site, tmp_path):
    site.ranges, site.break_after = False, [HALF]
    bar = Bar()
    data = store(tmp_path, x=single(site))
    data.fetch("x", bar=bar)
    assert data.find("x").read_bytes() == CONTENT
    assert site.sent == [HALF, len(CONTENT)]
    assert bar.count == len(CONTENT)


@pytest.mark.parametrize("etag", ['"1"', None])
def test_a_file_that_changed_in_between_is_not_joined_to_its_old_half(site, tmp_path, etag):
    # unverified: no hash would tell; without an ETag the size does
    site.etag, site.break_after, site.statuses = etag, [HALF], [200, 500, 500, 500]
    data = store(tmp_path, x=unverified(site))
    with pytest.raises(XrcoreError, match="500"):
        data.fetch("x")
    site.files["/data.bin"] = new = CONTENT[::-1] + b"more"
    site.etag = etag and '"2"'
    data.fetch("x")
    assert data.find("x").read_bytes() == new


def test_joined_bytes_with_a_wrong_hash_get_a_second_chance_as_a_whole(site, tmp_path):
    site.etag, site.break_after, site.statuses = None, [HALF], [200, 500, 500, 500]
    site.files["/data.bin"] = CONTENT[::-1]
    data = store(tmp_path, x=single(site))
    with pytest.raises(XrcoreError, match="500"):
        data.fetch("x")
    site.files["/data.bin"] = CONTENT  # of the same size: only the hash can tell
    data.fetch("x")
    assert data.find("x").read_bytes() == CONTENT


@pytest.mark.parametrize("stated", [5000, -5000])
def test_a_lie_about_the_length_does_no_harm(site, tmp_path, stated):
    site.stated = [stated]
    data = store(tmp_path, x=single(site))
    data.fetch("x")
    assert data.find("x").read_bytes() == CONTENT


@pytest.mark.parametrize("entry", [single, unverified])
def test_a_file_that_always_ends_before_its_stated_length_is_not_taken_for_whole(site, tmp_path, entry):
    site.stated = [5000] * 9
    site.files["/data.bin"] = CONTENT[:-1]
    data = store(tmp_path, x=entry(site))
    with pytest.raises(XrcoreError, match=r"data\.bin: .*kept"):
        data.fetch("x")
    assert visible(data.folder) == []


@pytest.mark.parametrize("status", [404, 500, 503, 429])
def test_a_passing_error_is_tried_again(site, tmp_path, status):
    site.statuses = [status, status]
    data = store(tmp_path, x=single(site))
    assert data.fetch("x") == "downloaded"
    assert len(site.requests) == 3


def test_attempts_wait_longer_and_longer_but_not_after_progress(site, tmp_path):
    waits: list[float] = []
    site.statuses, site.break_after = [500, 500, 500, 200, 500], [HALF]
    downloader = ResumingDownloader(tmp_path / "part", size=len(CONTENT), sleep=waits.append)
    downloader(f"{site.address}/data.bin", tmp_path / "whole", None)
    assert waits == [1.0, 2.0, 4.0, 1.0, 2.0]
    assert downloader.resumed
    assert (tmp_path / "whole").read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]


def test_a_forbidden_file_is_not_asked_for_again(site, tmp_path):
    site.statuses = [403] * 9
    with pytest.raises(XrcoreError, match=r"refuses to hand it out \(HTTP 403\); fetch the file by hand"):
        store(tmp_path, x=single(site)).fetch("x")
    assert len(site.requests) == 1


@pytest.mark.parametrize("content", [CONTENT[:-1] + b"\0", CONTENT + b"\0", CONTENT[:-1], b"<html>moved</html>", b""])
def test_wrong_bytes_are_never_kept(site, tmp_path, content):
    site.files["/data.bin"] = content
    if content == CONTENT:
        pytest.skip("the random content ends in this byte")
    data = store(tmp_path, x=single(site))
    if content == CONTENT + b"\0":  # no more than the manifest's bytes are read, and those are right
        data.fetch("x")
        assert data.find("x").read_bytes() == CONTENT
        return
    with pytest.raises(XrcoreError, match=r"data\.bin"):
        data.fetch("x")
    assert visible(data.folder) == []
    with pytest.raises(XrcoreError, match=r"x was not found; run `xrcore data fetch x`"):
        data.find("x")


def test_redirects_are_followed_and_resumed(site, tmp_path):
    site.redirects["/old"] = f"{site.address}/data.bin"
    site.break_after = [HALF]
    data = store(tmp_path, x=single(site, url=f"{site.address}/old"))
    data.fetch("x")
    assert data.find("x").read_bytes() == CONTENT
    assert sum(site.sent) == len(CONTENT)


def test_a_redirect_to_http_is_refused_unless_a_sha256_tells_the_bytes(site, tmp_path):
    site.redirects["/old"] = f"{site.address}/data.bin".replace(
        "127.0.0.1", "[::ffff:127.0.0.1]"
    )  # this machine, by a name that is not known
    with pytest.raises(XrcoreError, match=r"is http, which anybody on the way can change"):
        store(tmp_path, x=unverified(site, url=f"{site.address}/old")).fetch("x")
    assert store(tmp_path, x=single(site, url=f"{site.address}/old")).fetch("x") == "downloaded"


def test_no_network_ends_in_one_line(tmp_path, site):
    lost = single(site, url="http://127.0.0.1:9/data.bin")  # the discard port: nobody listens
    with pytest.raises(XrcoreError, match=r"cannot be reached; check the network, or set XRCORE_DATA_MIRROR") as error:
        store(tmp_path, x=lost).fetch("x")
    assert "\n" not in str(error.value)


def test_a_damaged_file_is_replaced(site, tmp_path):
    data = store(tmp_path, x=single(site))
    data.fetch("x")
    (data.folder / "ct/data.bin").write_bytes(CONTENT[::-1])
    assert [checked.wrong is None for checked in data.verify("x")] == [False]
    with pytest.raises(XrcoreError, match=r"its bytes are not those of the manifest; run `xrcore data fetch x`"):
        data.find("x")
    assert data.fetch("x") == "downloaded"
    assert [checked.wrong for checked in data.verify("x")] == [None]


# trust on first use


def test_an_unverified_hash_is_recorded_and_holds(site, tmp_path):
    data = store(tmp_path, x=unverified(site))
    data.fetch("x")
    assert read_records(data.folder)["x"].sha256 == sha256(CONTENT)
    assert [c.wrong for c in data.verify("x")] == [None]
    (data.folder / "ct/data.bin").unlink()
    site.files["/data.bin"] = CONTENT[::-1]
    with pytest.raises(XrcoreError, match="they had when they were first fetched; nothing was kept"):
        data.fetch("x")
    assert visible(data.folder) == [FILE]
    site.files["/data.bin"] = CONTENT
    data.fetch("x")
    (data.folder / "ct/data.bin").write_bytes(b"other")
    assert data.verify("x")[0].wrong is not None


def test_a_hash_that_others_state_must_match(site, tmp_path):
    stated = {"hash": f"md5:{hashlib.md5(CONTENT[::-1]).hexdigest()}", "hash_from": "a forum"}
    data = store(tmp_path, x=unverified(site, **stated))
    with pytest.raises(XrcoreError, match="that a forum state; nothing was kept"):
        data.fetch("x")
    assert read_records(data.folder) == {}
    site.files["/data.bin"] = CONTENT[::-1]
    data.fetch("x")
    assert read_records(data.folder)["x"].sha256 == sha256(CONTENT[::-1])


def test_a_damaged_record_is_named(site, tmp_path):
    data = store(tmp_path, x=unverified(site))
    data.fetch("x")
    (data.folder / FILE).write_text('{"entries": {"x": 3}}')
    with pytest.raises(XrcoreError, match=r"data\.lock\.json: the record of fetched data is damaged; delete it"):
        data.fetch("x")


# series


def test_a_series_appears_whole(site, tmp_path):
    data = store(tmp_path, s=series(site, ("a", "b", "in/c")))
    site.statuses = [200, 200, 500, 500, 500]
    with pytest.raises(XrcoreError, match="HTTP 500"):
        data.fetch("s")
    assert visible(data.folder) == []  # two of three have arrived
    assert data.state("s") == BEGUN
    site.requests.clear()
    bar = Bar()
    data.fetch("s", bar=bar)
    assert [path for path, _ in site.requests] == ["/s/in/c"]
    assert bar.count == 6000
    assert visible(data.folder) == ["ct/folder/a", "ct/folder/b", "ct/folder/in/c"]
    assert data.find("s") == data.folder / "ct/folder"


def test_a_series_that_lost_a_file_gets_that_file(site, tmp_path):
    data = store(tmp_path, s=series(site, ("a", "b", "in/c")))
    data.fetch("s")
    (data.folder / "ct/folder/b").unlink()
    (data.folder / "ct/folder/in/c").write_bytes((b"in/c" * 1000)[:-1] + b"d")
    (data.folder / "ct/folder/notes").write_text("mine")
    assert data.state("s") == DAMAGED
    assert [c.path.name for c in data.verify("s") if c.wrong] == ["b", "c"]
    site.requests.clear()
    data.fetch("s")
    assert [path for path, _ in site.requests] == ["/s/b", "/s/in/c"]
    assert all(c.wrong is None for c in data.verify("s"))
    assert (data.folder / "ct/folder/notes").read_text() == "mine"


# mirror


def test_a_mirror_is_used_in_place_or_by_hash(site, tmp_path):
    mirror = tmp_path / "mirror"
    (mirror / "ct").mkdir(parents=True)
    (mirror / "ct/data.bin").write_bytes(CONTENT)
    data = store(tmp_path, mirror, x=single(site))
    assert data.state("x") == MIRRORED
    assert data.fetch("x") == "in mirror"
    assert data.find("x") == mirror / "ct/data.bin"
    assert not data.folder.exists()
    (mirror / "ct/data.bin").rename(mirror / "other name")
    data = store(tmp_path, mirror, x=single(site))
    assert data.fetch("x") == "copied from mirror"
    assert data.find("x").read_bytes() == CONTENT
    assert site.requests == []


def test_wrong_bytes_in_a_mirror_are_said_and_not_used(site, tmp_path, caplog):
    mirror = tmp_path / "mirror"
    (mirror / "ct").mkdir(parents=True)
    (mirror / "ct/data.bin").write_bytes(CONTENT[::-1])
    data = store(tmp_path, mirror, x=single(site))
    with pytest.raises(XrcoreError, match="its bytes are not those of the manifest"):
        data.find("x")
    assert data.fetch("x") == "downloaded"
    assert caplog.messages == [f"{mirror / 'ct/data.bin'}: its bytes are not those of the manifest, so it is not used"]
    assert data.find("x") == data.folder / "ct/data.bin"
    assert data.find("x").read_bytes() == CONTENT


def test_a_mirror_that_is_none_is_refused(monkeypatch, tmp_path):
    with pytest.raises(XrcoreError, match="set XRCORE_DATA_MIRROR to the folder that holds"):
        Mirror(tmp_path / "none")


# processes


def command(tmp_path: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "xrcore", "data", *arguments, "--manifest", str(tmp_path / "manifest.yaml")]


def environment(tmp_path: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("XRCORE_")}
    return {**kept, "XRCORE_DATA": str(tmp_path / "data"), "OMP_NUM_THREADS": "1"}


def test_a_link_under_a_name_that_can_be_foreseen_is_not_written_through(site, tmp_path):
    victim = tmp_path / "victim"
    data = store(tmp_path, x=single(site))
    site.break_after = [HALF, 0, 0, 0]
    with pytest.raises(XrcoreError):
        data.fetch("x")
    planted = data.folder / ".downloads/x/data.bin.part"
    begun = planted.read_bytes()
    victim.write_bytes(begun)
    planted.unlink()
    planted.symlink_to(victim)
    site.break_after = []
    with suppress(XrcoreError):
        data.fetch("x")
    assert victim.read_bytes() == begun
    planted.unlink(missing_ok=True)
    data.fetch("x")
    assert data.find("x").read_bytes() == CONTENT


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_killed_fetch_leaves_nothing_whole_and_is_continued(site, tmp_path, number):
    write_manifest(tmp_path / "manifest.yaml", x=single(site))
    site.slow = 0.2
    heard = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a shell's background jobs are deaf to it, and so are their children
    process = subprocess.Popen(command(tmp_path, "fetch", "x"), env=environment(tmp_path), stdout=subprocess.DEVNULL, preexec_fn=heard)
    part = tmp_path / "data/.downloads/x/data.bin.part"
    for _ in range(3000):
        if part.exists() and part.stat().st_size:
            break
        time.sleep(0.02)
    process.send_signal(number)
    assert process.wait(30) == {signal.SIGKILL: -signal.SIGKILL, signal.SIGINT: 130, signal.SIGTERM: 143}[number]
    assert visible(tmp_path / "data") == []
    kept = part.stat().st_size
    assert 0 < kept < len(CONTENT)
    site.slow = 0.0
    done = subprocess.run(command(tmp_path, "fetch", "x"), env=environment(tmp_path), check=True, capture_output=True, text=True)
    assert "x: downloaded" in done.stdout
    assert site.requests[-1] == ("/data.bin", f"bytes={kept}-")
    assert (tmp_path / "data/ct/data.bin").read_bytes() == CONTENT
    assert [p.name for p in (tmp_path / "data/.downloads").iterdir()] == ["lock"]


def test_two_fetches_at_once_do_not_mix(site, tmp_path):
    site.slow = 0.05
    data = store(tmp_path, x=single(site))
    first = threading.Thread(target=data.fetch, args=("x",))
    first.start()
    while not site.requests:
        time.sleep(0.01)
    with pytest.raises(XrcoreError, match="another fetch is writing there; wait for its end"):
        store(tmp_path, x=single(site)).fetch("x")
    first.join()
    assert data.find("x").read_bytes() == CONTENT


# command line


@pytest.fixture
def cli(run, site, tmp_path, monkeypatch):
    monkeypatch.setenv("XRCORE_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("XRCORE_DATA_MIRROR", raising=False)
    path = write_manifest(tmp_path / "manifest.yaml", x=single(site, patient="1"), y=unverified(site, path="xray/y.bin"), s=series(site))
    return lambda *arguments: run("data", *arguments, "--manifest", path)


def test_commands_from_nothing_to_verified(cli, tmp_path):
    row = {line.split()[0]: line for line in cli("list").out.splitlines() if line}
    assert "not fetched" in row["x"]
    assert "700.0 kB" in row["x"]
    assert "unverified" in row["y"]
    assert cli("verify").code == 0
    missing = cli("verify", "x")
    assert (missing.code, missing.err) == (2, "xrcore: error: not fetched: x; run `xrcore data fetch x`\n")
    fetched = cli("fetch", "--all-patients")
    assert fetched.code == 0
    assert fetched.out.splitlines() == ["x: file, 700.0 kB, none", f"x: downloaded, {tmp_path / 'data/ct/data.bin'}"]
    assert cli("fetch", "y", "s").code == 0
    row = {line.split()[0]: line for line in cli("list").out.splitlines() if line}
    assert "here" in row["x"]
    assert "recorded" in row["y"]
    assert cli("verify").out.splitlines() == ["x: ok, 1 file", "y: ok, 1 file", "s: ok, 3 files"]
    (tmp_path / "data/ct/folder/b").write_bytes(b"x")
    wrong = cli("verify")
    assert wrong.code == 2
    assert wrong.err.startswith("xrcore: error: wrong bytes in s; run `xrcore data fetch s`")
    assert wrong.err.count("\n") == 1


def test_the_list_of_what_there_is_fits_a_terminal(run, monkeypatch, tmp_path):
    monkeypatch.setenv("XRCORE_DATA", str(tmp_path))
    monkeypatch.delenv("XRCORE_DATA_MIRROR", raising=False)
    done = run("data", "list")
    assert done.code == 0
    assert "abdomen" in done.out
    table = done.out.split("\ndata folder")[0].splitlines()
    assert max(map(len, table)) <= 80


def test_bad_requests_are_one_line_and_code_2(cli, site):
    for arguments, said in (
        (("fetch", "z"), "there is no data set 'z'; choose from x, y, s"),
        (("fetch", "x", "z"), "there is no data set 'z'"),
        (("verify", "z"), "there is no data set 'z'"),
        (("fetch",), "nothing to fetch; give names"),
    ):
        done = cli(*arguments)
        assert done.code == 2
        assert said in done.err
        assert done.err.count("\n") == 1
    assert site.requests == []


def test_wrong_bytes_are_one_line_and_code_2(cli, site):
    site.files["/data.bin"] = CONTENT[::-1]
    done = cli("fetch", "x")
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert "do not have the sha256" in done.err


def test_a_record_is_readable_json(site, tmp_path):
    data = store(tmp_path, x=unverified(site))
    data.fetch("x")
    content = json.loads((data.folder / FILE).read_text())
    assert content["entries"]["x"]["files"] == {"ct/data.bin": [len(CONTENT), sha256(CONTENT)]}
