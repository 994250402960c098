"""Training: settings, schedules, the stream of DRRs, the loop and its files; each test in seconds, on the phantom."""

from __future__ import annotations

import errno
import functools
import json
import logging
import math
import os
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from xrcore import phantom
from xrcore._util import device_memory
from xrcore._util.devices import named_device
from xrcore._util.errors import XrcoreError
from xrcore._util.logs import log_once
from xrcore.ct.volume import Volume
from xrcore.geometry import CArm, Pose
from xrcore.learning.methods import method_named
from xrcore.learning.methods.psss import Psss
from xrcore.learning.models import PoseRegressor
from xrcore.learning.training import TrainingSettings, checkpoint, loop, profile, train, training_steps
from xrcore.learning.training.distributed import Team
from xrcore.learning.training.evaluation import Evaluator
from xrcore.learning.training.log import COLUMNS, Log, read_log
from xrcore.learning.training.optimisation import average, half_precision
from xrcore.learning.training.prefetch import Batches
from xrcore.learning.training.schedule import Schedule
from xrcore.learning.training.stream import TRAINING, VALIDATION, DrrStream
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
        {"translation": "wide"}, {"method": "resnet"}, {"scheme": "all"}, {"precision": "float16"}, {"optimiser": "lamb"}, {"images": 0},
        {"decay": "linear"}, {"coarse_pixels": 128}, {"coarse_pixels": 48}, {"coarse_share": 1.0}, {"prefetch": 1},
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


@pytest.mark.parametrize(
    "changes", [{"scheme": "none"}, {"scheme": "none", "set_size": 40}, {"scheme": "growing"}, {"scheme": "fresh"}, {"scheme": "extended"}]
)
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


def test_extended_sets_are_joined_by_as_many_new_ones_at_each_stage():
    stages = seen_by_stage(TINY.changed(images=1280, scheme="extended", set_size=20))
    assert [set(stage) for stage in stages] == [{(0, i) for i in range(20 * n)} for n in (1, 2, 3, 4)]
    # the row without it trains on the first set for as long, at the same learning rate
    plain, extended = (Schedule(TINY.changed(images=1280, scheme=scheme, set_size=20)) for scheme in ("none", "extended"))
    assert set().union(*seen_by_stage(plain.settings)) == set(stages[0])
    assert [plain.learning_rate(step) for step in range(160)] == [extended.learning_rate(step) for step in range(160)]


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


@pytest.mark.parametrize("scheme", ["none", "extended", "growing", "fresh"])
def test_a_schedule_is_the_same_from_any_step(scheme):
    settings = TINY.changed(images=320, scheme=scheme, set_size=20)
    samples = all_samples(settings)
    for step in (0, 9, 10, 23, 39):
        assert Schedule(settings).samples(step) == samples[step]
    if scheme != "fresh":
        assert all_samples(settings.changed(seed=1)) != samples


def test_the_learning_rate_warms_up_falls_and_restarts():
    for scheme, starts in (("growing", 4), ("extended", 1), ("fresh", 1), ("none", 1)):
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


def test_the_learning_rate_falls_in_steps():
    schedule = Schedule(TINY.changed(images=2400, decay="step", learning_rate=1e-4, warmup=0.0))
    rates = [schedule.learning_rate(step) for step in range(300)]
    assert rates == pytest.approx([1e-4] * 100 + [1e-5] * 100 + [1e-6] * 100)


def test_images_are_small_in_the_first_share_of_the_budget():
    schedule = Schedule(TINY.changed(images=800, pixels=96, coarse_pixels=32, coarse_share=0.3))
    assert [schedule.pixels(step) for step in range(100)] == [32] * 30 + [96] * 70
    assert {Schedule(TINY).pixels(step) for step in range(4)} == {32}


# the stream


def stream(purpose: int = TRAINING, side: int | None = None, **changes) -> DrrStream:
    return DrrStream(patient(), CARM, TINY.changed(**changes), purpose=purpose, pixels=side)


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
    assert sorted(p.name.split("-")[0] for p in folder.iterdir()) == ["log.csv", "model", "model.json"]
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


def test_the_log_holds_means_of_what_was_done(tmp_path):
    settings = TINY.changed(images=60, batch=2, validate_every=10**6)
    steps = list(training_steps(patient(), CARM, settings, folder=tmp_path))
    rows = read_log(tmp_path)
    assert [r["images"] for r in rows] == ["50", "60"]
    for row, part in zip(rows, (steps[:25], steps[25:]), strict=True):
        assert float(row["loss"]) == pytest.approx(np.mean([step.loss for step in part]), rel=1e-5)
        pose = next(float(v.removeprefix("pose=")) for v in row["parts"].split() if v.startswith("pose="))
        assert pose == pytest.approx(np.mean([step.parts["pose"] for step in part]), rel=1e-3)


def stopped_after(number: int, settings: TrainingSettings, folder: Path, **more) -> None:
    """As if the process died after so many steps."""
    for step in training_steps(patient(), CARM, settings, folder=folder, **more):
        if step.number == number:
            return


@pytest.mark.parametrize("changes", [{}, {"ema": 0.0, "dropout": 0.2}, {"method": "salehi", "optimiser": "sgd"}])
def test_an_interrupted_training_ends_as_the_whole_one(tmp_path, changes):
    settings = TINY.changed(images=40, scheme="growing", set_size=12, checkpoint_every=24, **changes)
    whole = train(patient(), CARM, settings)
    stopped_after(4, settings, tmp_path)
    assert checkpoint.exists(tmp_path)
    assert same(whole, train(patient(), CARM, settings, out=tmp_path, resume=True))
    assert not checkpoint.exists(tmp_path)
    assert not list(tmp_path.glob("*checkpoint*"))


def test_the_log_of_a_resumed_training_has_each_row_once(tmp_path):
    settings = TINY.changed(images=120, batch=2, validate_every=10**6, checkpoint_every=60)
    stopped_after(55, settings, tmp_path)
    assert [r["images"] for r in read_log(tmp_path)] == ["50", "100"]
    losses = [step.loss for step in training_steps(patient(), CARM, settings, folder=tmp_path, resume=True)]
    assert len(losses) == 30
    rows = read_log(tmp_path)
    assert [r["images"] for r in rows] == ["50", "100", "120"]
    # the second row's mean is over the steps since the checkpoint, 30 to 49
    assert [float(r["loss"]) for r in rows[1:]] == pytest.approx([np.mean(losses[:20]), np.mean(losses[20:])], rel=1e-5)


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
    stopped_after(3, TINY, tmp_path / "run")
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


def test_small_images_first_and_all_weights_carried_over(tmp_path):
    settings = TINY.changed(pixels=64, coarse_pixels=32, images=48)
    sides = []
    for step in training_steps(patient(), CARM, settings, folder=tmp_path):
        sides.append(step.network.attention.position.shape)
    assert set(sides) == {(64, 16)}  # 8 x 8 from the first step on
    model = PoseRegressor.load(tmp_path)
    seen = DrrStream(patient(), CARM, settings).batch([(0, 0)])
    assert seen.images.shape == (1, 64, 64)
    assert model.predict_batch(seen.images, seen.masks)[0].isfinite().all()
    for other in ("grimm", "transposenet-like"):
        with pytest.raises(XrcoreError, match=f"train: coarse_pixels must be None for the method {other}, got 32"):
            train(patient(), CARM, settings.changed(method=other))


def test_the_error_on_what_is_learnt_by_heart_is_logged_beside(tmp_path):
    # at the end of each stage, however seldom it is validated
    settings = TINY.changed(images=128, scheme="extended", set_size=8, validate_every=10**6, acquired=False)
    steps = [step for step in training_steps(patient(), CARM, settings, folder=tmp_path) if step.validation is not None]
    assert [step.images for step in steps] == [32, 64, 96, 128]
    logged = [row for row in read_log(tmp_path) if row["training_mtre_mm"]]
    assert [float(row["training_mtre_mm"]) for row in logged] == pytest.approx([step.training.mtre for step in steps], rel=1e-4)
    assert [float(row["validation_mtre_mm"]) for row in logged] == pytest.approx([step.validation.mtre for step in steps], rel=1e-4)
    # nothing is learnt by heart where every DRR is new
    assert all(step.training is None for step in training_steps(patient(), CARM, TINY))


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


def little_room(monkeypatch, room: int) -> list[int]:
    """A memory that holds so many images of a training; returns the sizes of what is tried."""
    tried, render_all = [], DrrStream.render

    def render(self, drawn):
        if self.purpose == TRAINING:
            tried.append(len(drawn.poses))
            if len(drawn.poses) > room:
                raise device_memory.OUT_OF_MEMORY("no room")
        return render_all(self, drawn)

    monkeypatch.setattr(DrrStream, "render", render)
    return tried


class Pair(Team):
    """The first of two processes, the other of which never comes."""

    def share(self, network, device):
        return network

    def wait(self):
        pass


def test_a_team_does_not_begin_again_alone(monkeypatch):
    # the others would wait for ever for gradients of a pass that this one repeats
    monkeypatch.setattr(loop, "team", lambda device: nullcontext(Pair(0, 2)))
    tried = little_room(monkeypatch, 3)
    with pytest.raises(device_memory.OUT_OF_MEMORY):
        train(patient(), CARM, TINY)
    assert tried == [4]


def test_a_batch_that_the_processes_cannot_share_is_refused(monkeypatch):
    monkeypatch.setattr(loop, "team", lambda device: nullcontext(Pair(0, 3)))
    with pytest.raises(XrcoreError, match="train: batch must be a multiple of the 3 processes, got 8"):
        train(patient(), CARM, TINY)


@pytest.mark.parametrize("room", [4, 3])
def test_a_batch_in_portions_teaches_the_same(monkeypatch, caplog, room):
    # without batch statistics the gradient is the batch's mean, however the batch is cut
    settings = TINY.changed(images=16, norm_layer="group", optimiser="sgd", learning_rate=1e-2, ema=0.0)
    whole = train(patient(), CARM, settings)
    caplog.set_level(logging.INFO, logger="xrcore")
    log_once.cache_clear()
    tried = little_room(monkeypatch, room)
    cut = train(patient(), CARM, settings)
    assert tried == {4: [8, 4, 4, 4, 4], 3: [8, 4, 2, 2, 2, 2, 2, 2, 2, 2]}[room]
    assert sum("out of GPU memory" in line for line in caplog.messages) == {4: 1, 3: 2}[room]
    for name, value in weights(whole).items():
        assert_close(weights(cut)[name], value, rtol=2e-3, atol=1e-4)


@pytest.mark.parametrize("changes", [{}, {"coarse_pixels": 32, "pixels": 64, "images": 24}, {"acquired": False}])
def test_batches_made_ahead_are_the_steps_own(changes):
    settings = TINY.changed(**changes)
    schedule, whole = Schedule(settings), slice(0, settings.batch)
    for ahead in ("", "thread", "queue"):
        batches = Batches(patient(), CARM, settings, schedule, Team(), ahead=ahead)
        for step in range(settings.steps):
            batch = batches.get(step, whole)
            batches.draw_next(step, whole)
            batches.render_next()
            expected = stream(**changes, side=schedule.pixels(step)).batch(schedule.samples(step), [step] * settings.batch)
            assert torch.equal(batch.images, expected.images)
            assert torch.equal(batch.numbers, expected.numbers)
        # another step's, and a portion after memory ran out
        assert torch.equal(batches.get(0, slice(4, 8)).numbers, batches.get(0, whole).numbers[4:])
        batches.close()


def test_prefetch_changes_nothing_but_the_time():
    assert same(train(patient(), CARM, TINY.changed(prefetch=True)), train(patient(), CARM, TINY))


def test_a_set_is_rendered_the_same_in_chunks_and_portions(monkeypatch):
    source = stream(acquired=False)
    evaluator = Evaluator(method_named("psss")(TINY), patient(), CARM, torch.device("cpu"))
    samples = [(0, i) for i in range(70)]
    expected = source.batch(samples)
    whole = evaluator.rendered(source, samples)
    assert [len(batch.images) for batch in whole] == [64, 6]
    little_room(monkeypatch, 20)
    cut = evaluator.rendered(source, samples)
    assert max(len(batch.images) for batch in cut) <= 20
    for batches in (whole, cut):
        assert torch.equal(torch.cat([batch.images for batch in batches]), expected.images)
        assert torch.equal(torch.cat([batch.numbers for batch in batches]), expected.numbers)


def test_each_process_has_a_gpu_of_its_own(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert named_device("cuda") == torch.device("cuda")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert named_device("cuda") == torch.device("cuda", 1)
    assert named_device("cuda:0") == torch.device("cuda", 0)
    assert named_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("module", ["networks", "methods", "models", "training"])
def test_packages_can_be_imported_first_and_models_without_training(module):
    code = f"import sys, xrcore.learning.{module}; print([name for name in sys.modules if name.startswith('xrcore.learning.training')])"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, timeout=120, capture_output=True, text=True).stdout
    assert (loaded.strip() == "[]") == (module != "training")


def test_methods_start_from_their_authors_settings():
    salehi = profile("smoke").changed(**method_named("salehi").defaults)
    assert (salehi.optimiser, salehi.batch) == ("sgd", 32)
