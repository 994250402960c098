"""The GPU's benchmark: every line runs without a GPU, rows are empty rather than invented, and the README is made from its files."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from harness import case, peer_nanodrr
from harness.gpu import DRY, NO_GPU, TINY, CudaClock, Pretended, as_table, clock, measured, missing, precision, run
from harness.gpu.launches import launches_of, together
from harness.gpu.precision import ARITHMETIC, HALVES, KERNEL, WORDS, as_packed
from harness.gpu.rows import Figure, Row
from torch._subclasses import FakeTensorMode
from torch.overrides import TorchFunctionMode

from xrcore._util import machine
from xrcore._util.errors import XrcoreError
from xrcore.renderer import packing, render

ROOT = Path(__file__).parents[2]
interpreted = pytest.mark.skipif(
    torch.cuda.is_available() or importlib.util.find_spec("triton") is None,
    reason="needs Triton's interpreter: the gpu extra, and no GPU (where there is one, benchmarks/gpu.py itself runs)",
)


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """A module of benchmarks/."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")

    def load(name: str) -> ModuleType:
        monkeypatch.delitem(sys.modules, name, raising=False)
        return importlib.import_module(name)

    return load


def written(folder: Path, table: list[dict], note: str = "", **described: object) -> Path:
    kept = {"machine": machine.describe_machine() | described, "note": note, "table": table}
    (folder / "gpu.json").write_text(json.dumps(kept))
    return folder


# the run


@interpreted
@pytest.mark.skipif(not peer_nanodrr.installed(), reason="nanodrr is not installed")
def test_dry_run_fills_every_row_and_owns_up():
    table = measured(Pretended(), TINY, paper=True)
    assert missing(table) == []
    assert all(row["median"] >= 0 and row["met"] is None and row["note"] == DRY for row in table)
    timed = [row for row in table if row["unit"] in ("ms", "images/s")]
    assert all(0 < row["low"] <= row["median"] <= row["high"] for row in timed)


def test_without_a_gpu_rows_are_empty():
    table = measured(None, TINY)
    assert len({row["what"] for row in table}) == len(table) > 25
    assert missing(table) == [row["what"] for row in table]
    assert all(row[field] is None for row in table for field in ("median", "low", "high", "repeats", "met"))


def test_a_part_that_fails_leaves_a_note_and_the_others_are_measured(monkeypatch):
    rows = [Row(what=name, unit="ms", how="") for name in "abcd"]

    def breaks(*_):
        yield rows[0], Figure(value=1.0)
        raise torch.OutOfMemoryError("no memory left\nsecond line")

    def works(*_):
        yield rows[2], Figure(value=2.0)

    parts = [run.Part(name="one", rows=tuple(rows[:2]), measure=breaks), run.Part(name="two", rows=tuple(rows[2:]), measure=works)]
    monkeypatch.setattr(run, "PARTS", tuple(parts))
    a, b, c, d, *_ = measured(Pretended(), TINY)
    assert (a["median"], c["median"]) == (1.0, 2.0)
    assert (b["median"], b["note"]) == (None, "OutOfMemoryError: no memory left")
    assert (d["median"], d["note"]) == (None, "left out by its part")


def test_an_absent_peer_is_said(monkeypatch):
    monkeypatch.setattr(peer_nanodrr, "installed", lambda: None)
    monkeypatch.setattr(run, "PARTS", run.PARTS[1:2])
    table = measured(Pretended(), TINY)
    assert len(missing(table)) == len(table)
    assert "nanodrr is not installed" in table[0]["note"]


def test_aims_are_met_or_not():
    rows = [Row(what="time", unit="ms", how="", aim=0.1), Row(what="speed", unit="images/s", how="", aim=12_000, least=True)]
    slow, fast = ({"time": Figure(value=a), "speed": Figure(value=b)} for a, b in ((0.2, 500.0), (0.05, 20_000.0)))
    assert [row["met"] for row in as_table(rows, slow, {})] == [False, False]
    assert [row["met"] for row in as_table(rows, fast, {})] == [True, True]
    assert [row["aim"] for row in as_table(rows, {}, {})] == ["at most 0.1", "at least 12,000"]


# clock and launches


class Queue(Pretended):
    """A GPU that has caught up with the processor on its first `late` tries; work of call i takes i seconds."""

    def __init__(self, late: int) -> None:
        super().__init__()
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


def test_cuda_clock_asks_cuda(monkeypatch):
    # the class's few lines, on a CUDA that is made up
    asked = []

    class Event:
        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing

        def record(self) -> None:
            asked.append("record")

        def query(self) -> bool:
            return True

        def elapsed_time(self, other: Event) -> float:
            return 1500.0  # [ms]

    for name in ("synchronize", "empty_cache", "reset_peak_memory_stats"):
        monkeypatch.setattr(torch.cuda, name, lambda name=name: asked.append(name))
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 3_000_000)
    ours = CudaClock()
    assert ours.device == torch.device("cuda")
    first, last = ours.mark(), ours.mark()
    assert ours.reached(first)
    assert ours.seconds(first, last) == 1.5
    ours.wait()
    ours.forget_peak()
    assert asked == ["record", "record", "synchronize", "empty_cache", "reset_peak_memory_stats"]
    assert ours.peak_mb() == 3.0
    with FakeTensorMode():
        ours.keep_busy(2)


@interpreted
def test_a_launch_repeats_itself_into_the_same_image():
    from xrcore.renderer.cuda import kernel

    volume, carm, drawn = case.resampled(case.body(8.0), 8), case.carm(8), []
    launches = launches_of(kernel, "render", lambda: drawn.append(render(volume, carm, case.POSE, backend="cuda")), 1)
    expected = drawn[0].clone()
    assert expected.max() > 0.5
    drawn[0].zero_()
    together(launches)()
    assert torch.equal(drawn[0], expected)
    with pytest.raises(XrcoreError, match="launched 0 times, not 1"):
        launches_of(kernel, "render", lambda: None, 1)


class Moves(TorchFunctionMode):
    """`tensor.to("cuda")`, and brackets of what is there, for fake tensors: a torch without CUDA refuses both."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        given = (*args[1:], *(kwargs or {}).values())
        if function is torch.Tensor.to and any(str(value).startswith("cuda") for value in given):
            dtype = next((value for value in given if isinstance(value, torch.dtype)), args[0].dtype)
            return torch.empty(args[0].shape, dtype=dtype, device="cuda")
        if function is torch.Tensor.__getitem__ and args[0].device.type == "cuda":
            return torch.empty(torch.empty(args[0].shape, device="meta")[args[1]].shape, dtype=args[0].dtype, device="cuda")
        return function(*args, **(kwargs or {}))


@pytest.mark.skipif(not peer_nanodrr.installed(), reason="nanodrr is not installed")
def test_peer_keeps_to_the_device():
    # fake tensors of a GPU that is not there have shapes and devices, and mixing devices raises
    volume, carm = case.one_material(case.resampled(case.body(8.0), 8)), case.carm(8)
    with FakeTensorMode(allow_non_fake_inputs=True), Moves():
        pose = SimpleNamespace(world_from_camera=lambda *_: torch.eye(4, dtype=torch.float64)[None])  # real ones look at numbers
        image = peer_nanodrr.projector(volume, carm, device="cuda")(pose)
    assert (image.device.type, image.shape) == ("cuda", (1, 8, 8))
    assert peer_nanodrr.projector(volume, carm)(case.POSE).device.type == "cpu"


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
    body = case.resampled(case.body(8.0), 12)
    density = torch.cat([body.density, 0.5 * body.density[:1].flip(1)])[:materials]
    volume = replace(body, density=density, materials=("soft", "bone", "metal")[:materials])
    step = density.double().amax((1, 2, 3), keepdim=True) / packing.LEVELS
    assert as_packed(volume).shape == density.shape
    assert ((as_packed(volume) - density).abs() <= 0.51 * step).all()  # the counts are rounded in single precision


# files


def test_no_gpu_writes_empty_rows_but_never_over_figures(benchmark, tmp_path, monkeypatch, capsys):
    module = benchmark("gpu")
    monkeypatch.setattr(module, "GPU", False)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--only", "times", "--out", str(tmp_path / "gpu")])
    module.main()
    assert capsys.readouterr().out.rstrip().endswith(NO_GPU)
    kept = json.loads((tmp_path / "gpu.json").read_text())
    assert kept["note"] == NO_GPU
    assert len(missing(kept["table"])) == len(kept["table"])
    assert (tmp_path / "gpu.csv").read_text().count("\n") == len(kept["table"]) + 1
    kept["table"][0]["median"] = 0.09
    (tmp_path / "gpu.json").write_text(json.dumps(kept))
    module.main()
    assert "is left as it is" in capsys.readouterr().err
    assert json.loads((tmp_path / "gpu.json").read_text()) == kept


@interpreted
def test_precision_is_written_beside_it(benchmark, tmp_path, monkeypatch):
    module = benchmark("gpu")
    rows = precision([(8, 8)], torch.device("cpu"), body=8.0)
    monkeypatch.setattr(module.gpu, "precision", lambda *_, **__: rows)
    module.precision(tmp_path / "gpu", dry=False)
    assert json.loads((tmp_path / "gpu_precision.json").read_text())["table"] == rows
    assert json.loads((tmp_path / "gpu_precision.json").read_text())["note"] == module.INTERPRETED


GPU = {"name": "A100", "memory_gb": 80.0, "capability": "8.0", "driver": "550.54", "cuda": "12.4", "torch": "2.6.0", "triton": None}


def test_a_gpu_is_described_where_there_is_one(monkeypatch):
    if not torch.cuda.is_available():
        assert "gpu" not in machine.describe_machine()
    seen = SimpleNamespace(name="A100", total_memory=80e9, major=8, minor=0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: seen)
    monkeypatch.setattr(machine.subprocess, "run", lambda *_, **__: SimpleNamespace(stdout="550.54\n550.54\n"))
    described = machine.describe_machine()
    assert (described["gpu"]["driver"], described["gpu"]["torch"]) == ("550.54", torch.__version__)
    assert "\nA100 (80 GB), driver 550.54" in machine.machine_text(described)

    def absent(*_, **__):
        raise FileNotFoundError

    monkeypatch.setattr(machine.subprocess, "run", absent)
    assert machine.describe_machine()["gpu"]["driver"] is None
    assert machine.gpu_text(GPU | {"driver": None}) == "A100 (80 GB), CUDA 12.4, torch 2.6.0"
