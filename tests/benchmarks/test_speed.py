"""The speed benchmark runs, and writes what it prints."""

from __future__ import annotations

import csv
import json
import sys
from importlib import import_module
from pathlib import Path

import pytest
import scaling
import speed
import torch
from common import report, scenes
from torch.testing import assert_close

from xrcore import utilities

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.parametrize(("out", "taken"), [("speed", "speed.json"), ("speed", "speed.csv"), ("kept.json", "kept.json"), ("x" * 252, None)])
def test_what_is_in_the_way_is_said_before_anything_is_measured(tmp_path, capsys, monkeypatch, out, taken):
    if taken:
        (tmp_path / taken).mkdir()
    monkeypatch.setattr(sys, "argv", ["speed.py", "--out", str(tmp_path / out)])
    with pytest.raises(SystemExit) as ended:
        speed.main()
    assert ended.value.code == 2
    assert (f"{taken}: a folder of this name is in the way" if taken else "File name too long") in capsys.readouterr().err


@pytest.mark.slow
def test_quick_run_measures_and_writes(tmp_path, capsys, monkeypatch):
    for peer in (speed.rtk, speed.nanodrr):
        monkeypatch.setattr(peer, "installed", lambda: None)
    monkeypatch.setattr(sys, "argv", ["speed.py", "--peers", "--quick", "--out", str(tmp_path / "bench" / "speed")])
    speed.main()
    printed = capsys.readouterr().out
    assert "| image and Jacobian |" in printed
    assert printed.count(speed.ABSENT) == len(speed.PEERS["RTK"] + speed.PEERS["nanodrr"])
    table = {row["what"]: row for row in json.loads((tmp_path / "bench" / "speed.json").read_text())["table"]}
    times = [row for row in table.values() if row["unit"] == "ms" and row["median"] is not None]
    assert len(times) == 5
    assert all(0 < row["low"] <= row["median"] <= row["high"] for row in times)
    assert table["registration: trusted"]["median"] == 100
    assert table["registration: mTRE"]["median"] < 5
    assert table["peak memory of a registration"]["median"] > 100
    with (tmp_path / "bench" / "speed.csv").open() as file:
        assert [row["what"] for row in csv.DictReader(file)] == list(table)


def test_scaling_measures_every_size_and_draws_it(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["scaling.py", "--quick", "--out", str(tmp_path / "out"), "--figure", str(tmp_path / "scaling.png")])
    scaling.main()
    table = json.loads((tmp_path / "out.json").read_text())["table"]
    assert {row["varied"] for row in table} == {"pixels", "voxels", "threads", "batch"}
    assert all(0 < row["min_ms"] <= row["median_ms"] <= row["max_ms"] for row in table)
    assert (tmp_path / "scaling.png").read_bytes().startswith(b"\x89PNG")


def test_resampled_keeps_box_isocentre_and_mass():
    body = scenes.body(8.0)
    cube = scenes.resampled(body, 64)
    assert cube.shape == (64, 64, 64)
    assert cube.extent == pytest.approx(body.extent)
    assert_close(cube.isocenter, body.isocenter)
    corner = torch.tensor([-0.5, -0.5, -0.5, 1.0], dtype=torch.float64)
    assert_close(cube.world_from_voxel @ corner, body.world_from_voxel @ corner)
    mass = [float(v.density.sum()) * abs(float(torch.linalg.det(v.world_from_voxel[:3, :3]))) for v in (body, cube)]
    assert mass[1] == pytest.approx(mass[0], rel=0.01)


def test_figures_come_with_their_machine(tmp_path, capsys):
    report.publish(tmp_path / "found", [{"what": "image", "ms": None}], rows=[{"ms": 1.23456}, {"ms": 2.0}], digits=2, note="a note")
    assert capsys.readouterr().out.endswith("| what | ms |\n|---|---|\n| image |  |\n\na note\n")
    kept = json.loads((tmp_path / "found.json").read_text())
    assert kept["machine"]["packages"]["torch"] in utilities.machine_text(kept["machine"])
    assert (kept["note"], kept["table"]) == ("a note", [{"what": "image", "ms": None}])
    assert (tmp_path / "found.csv").read_text() == "ms\n1.23\n2.0\n"


def test_figures_that_cannot_be_written_leave_the_old_ones(tmp_path):
    class Unprintable:
        def __str__(self) -> str:
            raise ZeroDivisionError

    report.publish(tmp_path / "found", [{"ms": 1.0}])
    before = {path: path.read_text() for path in tmp_path.iterdir()}
    with pytest.raises(ZeroDivisionError):
        report.publish(tmp_path / "found", [{"ms": 2.0}], rows=[{"ms": 2.0}, {"ms": Unprintable()}])
    assert {path: path.read_text() for path in tmp_path.iterdir()} == before


SCRIPTS = [path for path in sorted(BENCHMARKS.glob("*.py")) if '"--out"' in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_folder_that_cannot_be_written_is_found_out_first(script, tmp_path, capsys, monkeypatch):
    (tmp_path / "file").write_text("")
    if "\nneeds_triton()" in script.read_text(encoding="utf-8"):
        pytest.importorskip("triton", reason="needs the gpu extra")
    needed = {"compare": ["."], "attention_entropy": ["."]}.get(script.stem, [])
    monkeypatch.setattr(sys, "argv", [script.name, *needed, "--out", str(tmp_path / "file" / "found")])
    with pytest.raises(SystemExit) as stopped:
        import_module(script.stem).main()
    assert stopped.value.code == 2
    assert "this is a file, not a folder" in capsys.readouterr().err


def test_a_busy_machine_is_said():
    described = utilities.describe_machine()
    assert "too long" in utilities.machine_text(described | {"load": 100.0})
    assert "too long" not in utilities.machine_text(described | {"load": 0.0})
