"""The GPU's benchmark: every line runs without a GPU, and rows are empty rather than invented."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from dataclasses import replace

import gpu
import gpu_precision
import pytest
import tables
import torch
from common import scenes
from common.rows import Figure, Row, as_table, missing
from gpu_parts import clock
from gpu_parts.clock import Clock
from gpu_parts.recorded import launches_of, together
from gpu_parts.sizes import TINY
from gpu_precision import ARITHMETIC, HALVES, KERNEL, WORDS, as_packed, precision
from peers import nanodrr

from xrcore import XrcoreError, utilities
from xrcore.renderer import packing, render

interpreted = pytest.mark.skipif(
    torch.cuda.is_available() or importlib.util.find_spec("triton") is None,
    reason="needs Triton's interpreter: the gpu extra, and no GPU (where there is one, benchmarks/gpu.py itself runs)",
)


# the run


@pytest.mark.slow
@interpreted
@pytest.mark.skipif(not nanodrr.installed(), reason="nanodrr is not installed")
def test_dry_run_fills_every_row_and_owns_up():
    table = gpu.measure_parts(Clock(), TINY, paper=True)
    assert missing(table) == []
    assert all(row["median"] >= 0 and row["met"] is None and row["note"] == gpu.DRY for row in table)
    timed = [row for row in table if row["unit"] in ("ms", "images/s")]
    assert all(0 < row["low"] <= row["median"] <= row["high"] for row in timed)


def test_without_a_gpu_rows_are_empty():
    table = gpu.measure_parts(None, TINY)
    assert len({row["what"] for row in table}) == len(table) > 25
    assert missing(table) == [row["what"] for row in table]
    assert all(row[field] is None for row in table for field in ("median", "low", "high", "repeats", "met"))


def test_a_part_that_fails_leaves_a_note_and_the_others_are_measured():
    rows = [Row(what=name, unit="ms", how="") for name in "abcd"]

    def breaks(*_):
        yield rows[0], Figure(value=1.0)
        raise torch.OutOfMemoryError("no memory left\nsecond line")

    def works(*_):
        yield rows[2], Figure(value=2.0)

    parts = (gpu.Part(name="one", rows=tuple(rows[:2]), measure=breaks), gpu.Part(name="two", rows=tuple(rows[2:]), measure=works))
    a, b, c, d, *_ = gpu.measure_parts(Clock(), TINY, parts=parts)
    assert (a["median"], c["median"]) == (1.0, 2.0)
    assert (b["median"], b["note"]) == (None, "OutOfMemoryError: no memory left")
    assert (d["median"], d["note"]) == (None, "left out by its part")


def test_an_absent_peer_is_said(monkeypatch):
    monkeypatch.setattr(nanodrr, "installed", lambda: None)
    table = gpu.measure_parts(Clock(), TINY, parts=gpu.PARTS[1:2])
    assert len(missing(table)) == len(table)
    assert "nanodrr is not installed" in table[0]["note"]


def test_aims_are_met_or_not():
    rows = [Row(what="time", unit="ms", aim=0.1), Row(what="speed", unit="images/s", aim=12_000, least=True)]
    slow, fast = ({"time": Figure(value=a), "speed": Figure(value=b)} for a, b in ((0.2, 500.0), (0.05, 20_000.0)))
    assert [row["met"] for row in as_table(rows, slow, {})] == [False, False]
    assert [row["met"] for row in as_table(rows, fast, {})] == [True, True]
    assert [row["aim"] for row in as_table(rows, {}, {})] == ["at most 0.1", "at least 12,000"]


# clock and launches


class Queue(Clock):
    """A GPU that has caught up with the processor on its first `late` tries; work of call i takes i seconds."""

    def __init__(self, late: int) -> None:
        self.late, self.now, self.sweeps = late, 0.0, []

    def mark(self) -> float:
        return self.now

    def reached(self, mark: float) -> bool:
        self.late -= 1
        return self.late >= 0

    def keep_busy(self, sweeps: int) -> None:
        self.sweeps.append(sweeps)
        self.now += 1000  # is not counted


def test_kernel_times_are_between_marks_and_only_of_a_gpu_that_never_waited():
    queue = Queue(late=2)

    def work(seconds: float) -> Callable[[], None]:
        def call() -> None:
            queue.now += seconds

        return call

    times = clock.kernel_times(queue, {"one": [work(1), work(3)], "two": [work(5)]}, rounds=2)
    assert times["one"].seconds == (1, 3, 1, 3)
    assert times["two"].seconds == (5, 5)
    assert queue.sweeps == [50, 100, 200, 50, 50, 50]  # twice again behind more, then the other rounds


@interpreted
def test_a_launch_repeats_itself_into_the_same_image():
    from xrcore.renderer.cuda import kernel

    volume, carm, drawn = scenes.resampled(scenes.body(8.0), 8), scenes.carm(8), []
    launches = launches_of(kernel, "render", lambda: drawn.append(render(volume, carm, scenes.POSE, backend="cuda")), 1)
    expected = drawn[0].clone()
    assert expected.max() > 0.5
    drawn[0].zero_()
    together(launches)()
    assert torch.equal(drawn[0], expected)
    with pytest.raises(XrcoreError, match="launched 0 times, not 1"):
        launches_of(kernel, "render", lambda: None, 1)


# precision


@interpreted
def test_sixteen_bit_words_are_better_than_half_precision():
    rows = precision([(8, 16)], torch.device("cpu"), body=8.0)
    errors = {row["what"]: row for row in rows}
    assert list(errors) == [KERNEL, ARITHMETIC, WORDS, HALVES]
    for name in ("image, relative", "image, largest", "Jacobian, relative", "Jacobian, largest a degree", "Jacobian, largest a mm"):
        assert 0 < errors[ARITHMETIC][name] < errors[KERNEL][name] < 0.1 * errors[HALVES][name]


@pytest.mark.parametrize("materials", [1, 2, 3])
def test_words_unpack_to_rounded_densities(materials):
    body = scenes.resampled(scenes.body(8.0), 12)
    density = torch.cat([body.density, 0.5 * body.density[:1].flip(1)])[:materials]
    volume = replace(body, density=density, materials=("soft", "bone", "metal")[:materials])
    step = density.double().amax((1, 2, 3), keepdim=True) / packing.LEVELS
    assert as_packed(volume).shape == density.shape
    assert ((as_packed(volume) - density).abs() <= 0.51 * step).all()  # the counts are rounded in single precision


# files


def test_no_gpu_writes_empty_rows_but_never_over_figures(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gpu, "GPU", False)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--out", str(tmp_path / "gpu")])
    gpu.main()
    assert capsys.readouterr().out.rstrip().endswith(gpu.NO_GPU)
    kept = json.loads((tmp_path / "gpu.json").read_text())
    assert kept["note"] == gpu.NO_GPU
    assert len(missing(kept["table"])) == len(kept["table"])
    assert (tmp_path / "gpu.csv").read_text().count("\n") == len(kept["table"]) + 1
    kept["table"][0]["median"] = 0.09
    (tmp_path / "gpu.json").write_text(json.dumps(kept))
    gpu.main()
    assert "is left as it is" in capsys.readouterr().err
    assert json.loads((tmp_path / "gpu.json").read_text()) == kept


@interpreted
def test_precision_is_written_beside_it(tmp_path, monkeypatch):
    rows = precision([(8, 8)], torch.device("cpu"), body=8.0)
    monkeypatch.setattr(gpu_precision, "precision", lambda *_, **__: rows)
    monkeypatch.setattr(sys, "argv", ["gpu_precision.py", "--out", str(tmp_path / "gpu_precision")])
    gpu_precision.main()
    kept = json.loads((tmp_path / "gpu_precision.json").read_text())
    assert kept["table"] == rows
    assert kept["note"] == gpu_precision.INTERPRETED
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    assert f"| {KERNEL} | {rows[0]['image, relative']:.0e} |" in tables.gpu_precision()


def test_a_gpu_is_described_where_there_is_one():
    described = utilities.describe_machine()
    assert ("gpu" in described) == torch.cuda.is_available()
    gpu_there = {"name": "A100", "memory_gb": 80.0, "driver": "550.54", "cuda": "12.4", "torch": "2.6.0", "triton": None}
    assert "\nA100 (80 GB), driver 550.54, CUDA 12.4, torch 2.6.0" in utilities.machine_text(described | {"gpu": gpu_there})
    assert utilities.gpu_text(gpu_there | {"driver": None}) == "A100 (80 GB), CUDA 12.4, torch 2.6.0"
