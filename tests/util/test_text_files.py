"""JSON and YAML of any content are read in bounded time and memory, or refused in one line."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest
import yaml

from xrcore._util.errors import XrcoreError
from xrcore._util.text_files import parse_yaml, read_bytes, read_json, read_yaml

BOMB = "- &x0\n  a: 1\n" + "".join(f"- &x{k + 1}\n  <<: [*x{k}, *x{k}, *x{k}]\n" for k in range(39))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e3", 1000.0),
        ("1e-3", 0.001),
        ("+12e-03", 0.012),
        (".5", 0.5),
        ("1.", 1.0),
        ("010", 10),
        ("0o17", 15),
        ("0x1f", 31),
        ("-.inf", -math.inf),
        ("20:30", "20:30"),
        ("1:30.5", "1:30.5"),
        ("1_000", "1_000"),
        ("0b11", "0b11"),
        ("2024-13-45", "2024-13-45"),
        ("2024-12-01", "2024-12-01"),
        ("'1'", "1"),
        ("yes", True),
        ("off", False),
        ("~", None),
        ("<<: {a: 1}", {"<<": {"a": 1}}),
    ],
)
def test_yaml_numbers_are_those_of_version_1_2(text, value):
    found = parse_yaml(text)
    assert found == value
    assert type(found) is type(value)


def test_yaml_otherwise_as_ever():
    text = "a: [1, -2, 0.5, x y]\nb:\n  - c: null\n    'd e': \"f\\n\"\nc: |\n  several\n  lines\n"
    assert parse_yaml(text) == yaml.safe_load(text)
    assert parse_yaml("") is None


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a: 1\nb: 2\na: 3", "the key 'a' stands there twice, line 3"),
        ("k: {1: a, 1: b}", "the key 1 stands there twice"),
        ("- &a [1]\n- *a", "aliases are not read"),
        (BOMB, "aliases are not read"),
        ("shape: !!int _", "tags are not read"),
        ("x: !!timestamp none", "tags are not read"),
        ("x: !!python/object/apply:os.system [true]", "tags are not read"),
        ("[" * 5000, "nested too deeply"),
        ("- " * 5000, "nested too deeply"),
        ("{a: " * 5000, "nested too deeply"),
        ("? [a]\n: 1", "a key must be plain text"),
        ("a: " + "9" * 5000, "a number of 5000 digits"),
        ("a: [1", "line 1"),
        ("a: b: c", "line 1"),
        ("a\n---\nb", "another document"),
        ('"\\U00110000"', "not valid YAML"),
        ("a: \0", "not valid YAML"),
    ],
)
def test_refused_yaml_is_one_line(text, what):
    with pytest.raises(XrcoreError, match="not valid YAML") as caught:
        parse_yaml(text)
    assert what in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("[1", "line 1"),
        ("", "line 1"),
        ('{"a": 1, "a": 2}', "the key 'a' stands there twice"),
        ("[NaN]", "NaN is no number"),
        ("[-Infinity]", "-Infinity is no number"),
        ("[1e999]", "too large"),
        ("[" + "9" * 400 + "]", "an integer of 400 digits"),
        ("[" + "9" * 5000 + "]", "an integer of 5000 digits"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
    ],
)
def test_refused_json_is_one_line(tmp_path, text, what):
    file = tmp_path / "x.json"
    file.write_text(text)
    with pytest.raises(XrcoreError, match="not valid JSON") as caught:
        read_json(file)
    assert what in str(caught.value)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_json_and_yaml_that_are_none_by_their_bytes(tmp_path):
    file = tmp_path / "x"
    file.write_bytes(b"\xff\xfe\x00\x01\x80")
    for read in (read_json, read_yaml):
        with pytest.raises(XrcoreError, match="not valid"):
            read(file)


def test_a_mark_of_byte_order_is_no_content(tmp_path):
    file = tmp_path / "x"
    file.write_text('{"a": 1}', encoding="utf-8-sig")
    assert read_json(file) == read_yaml(file) == {"a": 1}


def test_no_reader_waits_for_a_pipe_or_reads_without_end(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    endless = [path for path in (Path("/dev/zero"), Path("/dev/urandom")) if path.exists()]
    for path in (tmp_path / "pipe", *endless):
        for read in (lambda p: read_bytes(p, 100), read_json, read_yaml):
            with pytest.raises(XrcoreError, match="not a file"):
                read(path)


def test_sizes_are_limited_before_a_file_is_read(tmp_path):
    file = tmp_path / "x.json"
    with file.open("wb") as opened:
        opened.truncate(1 << 40)  # which takes no room
    for read in (lambda p: read_bytes(p, 1_000), read_json, read_yaml):
        with pytest.raises(XrcoreError, match="too large"):
            read(file)


@pytest.mark.parametrize("name", ["none", "n" * 300, "folder", "file/below"])
def test_paths_that_lead_to_no_file(tmp_path, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(XrcoreError, match=r"no such file|not a file|cannot be opened"):
        read_bytes(tmp_path / name, 100)
