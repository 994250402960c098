"""The stream of simulated X-rays that a training reads: one image at a time or a batch at once, and a GPU that is never waited for."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import pytest
import torch
from torch._subclasses import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from xrcore import phantom
from xrcore._util import devices
from xrcore.beam import Beam
from xrcore.geometry import CArm, Pose
from xrcore.learning.settings import TrainingSettings
from xrcore.learning.training import stream as streams
from xrcore.learning.training.stream import Batch, DrrStream
from xrcore.renderer import render
from xrcore.simulation import Acquisition
from xrcore.simulation.batch import launches, rods

SQUARE = CArm(source_to_detector=1200.0, source_to_isocenter=800.0, shape=(128, 128), pixel_spacing=2.0)
SETTINGS = TrainingSettings(acquired=True, spacing=8.0).changed(pixels=64)
SAMPLES = [(0, i) for i in range(24)]
needs_triton = pytest.mark.skipif(not devices.triton_installed(), reason="Triton is not installed (the gpu extra)")

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def source() -> DrrStream:
    return DrrStream(phantom.pelvis(), SQUARE, SETTINGS)


@contextmanager
def acquisitions(monkeypatch: pytest.MonkeyPatch, **changes) -> Iterator[None]:
    """Random ones, with some settings fixed."""
    with monkeypatch.context() as patch:
        random = Acquisition.random
        patch.setattr(streams.Acquisition, "random", lambda generator: random(generator, **changes))
        yield


def both(source: DrrStream, monkeypatch: pytest.MonkeyPatch, **changes) -> tuple[Batch, Batch]:
    """By numpy, and as on a GPU."""
    with acquisitions(monkeypatch, **changes):
        by_numpy = source.batch(SAMPLES)
        with monkeypatch.context() as patch:
            patch.setattr(streams, "in_one_batch", lambda device: True)
            together = source.batch(SAMPLES)
    assert torch.equal(by_numpy.numbers, together.numbers)
    assert torch.equal(by_numpy.masks, together.masks)
    assert torch.equal(by_numpy.plain, together.plain)
    assert by_numpy.images.dtype == together.images.dtype == torch.float32
    return by_numpy, together


def test_only_the_processor_makes_one_image_at_a_time():
    assert not streams.in_one_batch(torch.device("cpu"))
    assert streams.in_one_batch(torch.device("cuda:1"))


def test_the_stream_is_the_same_without_noise(source, monkeypatch):
    by_numpy, together = both(source, monkeypatch, photons=None, bits=None)
    assert_close(together.images, by_numpy.images, rtol=0, atol=3e-5)


def test_the_streams_noise_is_alike(source, monkeypatch):
    exact, _ = both(source, monkeypatch, photons=None)
    by_numpy, together = both(source, monkeypatch)
    assert not torch.equal(by_numpy.images, together.images)
    for images in zip(by_numpy.images, together.images, exact.images, by_numpy.masks, strict=True):
        a, b, clean = (image[images[3]] for image in images[:3])
        assert float(b.mean()) == pytest.approx(float(a.mean()), abs=0.1 * float(clean.std()))
        assert float(b.std()) == pytest.approx(float(a.std()), rel=0.1)
    # the noise itself, as differences of neighbours hold it
    roughness = [b.images.diff(dim=2).diff(dim=1).abs().mean((1, 2)) for b in (by_numpy, together)]
    assert float((roughness[1] / roughness[0]).log().abs().mean()) < 0.05


@pytest.mark.parametrize("one_batch", [False, True])
def test_images_are_exact_also_within_autocast(source, monkeypatch, one_batch):
    monkeypatch.setattr(streams, "in_one_batch", lambda device: one_batch)
    expected = source.batch(SAMPLES[:2])
    with torch.autocast("cpu", torch.bfloat16):
        found = source.batch(SAMPLES[:2])
    assert torch.equal(found.images, expected.images)
    assert torch.equal(found.plain, expected.plain)


def test_each_image_is_rendered_under_its_own_kilovolts(source):
    drawn_ones = source.draw(SAMPLES)
    batch = source.render(drawn_ones)
    assert len({s.kilovolts for s in drawn_ones.settings}) == 3
    for i, s in enumerate(drawn_ones.settings):
        alone = render(source.volume, source.carm, Pose(torch.from_numpy(drawn_ones.poses[i])), Beam(kilovolts=s.kilovolts))
        assert_close(batch.plain[i], alone[0])


def test_a_sample_is_the_same_whatever_the_batch(source, monkeypatch):
    monkeypatch.setattr(streams, "in_one_batch", lambda device: True)
    with acquisitions(monkeypatch, bits=None):
        together = source.batch([(0, 1), (2, 5), (0, 3)], [0, 7, 0])
        alone, other = (source.batch([(2, 5)], [turn]) for turn in (7, 8))
    assert torch.equal(together.masks[1:2], alone.masks)
    assert torch.equal(together.numbers[1:2], alone.numbers)
    apart = [float((together.images[1:2] - images).abs().mean()) for images in (alone.images, other.images)]
    assert apart[0] < 1e-4 < 1e-2 < apart[1]


def test_clinical_changes_are_those_of_the_key_and_leave_pose_and_drr(source):
    clinical = copy.copy(source)
    clinical.settings = SETTINGS.changed(clinical=True)
    plain, changed, again, other = source.batch(SAMPLES), *(clinical.batch(SAMPLES, [turn] * 24) for turn in (0, 0, 1))
    assert torch.equal(changed.images, again.images)
    assert torch.equal(changed.masks, again.masks)
    assert torch.equal(changed.numbers, plain.numbers)
    alike = (changed.images == plain.images).flatten(1).all(1)
    assert 0 < int(alike.sum()) < 12
    assert_close(changed.plain[alike], plain.plain[alike])
    assert (changed.images != other.images).any()


class _Waiting(TorchDispatchMode):
    """Refuses what moves data between devices while the host waits: all but copies to the GPU from pinned memory."""

    def __init__(self) -> None:
        super().__init__()
        self.pinned = self.uploads = 0

    def pin(self, tensor: torch.Tensor) -> torch.Tensor:
        """In place of `pin_memory`, which needs a GPU."""
        self.pinned += 1
        return tensor

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        result = function(*args, **kwargs)
        devices = {t.device.type for t in tree_leaves((args, kwargs, result)) if isinstance(t, torch.Tensor)}
        if len(devices) > 1:
            assert function is torch.ops.aten._to_copy.default, f"{function} on {devices}"
            assert result.device.type == "cuda", "a copy to the host"
            assert kwargs.get("non_blocking"), "a copy that the host waits for"
            self.uploads += 1
        return result


class _Indexing(TorchFunctionMode):
    """Brackets as the operators that they stand for: torch without CUDA refuses them on tensors that say they are there.

    A list among them would be an upload that the host waits for, and is an error here.
    """

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is not torch.Tensor.__getitem__:
            return function(*args, **(kwargs or {}))
        tensor, index = args
        index = index if isinstance(index, tuple) else (index,)
        if Ellipsis in [i for i in index if not isinstance(i, torch.Tensor)]:
            (at,) = (n for n, i in enumerate(index) if i is Ellipsis)
            missing = tensor.ndim - sum(i is not None and i is not Ellipsis for i in index)
            index = (*index[:at], *[slice(None)] * missing, *index[at + 1 :])
        axis = 0
        for i in index:
            if i is None:
                tensor = tensor.unsqueeze(axis)
            elif isinstance(i, slice):
                tensor = torch.ops.aten.slice.Tensor(tensor, axis, i.start, i.stop, i.step or 1)
            elif isinstance(i, int):
                tensor = tensor.select(axis, i)
                continue
            else:
                assert isinstance(i, torch.Tensor), f"a {type(i).__name__} as an index"
                tensor = torch.ops.aten.index.Tensor(tensor, [None] * axis + [i])
                axis += i.ndim - 1
            axis += 1
        return tensor


@contextmanager
def pretended_gpu(source: DrrStream, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[DrrStream, torch.device, _Waiting]]:
    """The stream with its volume on a GPU that has shapes and no values, and a renderer that returns such images."""
    gpu = torch.device("cuda", 0)
    there = copy.copy(source)
    there.volume = copy.copy(source.volume)
    # not single_torch_thread: poses are looked at by the host, where they are
    monkeypatch.setattr(streams, "Pose", lambda numbers: numbers)
    monkeypatch.setattr(streams, "render", lambda volume, carm, pose, *beam: torch.ones((len(pose), *carm.shape), device=volume.device))
    with FakeTensorMode(), _Waiting() as waiting, _Indexing():
        monkeypatch.setattr(devices, "_pinned", waiting.pin)
        object.__setattr__(there.volume, "density", torch.ones(source.volume.density.shape, device=gpu))
        yield there, gpu, waiting


@pytest.mark.parametrize(
    ("acquired", "clinical", "in_kernels"),
    [(True, False, False), (True, True, False), pytest.param(True, False, True, marks=needs_triton), (False, False, False)],
)
def test_a_batch_on_a_gpu_stays_there_and_is_not_waited_for(source, monkeypatch, acquired, clinical, in_kernels):
    launched = []
    if in_kernels:  # not launched, only called
        from xrcore.simulation.batch import kernels

        monkeypatch.setattr(launches, "on", lambda device: nullcontext())
        monkeypatch.setattr(launches, "kernel_obstacle", lambda device: "")
        for name in ("detect", "shade"):
            monkeypatch.setattr(kernels, name, {(n,): lambda *_, name=name, **__: launched.append(name) for n in range(10_000)})
    else:
        monkeypatch.setattr(launches, "kernel_obstacle", lambda device: "none runs there")
    generator = torch.Generator().manual_seed(5)
    settings = [Acquisition.random(generator) for _ in range(24)]
    assert any(s.tool for s in settings)
    assert any(s.text for s in settings)
    rods.with_rods(torch.ones(24, 64, 64), source.carm, settings, SAMPLES)  # spectra are kept, and made by torch
    given = iter(settings)
    monkeypatch.setattr(streams.Acquisition, "random", lambda generator: next(given))
    plain = copy.copy(source)
    plain.settings = SETTINGS.changed(acquired=acquired, clinical=clinical)
    with pretended_gpu(plain, monkeypatch) as (there, gpu, waiting):
        batch = there.batch(SAMPLES)
        assert {t.device for t in (batch.images, batch.masks, batch.numbers, batch.plain)} == {gpu}
        assert batch.images.shape == batch.masks.shape == batch.plain.shape == (24, 64, 64)
        assert batch.images.dtype == batch.numbers.dtype == torch.float32
        assert batch.masks.dtype == torch.bool
        moved = batch.to(gpu)
        assert moved.images is batch.images
    assert waiting.uploads == waiting.pinned >= (8 if acquired else 1)
    assert launched == (["shade", "detect"] if in_kernels else [])


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda t: t.sum().item(), "_local_scalar_dense"),
        (lambda t: t.nonzero(), "nonzero|not linked with"),
        (lambda t: t + torch.ones(3), "same device"),
        (lambda t: torch.where(t > 0, t, torch.zeros(())), "where.* on "),
        (lambda t: t[torch.arange(2)], "index.* on "),
        (lambda t: t[[0, 1]], "a list as an index"),
        (lambda t: t.cpu(), "a copy to the host"),
        (lambda t: torch.ones(3).to(t), "a copy that the host waits for"),
    ],
)
def test_the_pretended_gpu_notices(source, monkeypatch, wrong, says):
    with pretended_gpu(source, monkeypatch) as (_, gpu, _), pytest.raises((RuntimeError, AssertionError), match=says):
        wrong(torch.ones(3, device=gpu))
