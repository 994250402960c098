"""Where work runs, and what is said of it."""

from __future__ import annotations

import subprocess

import pytest
import torch

from xrcore._util import devices
from xrcore._util.devices import OUT_OF_MEMORY, Glance, Portions, Stopwatch, named_device
from xrcore._util.errors import XrcoreError
from xrcore.ct import Volume
from xrcore.geometry.presets import PAPER_CARM
from xrcore.learning.training.loop import train
from xrcore.phantom import pelvis
from xrcore.registration.pipeline import register
from xrcore.renderer import place
from xrcore.xray import Xray


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch):
    monkeypatch.setattr(devices, "_said", set())


def pretend_gpu(monkeypatch, *, triton: bool = True, fails: str = "") -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Some GPU")
    monkeypatch.setattr(devices, "triton_installed", lambda: triton)
    monkeypatch.setattr(devices, "_launch_fails", lambda device: fails)


def test_auto_is_the_processor_without_a_gpu(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert named_device("auto", "training") == torch.device("cpu")
    assert capsys.readouterr().err == ""  # there was no choice
    named_device("auto", "training", always_say=True)
    threads = torch.get_num_threads()
    assert capsys.readouterr().err == (
        f"xrcore: note: training on the CPU, {threads} thread{'s' if threads > 1 else ''} ({devices.no_gpu()})\n"
    )


def test_auto_is_a_gpu_and_says_so_once(monkeypatch, capsys):
    pretend_gpu(monkeypatch)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert named_device("auto", "training") == torch.device("cuda")
    assert capsys.readouterr().err == "xrcore: note: training on cuda (Some GPU), rendering included\n"
    named_device("auto", "training")
    assert capsys.readouterr().err == ""
    named_device("auto", "registering")
    assert capsys.readouterr().err.startswith("xrcore: note: registering on cuda")
    named_device("auto")
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert named_device("auto") == torch.device("cuda", 3)


def test_auto_leaves_a_gpu_alone_that_cannot_render(monkeypatch, capsys):
    pretend_gpu(monkeypatch, triton=False)
    assert named_device("auto", "training") == torch.device("cpu")
    said = capsys.readouterr().err
    assert "a GPU is there, but Triton" in said
    assert "pip install" in said
    assert said.count("\n") == 1


def test_auto_leaves_a_gpu_alone_on_which_no_kernel_runs(monkeypatch, capsys):
    pretend_gpu(monkeypatch, fails="Triton cannot run a kernel there (RuntimeError: no C compiler)")
    assert named_device("auto", "training") == torch.device("cpu")
    assert "a GPU is there, but Triton cannot run a kernel there (RuntimeError: no C compiler)" in capsys.readouterr().err
    assert named_device("cuda") == torch.device("cuda")  # torch may still serve it


@pytest.mark.skipif(not devices.triton_installed(), reason="Triton is not installed (the gpu extra)")
def test_a_launch_shows_whether_kernels_run(monkeypatch):
    assert devices.kernel_obstacle(torch.device("cuda" if torch.cuda.is_available() else "cpu")) == ""  # else in the interpreter

    def broken(device):
        raise RuntimeError("Failed to find C compiler.\nPlease specify via CC")

    def without_headers(device):
        raise subprocess.CalledProcessError(1, ["gcc"])

    def full(device):
        raise OUT_OF_MEMORY("no room")

    def why(launch) -> str:
        devices._launch_fails.cache_clear()
        monkeypatch.setattr("xrcore._util.triton_check.launch", launch)
        try:
            return devices.kernel_obstacle(torch.device("cpu"))
        finally:
            if launch is not full:
                devices._launch_fails.cache_clear()

    assert why(broken) == "Triton cannot run a kernel there (RuntimeError: Failed to find C compiler.)"
    assert "a C compiler and Python's headers" in why(without_headers)
    assert why(full) == "its memory is full"
    monkeypatch.setattr("xrcore._util.triton_check.launch", lambda device: None)
    assert devices.kernel_obstacle(torch.device("cpu")) == ""  # which passes
    devices._launch_fails.cache_clear()


@pytest.mark.skipif(not devices.triton_installed(), reason="Triton is not installed (the gpu extra)")
def test_a_kernel_that_computes_something_else_is_noticed(monkeypatch):
    from xrcore._util import triton_check as probe

    monkeypatch.setattr(probe, "_increment", {(1,): lambda number: None})
    with pytest.raises(RuntimeError, match="computed something else"):
        probe.launch(torch.device("cuda" if torch.cuda.is_available() else "cpu"))


def test_auto_goes_back_to_the_processor_where_a_gpu_has_no_room(monkeypatch, capsys):
    pretend_gpu(monkeypatch)
    volume = pelvis(spacing=10.0)
    to = Volume.to

    def refuse(self, device):
        if torch.device(device).type == "cuda":
            raise devices.NoRoomError("the volume does not fit")
        return to(self, device)

    monkeypatch.setattr(Volume, "to", refuse)
    assert place(volume, "auto", "registering", spacing=10.0) is volume
    threads = torch.get_num_threads()
    said = f"xrcore: note: registering on the CPU, {threads} thread{'s' if threads > 1 else ''} (the volume does not fit)\n"
    assert capsys.readouterr().err == said  # one line
    with pytest.raises(XrcoreError, match="the volume does not fit"):
        place(volume, "cuda", "registering", spacing=10.0)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(XrcoreError, match="the volume does not fit"):  # the others of a team would not follow
        place(volume, "auto", "registering", spacing=10.0)


def test_a_packed_volume_without_room_says_so(monkeypatch):
    def full(_):
        raise OUT_OF_MEMORY("out of memory")

    volume = pelvis(spacing=10.0)
    monkeypatch.setattr("xrcore.renderer.placing.pack", full)
    assert place(volume, "cpu", "registering", spacing=10.0) is volume  # where it is packed when it is rendered
    monkeypatch.setattr("xrcore.renderer.placing.choose_backend", lambda volume: "cuda")
    with pytest.raises(devices.NoRoomError, match="packed, does not fit into the memory of cpu"):
        place(volume, "cpu", "registering", spacing=10.0)
    packed = []
    monkeypatch.setattr("xrcore.renderer.placing.pack", packed.append)
    assert place(volume, "cpu", "registering", spacing=20.0) is volume
    assert packed == [volume.coarser(20.0)]  # what will be rendered, and no more


def test_register_and_train_work_where_they_are_placed(monkeypatch):
    class Placed(Exception):
        pass

    def asked(volume, name, work, *, spacing):
        raise Placed(name, work, spacing)

    volume = pelvis(spacing=10.0)
    xray = Xray(image=torch.eye(8), carm=PAPER_CARM.resized((8, 8)))
    monkeypatch.setattr("xrcore.registration.pipeline.place", asked)
    monkeypatch.setattr("xrcore.learning.training.loop.place", asked)
    with pytest.raises(Placed, match=r"'auto', 'registering', 2\.0"):
        register(xray, volume, device="auto")
    with pytest.raises(Placed, match=r"'auto', 'training', 3\.0"):
        train(volume, PAPER_CARM)


def test_a_volume_without_room_says_so(monkeypatch):
    volume = pelvis(spacing=10.0)

    def full(*_):
        raise OUT_OF_MEMORY("out of memory")

    monkeypatch.setattr(torch.Tensor, "to", full)
    with pytest.raises(devices.NoRoomError, match="does not fit into the memory of meta; read it at a coarser spacing"):
        volume.to(torch.device("meta"))


def test_a_device_that_is_not_there_is_refused():
    for name in ("warp", "gpu", "", "mps", "meta", "cuda:one"):
        with pytest.raises(XrcoreError, match="not one of auto, cpu, cuda, cuda:0"):
            named_device(name)


def test_a_gpu_that_is_not_there_is_refused_with_the_reason(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", None)
    with pytest.raises(XrcoreError, match=r"^device cuda: not available here \(this PyTorch is a build without CUDA\); use cpu$"):
        named_device("cuda")
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    with pytest.raises(XrcoreError, match="torch sees no GPU"):
        named_device("cuda:1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert named_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(XrcoreError, match=r"device cuda:2: not available here \(GPUs are counted from 0, and there are 2\)"):
        named_device("cuda:2")


# portions


class Memory:
    """A device that holds `room` items at a time."""

    def __init__(self, room: int) -> None:
        self.room, self.asked, self.begun = room, list[int](), 0

    def begin(self) -> None:
        self.begun += 1

    def work(self, part: slice) -> list[int]:
        self.asked.append(part.stop - part.start)
        if part.stop - part.start > self.room:
            raise OUT_OF_MEMORY("no room")
        return list(range(part.start, part.stop))


def test_a_batch_stays_whole_where_it_fits(capsys):
    memory = Memory(10)
    assert Portions("work").run(10, memory.work, memory.begin) == [list(range(10))]
    assert memory.begun == 1
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("count", "room"), [(10, 5), (10, 3), (7, 1), (64, 10)])
def test_out_of_memory_cuts_it_until_it_fits_and_says_so(capsys, count, room):
    memory, portions = Memory(room), Portions("work")
    found = portions.run(count, memory.work, memory.begin)
    assert [item for part in found for item in part] == list(range(count))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == f"xrcore: note: work: out of GPU memory, going on in 2 portions of {-(-count // 2)}"
    assert memory.begun == len(lines) + 1  # all over again each time, so that nothing counts twice
    # and it does not try in vain again
    memory.asked.clear()
    portions.run(count, memory.work)
    assert max(memory.asked) <= room
    assert capsys.readouterr().err == ""


def test_what_does_not_fit_at_all_ends_in_one_line():
    with pytest.raises(XrcoreError, match=r"^work: the GPU's memory does not suffice even for one image at a time; --device cpu"):
        Portions("work").run(4, Memory(0).work)


def test_portions_have_a_least_size():
    assert [len(part) for part in Portions("work", least=2).run(9, Memory(3).work)] == [2, 2, 2, 3]
    memory = Memory(1)
    with pytest.raises(XrcoreError, match="even for 2 images at a time"):
        Portions("work", least=2).run(8, memory.work)
    assert min(memory.asked) == 2


def test_what_did_not_fit_says_nothing_of_less():
    assert Portions("work", least=2).pieces(9, size=10**9) == 1  # while nothing failed
    portions, memory = Portions("work"), Memory(300)
    portions.run(1024, memory.work)
    assert portions.pieces(8) == 1
    assert portions.pieces(1024) == 4
    assert portions.pieces(8, size=64) == 2  # of larger images fewer fit
    assert portions.pieces(8, size=1000) == 8
    memory.asked.clear()
    portions.run(8, memory.work)
    assert memory.asked == [8]


def test_other_errors_pass():
    def broken(part: slice) -> None:
        raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else"):
        Portions("work").run(4, broken)


def test_a_stopwatch_adds_up(monkeypatch):
    now = iter([1.0, 3.0, 10.0, 14.5])
    monkeypatch.setattr(devices.time, "perf_counter", lambda: next(now))
    watch = Stopwatch(torch.device("cpu"))
    with watch:
        pass
    with watch:
        pass
    assert watch.seconds == 6.5


def test_a_stopwatch_of_a_gpu_reads_its_queue(monkeypatch):
    clock = iter([10.0, 25.0, 100.0, 130.0])  # [ms]

    class Event:
        def __init__(self, enable_timing: bool) -> None:
            self.waited = False

        def record(self) -> None:
            self.at = next(clock)

        def synchronize(self) -> None:
            self.waited = True

        def elapsed_time(self, other: Event) -> float:
            assert other.waited
            return other.at - self.at

    monkeypatch.setattr(torch.cuda, "Event", Event)
    watch = Stopwatch(torch.device("cuda"))
    for _ in range(2):
        with watch:
            pass
    assert watch.seconds == pytest.approx(0.045)
    assert watch.seconds == pytest.approx(0.045)


# glances


@pytest.mark.parametrize("gpu", [False, True])
def test_a_glance_hears_of_two_questions_ago_and_waits_for_no_later_one(monkeypatch, gpu):
    waited: list[int] = []

    class Event:
        def record(self) -> None:
            self.number = len(asked)

        def synchronize(self) -> None:
            waited.append(self.number)

    empty = torch.empty
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch, "empty", lambda *size, pin_memory=False, **rest: empty(*size, **rest))
    glance = Glance(torch.device("cuda" if gpu else "cpu"))
    asked = [torch.tensor([float(n == 1), 1.0]) for n in range(5)]
    flags = list(asked)
    asked.clear()
    heard = []
    for one in flags:
        heard.append(glance.all(one))
        asked.append(one)
    assert heard == [False, False, False, True, False]  # the second question's answer comes with the fourth
    assert waited == ([0, 1, 2] if gpu else [])
    assert len(glance._spare) == 1  # memory is used again


# volumes


def test_a_volume_goes_to_a_device_once():
    volume = pelvis(spacing=10.0)
    assert volume.to("cpu") is volume
    there = volume.to(torch.device("meta"))
    assert there.device == torch.device("meta")
    assert volume.to(torch.device("meta")) is there
    assert there.materials == volume.materials
    assert torch.equal(there.world_from_voxel, volume.world_from_voxel)
    assert there.world_from_voxel.device == torch.device("cpu")
    assert torch.equal(there.isocenter, volume.isocenter)
    assert isinstance(there.coarser(20.0), Volume)
    assert there.coarser(20.0).device == torch.device("meta")
