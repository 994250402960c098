"""Training: settings, schedules, the stream of DRRs, the loop and its files; each test in seconds, on the phantom."""

from __future__ import annotations

import errno
import functools
import json
import logging
import math
import os
import threading
from contextlib import nullcontext
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from xrcore import phantom
from xrcore._util import device_memory
from xrcore._util.device_memory import Portions
from xrcore._util.devices import named_device
from xrcore._util.errors import XrcoreError
from xrcore._util.logs import log_once
from xrcore.ct.volume import Volume
from xrcore.geometry import CArm, Pose
from xrcore.learning.methods import method_named
from xrcore.learning.methods.psss import Psss
from xrcore.learning.models import PoseRegressor
from xrcore.learning.training import TrainingSettings, checkpoint, profile
from xrcore.learning.training.distributed import Team
from xrcore.learning.training.log import COLUMNS, Log, read_log
from xrcore.learning.training.loop import _Trainer, train
from xrcore.learning.training.optimisation import average, half_precision
from xrcore.learning.training.schedule import Schedule
from xrcore.learning.training.stream import TRAINING, VALIDATION, Batch, DrrStream
from xrcore.metrics import mtre
from xrcore.renderer import render

CARM = CArm(source_to_detector=1259.65, source_to_isocenter=742.5, shape=(256, 256), pixel_spacing=1.6875)
TINY = profile("smoke").changed(
    pixels=32, bottleneck=16, hidden=32, tokens=16, decoder=16, images=32, batch=8, validation=4, precision="float32",
    validate_every=16, checkpoint_every=16,
)  # fmt: skip


@functools.cache
def patient(seed: int = 0) -> Volume:
    return phantom.pelvis(seed, 8.0)


def weights(model: PoseRegressor) -> dict[str, torch.Tensor]:
    return model.network.state_dict()


def same(a: PoseRegressor, b: PoseRegressor) -> bool:
    return all(torch.equal(x, y) for x, y in zip(weights(a).values(), weights(b).values(), strict=True))


# settings


def test_settings_go_through_json_and_profiles_differ():
    for name in ("smoke", "laptop", "paper"):
        settings = profile(name)
        assert TrainingSettings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings
    assert profile("paper").architecture.pixels == 256
    with pytest.raises(XrcoreError, match="unknown profile 'huge'; choose from smoke, laptop, paper"):
        profile("huge")
    changed = TINY.changed(pixels=64, seed=3)
    assert (changed.architecture.pixels, changed.seed, changed.batch) == (64, 3, 8)
    assert TINY.architecture.pixels == 32
    with pytest.raises(XrcoreError, match=r"no field .colour.; available: .*pixels"):
        TINY.changed(colour=1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"rotation": (1, 2)}, {"rotation": 5}, {"rotation": (0, 0, 0)}, {"rotation": (math.inf, 0, 0)}, {"translation": (math.nan, 1, 1)},
        {"translation": "wide"}, {"method": "resnet"}, {"scheme": "all"}, {"precision": "float16"}, {"optimiser": "adam"}, {"images": 0},
        {"batch": 10**9}, {"batch": 2.0}, {"set_size": 3}, {"set_size": 8.5}, {"spacing": 0}, {"spacing": math.inf}, {"clip": -1},
        {"learning_rate": "1e-3"}, {"learning_rate": math.nan}, {"weight_decay": -1}, {"ema": 1.0}, {"warmup": 1}, {"seed": -1},
        {"seed": 0.5}, {"seed": 2**32}, {"acquired": "no"}, {"restarts": 1}, {"validation": True}, {"architecture": {}},
    ],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused_by_name(wrong):
    (name,) = wrong
    with pytest.raises(XrcoreError, match=f"TrainingSettings: {name} must be"):
        TrainingSettings(**wrong)


# schedules


def all_samples(settings: TrainingSettings) -> list[list[tuple[int, int]]]:
    schedule = Schedule(settings)
    return [schedule.samples(step) for step in range(settings.steps)]


@pytest.mark.parametrize("changes", [{"scheme": "none"}, {"scheme": "none", "set_size": 40}, {"scheme": "growing"}, {"scheme": "fresh"}])
def test_every_scheme_spends_the_same_budget(changes):
    settings = TINY.changed(images=330, batch=8, **changes)
    samples = all_samples(settings)
    assert len(samples) == 41
    assert {len(batch) for batch in samples} == {8}
    stages = Schedule(settings).stages
    assert stages[0].first == 0
    assert stages[-1].last == 41
    assert all(a.last == b.first for a, b in pairwise(stages))
    assert {stage.last - stage.first for stage in stages} <= {10, 11, 41}


def seen_by_stage(settings: TrainingSettings) -> list[list[tuple[int, int]]]:
    samples = all_samples(settings)
    return [[s for batch in samples[stage.first : stage.last] for s in batch] for stage in Schedule(settings).stages]


def test_growing_sets_are_nested_quarters():
    stages = seen_by_stage(TINY.changed(images=640, scheme="growing", set_size=40))
    assert [len(set(s)) for s in stages] == [10, 20, 30, 40]
    for smaller, larger in pairwise(stages):
        assert set(smaller) < set(larger)
    # epochs: nothing is seen once more than another, but for the last, cut short
    for stage in stages:
        counts = [stage.count(sample) for sample in set(stage)]
        assert max(counts) - min(counts) <= 1


def test_fresh_sets_share_nothing():
    stages = seen_by_stage(TINY.changed(images=640, scheme="fresh", set_size=16))
    assert [len(set(s)) for s in stages] == [4] * 4  # a quarter of the set each, so that as many differ as in the other schemes
    assert len(set().union(*stages)) == 16
    endless = [s for stage in seen_by_stage(TINY.changed(images=640, scheme="fresh")) for s in stage]
    assert len(set(endless)) == 640


def test_no_scheme_repeats_one_set_or_never():
    (stage,) = seen_by_stage(TINY.changed(images=640, scheme="none", set_size=80))
    assert set(stage) == {(0, i) for i in range(80)}
    assert all(stage.count(s) == 8 for s in set(stage))
    assert stage[:80] != stage[80:160]  # each epoch in an order of its own
    (endless,) = seen_by_stage(TINY.changed(images=640, scheme="none"))
    assert len(set(endless)) == 640


@pytest.mark.parametrize("scheme", ["none", "growing", "fresh"])
def test_a_schedule_is_the_same_from_any_step(scheme):
    settings = TINY.changed(images=320, scheme=scheme, set_size=20)
    samples = all_samples(settings)
    for step in (0, 9, 10, 23, 39):
        assert Schedule(settings).samples(step) == samples[step]
    if scheme != "fresh":
        assert all_samples(settings.changed(seed=1)) != samples


def test_the_learning_rate_warms_up_falls_and_restarts():
    for scheme, starts in (("growing", 4), ("fresh", 1), ("none", 1)):
        settings = TINY.changed(images=1600, scheme=scheme, learning_rate=0.5, warmup=0.1)
        schedule = Schedule(settings)
        rates = np.array([schedule.learning_rate(step) for step in range(200)])
        assert rates.max() == pytest.approx(0.5, rel=0.05)
        assert rates.max() <= 0.5
        assert rates.min() > 0
        assert int((np.diff(rates, prepend=-1.0) > 0)[1:].astype(int).tolist().count(1)) == pytest.approx(0.1 * 200, abs=starts + 1)
        lows = [rates[stage.last - 1] for stage in schedule.stages]
        assert sum(low < 0.01 for low in lows) == starts
        assert rates[-1] < 0.01
    forced = Schedule(TINY.changed(images=1600, scheme="fresh", restarts=True, warmup=0.0))
    assert forced.learning_rate(50) == pytest.approx(forced.learning_rate(0))
    assert Schedule(TINY.changed(images=1600, scheme="growing", restarts=False)).learning_rate(50) < TINY.learning_rate


# the stream


def stream(purpose: int = TRAINING, **changes) -> DrrStream:
    return DrrStream(patient(), CARM, TINY.changed(**changes), purpose=purpose)


def test_poses_fill_their_ranges_and_nothing_else():
    ranges = {"rotation": (15.0, 5.0, 0.0), "translation": (30.0, 0.0, 50.0)}
    numbers = np.stack([stream(**ranges).pose(0, i) for i in range(300)])
    limits = np.array([15.0, 5.0, 0.0, 30.0, 0.0, 50.0])
    assert (np.abs(numbers) <= limits).all()
    assert (np.abs(numbers).max(0) >= 0.95 * limits).all()
    assert (np.abs(numbers.mean(0)) <= 0.15 * limits).all()


def test_validation_has_poses_of_its_own():
    draws = {
        tuple(stream(purpose, seed=seed).pose(number, index))
        for purpose in (TRAINING, VALIDATION) for seed in (0, 1) for number in (0, 1) for index in range(5)
    }  # fmt: skip
    assert len(draws) == 40


@pytest.mark.parametrize("acquired", [True, False])
def test_a_sample_is_the_same_whatever_the_batch(acquired):
    source = stream(acquired=acquired)
    together = source.batch([(0, 1), (2, 5), (0, 3)], [0, 7, 0])
    alone = source.batch([(2, 5)], [7])
    for name in ("images", "masks", "numbers"):
        assert torch.equal(getattr(together, name)[1:2], getattr(alone, name)), name
    assert_close(alone.numbers[0].double(), torch.from_numpy(source.pose(2, 5)), rtol=1e-6, atol=1e-5)


def test_plain_drrs_are_the_renderers():
    batch = stream(acquired=False).batch([(0, 0), (1, 4)])
    expected = render(patient(), CARM.resized((32, 32)), Pose(batch.numbers.double()))
    assert_close(batch.images, expected, rtol=1e-4, atol=1e-4)
    assert batch.masks.all()
    assert batch.images.dtype == batch.numbers.dtype == torch.float32


def test_acquisitions_differ_by_turn_and_come_again():
    source = stream(acquired=True)
    samples = [(0, i) for i in range(12)]
    first, again, other = (source.batch(samples, [turn] * 12) for turn in (0, 0, 1))
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.images, source.batch(samples).images)
    assert torch.equal(first.numbers, other.numbers)
    assert not any(torch.equal(a, b) for a, b in zip(first.images, other.images, strict=True))
    assert not torch.equal(first.masks, other.masks)
    shares = first.masks.float().mean((1, 2))
    assert float(shares.min()) < 0.95
    assert float(shares.max()) == 1.0
    # each still shows the patient
    plain = stream(acquired=False).batch(samples).images
    for image, mask, expected in zip(first.images, first.masks, plain, strict=True):
        assert float(torch.corrcoef(torch.stack([image[mask], expected[mask]]))[0, 1]) > 0.5


def test_threads_do_not_change_a_batch():
    threads = torch.get_num_threads()
    samples = [(0, i) for i in range(6)]
    try:
        batches = []
        for count in (1, 3):
            torch.set_num_threads(count)
            batches.append(stream(acquired=True).batch(samples))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(batches[0].images, batches[1].images)


# the loop


def test_training_lowers_the_errors():
    # eight DRRs learnt by heart, and what that says of others
    settings = TINY.changed(
        **vars(profile("smoke").architecture), rotation=(0, 0, 20), translation=(40, 40, 0), acquired=False, images=320, scheme="none",
        set_size=8, learning_rate=2e-3, ema=0.0, validation=16, validate_every=10**6,
    ).changed(pixels=32, norm_layer="group")  # fmt: skip
    model = train(patient(), CARM, settings)
    for purpose, count, share in ((TRAINING, 8, 0.4), (VALIDATION, 16, 0.97)):
        batch = DrrStream(patient(), CARM, settings, purpose=purpose).batch([(0, i) for i in range(count)])
        truth = Pose(batch.numbers.double())
        numbers, _ = model.predict_batch(batch.images, batch.masks)
        after, untrained = (
            mtre(pose, truth, patient().surface_points(), CARM, patient().isocenter).mean() for pose in (Pose(numbers), Pose.zero())
        )
        assert float(after) < share * float(untrained)
    assert model.training["validation"]["mtre"] == pytest.approx(float(after), rel=1e-3)
    assert model.training["images"] == 320
    errors = (numbers - truth.numbers).abs()
    assert model.spread == pytest.approx(torch.quantile(errors, 0.95, dim=0).tolist(), rel=0.01, abs=0.01)


@pytest.mark.parametrize("changes", [{}, {"drop_connect": 0.3, "dropout": 0.3, "precision": "bfloat16"}])
def test_same_seed_same_weights(changes):
    settings = TINY.changed(images=24, **changes)
    torch.manual_seed(1)
    first = train(patient(), CARM, settings)
    torch.manual_seed(2)
    expected = torch.rand(2)
    torch.manual_seed(2)
    assert same(first, train(patient(), CARM, settings))
    assert torch.equal(torch.rand(2), expected)  # the caller's generator is not touched
    assert not same(first, train(patient(), CARM, settings.changed(seed=1)))


@pytest.mark.parametrize("method", ["psss", "salehi"])
def test_a_training_writes_its_files(tmp_path, method):
    model = train(patient(), CARM, TINY.changed(method=method), out=tmp_path / "a" / "model")
    folder = tmp_path / "a" / "model"
    assert sorted(p.name.split("-")[0] for p in folder.iterdir()) == ["events", "log.csv", "model", "model.json"]
    assert [p for p in (folder / "events").iterdir() if p.name.startswith("events.out.tfevents") and p.stat().st_size > 100]
    *_, row = rows = read_log(folder)
    assert tuple(row) == COLUMNS
    assert row["images"] == "32"
    # a row for each validation, at the images it was made at
    assert {int(r["images"]) for r in rows} >= set(range(TINY.validate_every, 33, TINY.validate_every))
    assert float(row["loss"]) > 0
    assert float(row["validation_mtre_mm"]) == pytest.approx(model.training["validation"]["mtre"], rel=1e-2)
    assert 0 < float(row["rendering_share"]) < 1
    loaded = PoseRegressor.load(folder)
    assert loaded.settings == TINY.changed(method=method)
    assert loaded.training == model.training
    loaded.check(CARM, patient())


def test_the_log_holds_means_of_what_was_done(tmp_path, monkeypatch):
    settings = TINY.changed(images=30 * 8, validate_every=10**6, checkpoint_every=10 * 8)
    losses = iter(range(1000))

    def step(self, shared, state, step):
        return float(next(losses)), {"pose": 1.0}

    monkeypatch.setattr(_Trainer, "_step", step)
    train(patient(), CARM, settings, out=tmp_path)
    assert [(r["images"], r["loss"], r["parts"]) for r in read_log(tmp_path)] == [("200", "12", "pose=1"), ("240", "27", "pose=1")]


class Stop(Exception):
    """As if the process died."""


def stop_at(monkeypatch, last: int) -> None:
    working = _Trainer._step

    def step(self, shared, state, step):
        if step == last:
            raise Stop
        return working(self, shared, state, step)

    monkeypatch.setattr(_Trainer, "_step", step)


@pytest.mark.parametrize("changes", [{}, {"ema": 0.0, "dropout": 0.2}, {"method": "salehi", "optimiser": "sgd"}])
def test_an_interrupted_training_ends_as_the_whole_one(tmp_path, changes):
    settings = TINY.changed(images=40, scheme="growing", set_size=12, checkpoint_every=24, **changes)
    whole = train(patient(), CARM, settings)
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, 4)
        with pytest.raises(Stop):
            train(patient(), CARM, settings, out=tmp_path)
    assert checkpoint.exists(tmp_path)
    assert same(whole, train(patient(), CARM, settings, out=tmp_path, resume=True))
    assert not checkpoint.exists(tmp_path)
    assert not list(tmp_path.glob("*checkpoint*"))


def test_the_log_of_a_resumed_training_has_each_row_once(tmp_path, monkeypatch):
    settings = TINY.changed(images=60 * 8, validate_every=10**6, checkpoint_every=30 * 8)

    def step(self, shared, state, step):
        if step == self_stop[0]:
            raise Stop
        return float(step), {"pose": float(step)}

    self_stop = [55]
    monkeypatch.setattr(_Trainer, "_step", step)
    with pytest.raises(Stop):
        train(patient(), CARM, settings, out=tmp_path)
    assert [r["images"] for r in read_log(tmp_path)] == ["200", "400"]
    self_stop[0] = -1
    train(patient(), CARM, settings, out=tmp_path, resume=True)
    rows = read_log(tmp_path)
    assert [r["images"] for r in rows] == ["200", "400", "480"]
    # the second row's mean is over the steps since the checkpoint, 30 to 49
    assert [float(r["loss"]) for r in rows] == [12.0, 39.5, 54.5]


def test_a_log_cut_off_by_a_kill_is_read(tmp_path):
    log = Log(tmp_path, 100, bar=False)
    for images in (8, 16):
        log.row({"images": images, "loss": 2.0, "parts": {"a": 1.0}} | dict.fromkeys(set(COLUMNS) - {"images", "loss", "parts"}, 1.5))
    log.close()
    whole = (tmp_path / "log.csv").read_text()
    assert [r["images"] for r in read_log(tmp_path)] == ["8", "16"]
    for cut in (1, 3, 10, 20):
        (tmp_path / "log.csv").write_text(whole[:-cut])
        assert [r["images"] for r in read_log(tmp_path)] == ["8"]
    for broken in ("", "images", "\n\n", "a,b\n1,2\n"):
        (tmp_path / "log.csv").write_text(broken)
        assert read_log(tmp_path) == []


@pytest.fixture
def half_done(tmp_path) -> Path:
    """A folder with a checkpoint."""
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, 3)
        with pytest.raises(Stop):
            train(patient(), CARM, TINY, out=tmp_path / "run")
    return tmp_path / "run"


def test_a_checkpoint_is_not_overwritten_nor_carried_to_another_training(half_done):
    before = {p.name: p.read_bytes() for p in half_done.glob("checkpoint*")}
    with pytest.raises(XrcoreError, match="holds the checkpoint of a training; go on with --resume"):
        train(patient(), CARM, TINY, out=half_done)
    for changes, match in (
        ({"learning_rate": 2e-3}, "began with learning_rate=0.001, not 0.002"),
        ({"rotation": (10, 15, 10)}, "began with rotation="),
        ({"bottleneck": 24}, "began with bottleneck=16, not 24"),
        ({"seed": 1}, "began with seed=0, not 1"),
    ):
        with pytest.raises(XrcoreError, match=match):
            train(patient(), CARM, TINY.changed(**changes), out=half_done, resume=True)
    with pytest.raises(XrcoreError, match="began with another C-arm geometry"):
        train(patient(), replace(CARM, source_to_isocenter=700.0), TINY, out=half_done, resume=True)
    with pytest.raises(XrcoreError, match="began with another CT: its"):
        train(patient(1), CARM, TINY, out=half_done, resume=True)
    assert {p.name: p.read_bytes() for p in half_done.glob("checkpoint*")} == before
    train(patient(), CARM, TINY, out=half_done, resume=True)


def test_damaged_checkpoints_are_refused(half_done):
    record = (half_done / "checkpoint.json").read_text()
    values = json.loads(record)

    def refused(match: str) -> None:
        with pytest.raises(XrcoreError, match=match) as caught:
            train(patient(), CARM, TINY, out=half_done, resume=True)
        assert "\n" not in str(caught.value)

    for broken, match in (
        ("{", "not valid JSON"), (json.dumps(values | {"format": "other"}), "format 'other' is unknown"),
        (json.dumps(values | {"settings": []}), "damaged"), (json.dumps(values | {"step": None}), "damaged"),
        (json.dumps({k: v for k, v in values.items() if k != "ct"}), "damaged"), (json.dumps(values | {"tensors": {}}), "names no tensors"),
    ):  # fmt: skip
        (half_done / "checkpoint.json").write_text(broken)
        refused(match)
    (half_done / "checkpoint.json").write_text(record)
    (tensors,) = half_done.glob("checkpoint-*.safetensors")
    tensors.write_bytes(tensors.read_bytes()[:-1])
    refused("sha256")


def test_a_loss_that_is_no_number_stops_and_keeps_the_checkpoint(tmp_path, monkeypatch):
    working = Psss.loss

    def loss(self, network, batch, done):
        value, parts = working(self, network, batch, done)
        return (value * math.nan if done >= 0.75 else value), parts

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Psss, "loss", loss)
        with pytest.raises(XrcoreError, match=r"the loss became nan at image 24; nothing was kept\. Begin in another folder"):
            train(patient(), CARM, TINY)
        with pytest.raises(XrcoreError, match=r"the loss became nan at image 24; the checkpoint in .* is from before") as caught:
            train(patient(), CARM, TINY, out=tmp_path)
        assert "\n" not in str(caught.value)
    model = train(patient(), CARM, TINY, out=tmp_path, resume=True)
    assert same(model, train(patient(), CARM, TINY))


def test_a_gradient_that_is_not_finite_stops(monkeypatch):
    def loss(self, network, batch, done):
        return torch.sqrt(network(self.inputs(batch)).pose.sum() * 0.0), {"pose": 0.0}

    monkeypatch.setattr(Psss, "loss", loss)
    with pytest.raises(XrcoreError, match="the gradient is no longer finite at image 0"):
        train(patient(), CARM, TINY)


def test_a_full_disk_stops_with_the_checkpoint_before(half_done, monkeypatch):
    content = (half_done / "checkpoint.json").read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    settings = TINY.changed(checkpoint_every=8)
    with pytest.raises(XrcoreError, match="checkpoint_every"):
        train(patient(), CARM, settings, out=half_done, resume=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(XrcoreError, match=r"cannot be written .No space left on device."):
            train(patient(), CARM, TINY, out=half_done, resume=True)
        with pytest.raises(XrcoreError, match=r"cannot be written .No space left on device.; the checkpoint before is whole"):
            train(patient(), CARM, settings, out=half_done.parent / "other")
    assert (half_done / "checkpoint.json").read_bytes() == content
    train(patient(), CARM, TINY, out=half_done, resume=True)


def test_resuming_nothing_is_starting(tmp_path):
    settings = TINY.changed(images=16)
    assert same(train(patient(), CARM, settings, out=tmp_path, resume=True), train(patient(), CARM, settings))


def test_a_finished_training_is_neither_repeated_nor_overwritten(tmp_path):
    settings = TINY.changed(images=16)
    train(patient(), CARM, settings, out=tmp_path)
    before = {p.name: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
    with pytest.raises(XrcoreError, match="holds a trained model"):
        train(patient(), CARM, settings, out=tmp_path)
    with pytest.raises(XrcoreError, match="holds a model trained with other settings, geometry or CT"):
        train(patient(), CARM, settings.changed(seed=1), out=tmp_path, resume=True)
    kept = train(patient(), CARM, settings, out=tmp_path, resume=True)
    assert same(kept, PoseRegressor.load(tmp_path))
    assert {p.name: p.stat().st_mtime_ns for p in tmp_path.iterdir()} == before


def test_averaged_weights_are_kept_and_resumed(tmp_path):
    averaged, last = (train(patient(), CARM, TINY.changed(ema=ema)) for ema in (0.9, 0.0))
    assert not same(averaged, last)
    for name, buffer in last.network.named_buffers():
        assert torch.equal(dict(averaged.network.named_buffers())[name], buffer)


def test_the_average_is_exponential():
    a, b = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    expected = {k: 0.75 * v + 0.25 * a.state_dict()[k] for k, v in b.state_dict().items()}
    average(a, b, 0.75)
    for name, value in b.state_dict().items():
        assert_close(value, expected[name])


# CTs that cannot be learnt from


def test_cts_without_bone_with_holes_and_too_small_are_refused():
    here = patient()
    soft = here.density.clone()
    soft[here.materials.index("bone")] = 0
    holed = here.density.clone()
    holed[0, 5, 5, 5] = math.nan
    small = Volume(
        density=here.density[:, 14:18, 14:17, 20:24].clamp_min(0.5), materials=here.materials, world_from_voxel=here.world_from_voxel
    )
    for volume, match in (
        (replace(here, density=soft), "holds no bone.*Hounsfield"),
        (replace(here, density=holed), "holds NaN or infinite"),
        (replace(here, density=torch.zeros_like(here.density)), "the CT is empty"),
        (small, r"the CT \(32 x 24 x 32 mm\) is too small for these ranges: .* narrow"),
    ):
        with pytest.raises(XrcoreError, match=match) as caught:
            train(volume, CARM, TINY.changed(translation=(200, 200, 30)))
        assert "\n" not in str(caught.value)


def test_what_cannot_be_done_is_refused_before_the_work(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(XrcoreError, match="this is a file"):
        train(patient(), CARM, TINY, out=tmp_path / "file")
    with pytest.raises(XrcoreError, match=r"device .warp.: not one of auto, cpu, cuda"):
        train(patient(), CARM, TINY, device="warp")
    with pytest.raises(XrcoreError, match="multiple of 32"):
        train(patient(), CARM, TINY.changed(pixels=40))


def test_half_precision_where_it_is_told_or_pays(monkeypatch):
    cpu = torch.device("cpu")
    assert half_precision("bfloat16", cpu)
    assert not half_precision("float32", cpu)
    for supported in (True, False):
        monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda supported=supported: supported)
        assert half_precision("auto", cpu) is supported
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda supported=supported: supported)
        assert half_precision("auto", torch.device("cuda")) is supported
    assert not half_precision("auto", torch.device("meta"))


def test_a_team_does_not_begin_again_alone(monkeypatch):
    # the others would wait for ever for gradients of a pass that this one repeats
    trainer = _Trainer(patient(), CARM, TINY, None, torch.device("cpu"), Team(), bar=False)
    state = trainer._start(False, None)
    trainer.crew = Team(0, 2)
    passes = []

    def made(drawn):
        passes.append(len(drawn.poses))
        raise device_memory.OUT_OF_MEMORY("no room")

    monkeypatch.setattr(trainer.stream, "made", made)
    with pytest.raises(device_memory.OUT_OF_MEMORY):
        trainer._step(state.network, state, 0)
    assert passes == [4]


@pytest.mark.parametrize("room", [8, 4, 3])
def test_a_batch_in_portions_teaches_the_same(monkeypatch, caplog, room):
    # a loss without batch statistics: its gradient is the batch's mean, however the batch is cut
    caplog.set_level(logging.INFO, logger="xrcore")
    log_once.cache_clear()
    trainer = _Trainer(patient(), CARM, TINY.changed(acquired=False, clip=1e9), None, torch.device("cpu"), Team(), bar=False)
    state = trainer._start(False, None)
    weight = next(state.network.parameters())
    whole = trainer.stream.batch(trainer.schedule.samples(0)).images
    make = trainer.stream.made

    def made(drawn):
        if len(drawn.poses) > room:
            raise device_memory.OUT_OF_MEMORY("no room")
        return make(drawn)

    monkeypatch.setattr(trainer.stream, "made", made)
    monkeypatch.setattr(trainer.method, "loss", lambda network, batch, done: (weight.sum() * batch.images.mean(), {"part": 2.0}))
    loss, parts = trainer._step(state.network, state, 0)
    assert weight.grad is not None
    assert_close(weight.grad, torch.full_like(weight, float(whole.mean())), rtol=1e-5, atol=0)
    assert parts == {"part": pytest.approx(2.0)}
    assert math.isfinite(loss)
    said = [line for line in caplog.messages if "out of GPU memory" in line]
    assert len(said) == {8: 0, 4: 1, 3: 2}[room]


def test_a_batch_prepared_ahead_is_the_steps_own_and_used_once():
    trainer = _Trainer(patient(), CARM, TINY, None, torch.device("cpu"), Team(), bar=False)
    whole = slice(0, TINY.batch)
    ahead = trainer._batch(1, whole)
    trainer._ahead = 1, ahead
    assert trainer._batch(1, whole) is ahead
    again = trainer._batch(1, whole)
    assert again is not ahead
    assert torch.equal(again.images, ahead.images)
    for step, part in ((2, whole), (1, slice(0, 4))):  # another step's, and a portion after memory ran out
        trainer._ahead = 1, ahead
        assert trainer._batch(step, part) is not ahead
        assert trainer._ahead is None


def test_the_validation_set_is_the_same_in_chunks_and_portions(monkeypatch):
    settings = TINY.changed(validation=7)
    whole = _Trainer(patient(), CARM, settings, None, torch.device("cpu"), Team(), bar=False).validation
    assert [len(batch.images) for batch in whole] == [7]
    monkeypatch.setattr("xrcore.learning.training.loop._CHUNK", 4)
    asked = []
    pieces = Portions.pieces
    monkeypatch.setattr(Portions, "pieces", lambda self, count, size=1: (asked.append(count), 2 if count == 4 else pieces(self, count))[1])
    cut = _Trainer(patient(), CARM, settings, None, torch.device("cpu"), Team(), bar=False).validation
    assert [len(batch.images) for batch in cut] == [2, 2, 3]
    assert torch.equal(torch.cat([batch.images for batch in cut]), whole[0].images)
    assert torch.equal(torch.cat([batch.numbers for batch in cut]), whole[0].numbers)


def test_a_gpu_is_given_its_next_batch_while_it_learns(monkeypatch):
    trainer = _Trainer(patient(), CARM, TINY, None, torch.device("cpu"), Team(), bar=False)
    state = trainer._start(False, None)
    expected = [trainer.stream.batch(trainer.schedule.samples(step), [step] * TINY.batch).images for step in range(TINY.steps)]
    learnt, threads = [], []
    loss, draw = trainer.method.loss, trainer.stream.draw

    def seen(network, batch, done):
        learnt.append(batch.images)
        return loss(network, batch, done)

    def drawn(*arguments):
        threads.append(threading.current_thread())
        return draw(*arguments)

    monkeypatch.setattr(trainer.method, "loss", seen)
    monkeypatch.setattr(trainer.stream, "draw", drawn)
    # all that the trainer asks of its device is its type, autocast and the batch's way there included
    trainer.device = SimpleNamespace(type="cuda")
    monkeypatch.setattr(Batch, "to", lambda batch, device: batch)
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    monkeypatch.setattr(trainer, "_half", lambda: False)
    for step in range(TINY.steps):
        trainer._step(state.network, state, step)
        if step + 1 < TINY.steps:
            assert trainer._ahead is not None
            assert trainer._ahead[0] == step + 1
    assert trainer._ahead is None  # nothing comes after the last
    assert len(learnt) == len(expected) == TINY.steps
    for images, right in zip(learnt, expected, strict=True):
        assert torch.equal(images, right)
    assert [thread is threading.main_thread() for thread in threads] == [True, *[False] * (TINY.steps - 1)]
    # in portions nothing is prepared, because the portions of the next batch come one by one
    trainer.portions.room = TINY.batch // 2
    trainer._step(state.network, state, 0)
    assert trainer._ahead is None


def test_each_process_has_a_gpu_of_its_own(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert named_device("cuda") == torch.device("cuda")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert named_device("cuda") == torch.device("cuda", 1)
    assert named_device("cuda:0") == torch.device("cuda", 0)
    assert named_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("module", ["xrcore.learning.methods", "xrcore.learning.models"])
def test_modules_can_be_imported_first(module):
    import subprocess
    import sys

    subprocess.run([sys.executable, "-c", f"import {module}"], check=True, timeout=120)


def test_methods_start_from_their_authors_settings():
    salehi = profile("smoke").changed(**method_named("salehi").defaults)
    assert (salehi.optimiser, salehi.batch) == ("sgd", 32)
