"""The manifest: strict, complete, and the same as the registry of the mirror; patients are found where its data are."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
import yaml

import xrcore as xr
from companion.datasets.manifest import load_manifest, manifest_path, safe_path
from companion.datasets.mirror import Mirror
from companion.datasets.store import Store
from companion.experiments import PATIENTS, Patient, choose_patients
from xrcore import XrcoreError

ROOT = Path(__file__).parents[3]
SHA = "0" * 64
FILE = {
    "kind": "file",
    "path": "ct/x.nii.gz",
    "shows": "a",
    "stands_for": "b",
    "licence": "c",
    "citation": "d",
    "url": "https://example.org/x",
    "bytes": 3,
    "hash": f"sha256:{SHA}",
}
TEXTS = {key: FILE[key] for key in ("shows", "stands_for", "licence", "citation")}
SERIES = {"kind": "series", "path": "ct/s", **TEXTS, "base": "https://example.org/", "files": f"{SHA} 3 a\n{SHA} 4 b c/d\n"}
ARCHIVE = {"kind": "archive", "path": "ct/z", **TEXTS, "file": "z.zip", "members": ["*"], "url": "https://example.org/z", "verified": False}


def load(tmp_path: Path, content: object):
    path = tmp_path / "m.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(json.loads(json.dumps(content))))  # without aliases
    return load_manifest(path)


def test_the_manifest_is_the_one_at_the_top():
    assert manifest_path().resolve() == ROOT / "data_manifest.yaml"
    assert manifest_path().read_bytes() == (ROOT / "data_manifest.yaml").read_bytes()


def test_the_manifest_is_complete():
    manifest = load_manifest()
    assert {p.number: (p.name, p.path) for p in PATIENTS} == {e.patient: (e.name, e.path) for e in manifest.patients}
    assert [e.name for e in manifest.entries if e.verified] == [
        *(p.name for p in PATIENTS),
        "wrist-biplane",
        "knee-biplane",
        "rando-head-ct",
        "rando-head-portal",
    ]
    for entry in manifest.entries:
        assert all((entry.shows, entry.stands_for, entry.licence, entry.citation))
        assert entry.verified or not any(file.verified for file in entry.files)


def test_the_manifest_agrees_with_the_registry(shared_data):
    with (shared_data / "registry.csv").open(newline="") as file:
        registry = {row["path"]: (row["url"], int(row["bytes"]), f"sha256:{row['sha256']}") for row in csv.DictReader(file)}
    listed = {f.path: (f.url, f.bytes, f.hash) for e in load_manifest().entries for f in e.files if e.verified}
    assert listed.items() <= registry.items()  # a mirror may hold more than the manifest names


def test_the_mirror_holds_what_the_manifest_says(shared_data, tmp_path):
    store = Store(folder=tmp_path / "none", mirror=Mirror(shared_data))
    for entry in store.manifest.entries:
        if entry.verified:
            checked = store.verify(entry.name)
            assert len(checked) == len(entry.files)
            assert all(c.known and c.wrong is None for c in checked)
            assert store.fetch(entry.name) == "in mirror"
    assert not store.folder.exists()


def test_the_kinds(tmp_path):
    x, s, z = load(tmp_path, {"format": 1, "entries": {"s": SERIES, "x": FILE, "z": ARCHIVE}}).entries
    by_name = {entry.name: entry for entry in (x, s, z)}
    assert by_name["x"].files[0].path == "ct/x.nii.gz"
    assert [(f.path, f.url, f.bytes) for f in by_name["s"].files] == [
        ("ct/s/a", "https://example.org/a", 3),
        ("ct/s/b", "https://example.org/c/d", 4),
    ]
    assert by_name["s"].bytes == 7
    assert (by_name["z"].files[0].path, by_name["z"].bytes, by_name["z"].verified) == ("ct/z/z.zip", None, False)


@pytest.mark.parametrize(
    ("base", "changes", "said"),
    [
        (FILE, {"kind": "folder"}, "kind must be file, series, archive"),
        (FILE, {"colour": "red"}, "unknown key 'colour'"),
        (FILE, {"licence": None}, "licence must be text"),
        (FILE, {"path": "/etc/passwd"}, "path must be a plain relative path"),
        (FILE, {"path": "../x"}, "path must be a plain relative path"),
        (FILE, {"path": "ct\\x"}, "path must be a plain relative path"),
        (FILE, {"url": "file:///etc/passwd"}, "url must be an http or https address"),
        (FILE, {"url": "https://"}, "url must be an http or https address"),
        (ARCHIVE, {"url": "http://example.org/z"}, "url is http, which anybody on the way can change: give an https address, or a sha256"),
        (ARCHIVE, {"url": "http://example.org/z", "hash": f"md5:{SHA[:32]}", "hash_from": "a forum"}, "url is http, which anybody"),
        (FILE, {"bytes": 0}, "bytes must be a positive whole number"),
        (FILE, {"bytes": True}, "bytes must be a positive whole number"),
        (FILE, {"bytes": None}, "what has no bytes or no sha256 is not verified"),
        (FILE, {"hash": "sha256:12"}, "hash must be sha256: and 64"),
        (FILE, {"hash": f"sha1:{SHA}"}, "hash must be sha256: and 64"),
        (FILE, {"hash": f"md5:{SHA[:32]}"}, "what has no bytes or no sha256 is not verified"),
        (FILE, {"verified": "no"}, "verified must be true or false"),
        (FILE, {"verified": False}, "hash_from must say who states"),
        (FILE, {"bytes": 10**60}, "bytes must be a positive whole number"),
        (FILE, {"bytes": 2**60}, "bytes must be a positive whole number"),
        (FILE, {"url": "https://[::1/x"}, "url must be an http or https address"),
        (FILE, {"url": "https://example.org:port/x"}, "url must be an http or https address"),
        (FILE, {"url": "https://example.org:99999/x"}, "url must be an http or https address"),
        (FILE, {"url": "https://example.org/\ud800"}, "url must be an http or https address"),
        (FILE, {"url": "https://example.org/" + "x" * 5000}, "url must be an http or https address"),
        (FILE, {"path": "ct/" + "x" * 256}, "path must be a plain relative path"),
        (FILE, {"path": "ct/\udcff"}, "path must be a plain relative path"),
        (FILE, {"path": "data.lock.json"}, "path must not be a name that the data folder keeps for itself"),
        (FILE, {"path": "Data.Lock.JSON"}, "path must not be a name that the data folder keeps for itself"),
        (FILE, {"path": "data.lock.json/x"}, "path must not be a name that the data folder keeps for itself"),
        (FILE, {"path": ".downloads/y/z.part"}, "path must not be a name that the data folder keeps for itself"),
        (FILE, {"path": "ct/.z"}, "path must not be a name that the data folder keeps for itself"),
        (FILE, {"path": "ct/z.part"}, "path must not be a name that the data folder keeps for itself"),
        (SERIES, {"path": ".downloads"}, "path must not be a name that the data folder keeps for itself"),
        (SERIES, {"files": f"{SHA} 3 a.part.json"}, "files must not be a name that the data folder keeps for itself"),
        (SERIES, {"files": f"{SHA} 3 tmp1"}, "files must not be a name that the data folder keeps for itself"),
        (SERIES, {"files": f"{SHA} {'9' * 5000} a"}, "line 1 of files must be SHA256 BYTES NAME"),
        (SERIES, {"files": f"{SHA} ³ a"}, "line 1 of files must be SHA256 BYTES NAME"),
        (SERIES, {"files": f"{SHA} 3"}, "line 1 of files must be SHA256 BYTES NAME"),
        (SERIES, {"files": f"{SHA} three a"}, "line 1 of files must be SHA256 BYTES NAME"),
        (SERIES, {"files": f"{SHA} 3 a\n{SHA} 3 a"}, "files must name each file once"),
        (SERIES, {"files": f"{SHA} 3 ../a"}, "files must be a plain relative path"),
        (SERIES, {"files": f"{SHA} 3 b/a\n{SHA} 3 c/a"}, "files must name each file once, whatever its folder"),
        (ARCHIVE, {"file": "z.rar"}, "file must be the archive's own name"),
        (ARCHIVE, {"members": []}, "members must be a list of patterns"),
        (ARCHIVE, {"members": "*"}, "members must be a list of patterns"),
    ],
)
def test_what_makes_no_sense_is_named_in_one_line(tmp_path, base, changes, said):
    with pytest.raises(XrcoreError) as error:
        load(tmp_path, {"format": 1, "entries": {"x": {**base, **changes}}})
    assert str(error.value).startswith(f"{tmp_path / 'm.yaml'}: x: ")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("key", ["path", "url", "licence", "citation", "shows", "stands_for"])
def test_what_is_missing_is_named(tmp_path, key):
    with pytest.raises(XrcoreError, match=f"x: {key} is missing"):
        load(tmp_path, {"format": 1, "entries": {"x": {k: v for k, v in FILE.items() if k != key}}})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a: [", "not valid YAML"),
        ("[]", "expected the keys format: 1 and entries"),
        ("format: 2\nentries: {}", "expected the keys"),
        ("format: 1\nentries: []", "entries must map names"),
        ("!!python/object/apply:os.system ['true']", "tags are not read"),
        ({"format": 1, "entries": {"X y": FILE}}, "a name is up to 64 lower-case letters"),
        ({"format": 1, "entries": {"x": 3}}, "kind must be"),
        ({"format": 1, "entries": {"x" * 65: FILE}}, "a name is up to 64"),
        ("format: 1\nentries: {}\nentries: {}", "the key 'entries' stands there twice"),
        ("format: 1\nentries: {a: &a {k: v}, b: {<<: [*a, *a]}}", "aliases are not read"),
        ("format: 1\nentries: 2024-13-45", "entries must map names"),
        ({"format": 1, "entries": {"x": FILE, "y": FILE}}, "x would lie in the same place"),
        ({"format": 1, "entries": {"s": SERIES, "x": {**FILE, "path": "ct/s/e"}}}, "would lie in the same place"),
        ({"format": 1, "entries": {"s": {**SERIES, "patient": "1"}, "x": {**FILE, "patient": "1"}}}, "both patient 1"),
    ],
)
def test_a_wrong_manifest_is_one_line(tmp_path, content, said):
    with pytest.raises(XrcoreError) as error:
        load(tmp_path, content)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_http_will_do_where_a_sha256_tells_the_bytes(tmp_path):
    load(tmp_path, {"format": 1, "entries": {"x": {**FILE, "url": "http://example.org/x"}, "s": {**SERIES, "base": "http://example.org/"}}})
    stated = {**ARCHIVE, "url": "http://example.org/z", "hash": f"sha256:{SHA}", "hash_from": "its publisher"}
    load(tmp_path, {"format": 1, "entries": {"z": stated}})


def test_a_missing_manifest_is_one_line(tmp_path):
    with pytest.raises(XrcoreError, match=r"none\.yaml: no such file"):
        load_manifest(tmp_path / "none.yaml")


@pytest.mark.parametrize("path", ["", "/a", "a/", "a//b", "./a", "a/../b", "..", "C:a", "a\\b", "a\0b", "a/b.", " a", "a\nb"])
def test_unsafe_paths(path):
    assert not safe_path(path)


@pytest.mark.parametrize("path", ["a", "a/b.c", "ct/cort_abdomen_dicom/ct_slice_1.dcm", "a b/c (1).dcm", "..a"])
def test_safe_paths(path):
    assert safe_path(path)


# patients


@pytest.fixture
def hip(shared_data, tmp_path, monkeypatch) -> Patient:
    """The patient of one small file, with an empty mirror and data folder."""
    for variable, name in (("XRCORE_DATA_MIRROR", "mirror"), ("XRCORE_DATA", "data")):
        (tmp_path / name / "ct").mkdir(parents=True)
        monkeypatch.setenv(variable, str(tmp_path / name))
    return PATIENTS[3]


def test_a_patient_is_found_in_the_mirror_then_in_the_data_folder(hip, shared_data, tmp_path):
    with pytest.raises(XrcoreError, match=r"run `xrcore data fetch hip`"):
        choose_patients("4")
    with pytest.raises(XrcoreError, match=r"run `xrcore data fetch hip`"):
        hip.volume(8.0)
    shutil.copy(shared_data / hip.path, tmp_path / "data" / hip.path)
    assert choose_patients("4")[0].file == tmp_path / "data" / hip.path
    assert isinstance(hip.volume(8.0), xr.Volume)
    shutil.copy(shared_data / hip.path, tmp_path / "mirror" / hip.path)
    assert choose_patients("4")[0].file == tmp_path / "mirror" / hip.path


def test_a_patient_whose_bytes_are_others_is_not_read(hip, shared_data, tmp_path):
    shutil.copy(shared_data / PATIENTS[4].path, tmp_path / "mirror" / hip.path)
    with pytest.raises(XrcoreError, match=r"its bytes are not those of the manifest; run `xrcore data fetch hip`"):
        hip.volume(8.0)
    shutil.copy(shared_data / hip.path, tmp_path / "data" / hip.path)
    assert hip.volume(8.0).shape == xr.read_ct(shared_data / hip.path, 8.0).shape


def test_without_any_data_the_error_says_how_to_get_them(tmp_path, monkeypatch):
    monkeypatch.delenv("XRCORE_DATA_MIRROR", raising=False)
    monkeypatch.setenv("XRCORE_DATA", str(tmp_path / "none"))
    with pytest.raises(XrcoreError, match="xrcore data fetch"):
        choose_patients("1")
