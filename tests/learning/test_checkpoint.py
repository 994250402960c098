"""Checkpoints, and trainings that are gone on with or refused."""

from __future__ import annotations

import errno
import json
import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.trainings import CARM, TINY, patient, same, stopped_after

from xrcore._util.errors import XrcoreError
from xrcore.learning.methods.psss import Psss
from xrcore.learning.models import PoseRegressor
from xrcore.learning.training import checkpoint, train, training_steps
from xrcore.learning.training.log import read_log


@pytest.mark.parametrize("changes", [{}, {"ema": 0.0, "dropout": 0.2}, {"method": "salehi", "optimiser": "sgd"}])
def test_an_interrupted_training_ends_as_the_whole_one(tmp_path, changes):
    settings = TINY.changed(images=40, scheme="growing", set_size=12, checkpoint_every=24, **changes)
    whole = train(patient(), CARM, settings)
    stopped_after(4, settings, tmp_path)
    assert checkpoint.exists(tmp_path)
    assert same(whole, train(patient(), CARM, settings, out=tmp_path, resume=True))
    assert not checkpoint.exists(tmp_path)
    assert not list(tmp_path.glob("*checkpoint*"))


def test_the_log_of_a_resumed_training_is_that_of_the_whole_one(tmp_path):
    settings = TINY.changed(images=60, batch=2, validate_every=10**6, checkpoint_every=40)
    stopped_after(28, settings, tmp_path / "resumed")
    assert [r["images"] for r in read_log(tmp_path / "resumed")] == ["50"]
    losses = [step.loss for step in training_steps(patient(), CARM, settings, folder=tmp_path / "resumed", resume=True)]
    whole = [step.loss for step in training_steps(patient(), CARM, settings, folder=tmp_path / "whole")]
    assert losses == whole[20:]
    timed = {"seconds", "rendering_share"}
    rows, expected = ([{k: v for k, v in r.items() if k not in timed} for r in read_log(tmp_path / name)] for name in ("resumed", "whole"))
    assert rows == expected
    # each row's mean is over all steps since the row before, also of those before the checkpoint
    assert [float(r["loss"]) for r in rows] == pytest.approx([np.mean(whole[:25]), np.mean(whole[25:])], rel=1e-5)


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
    with pytest.raises(XrcoreError, match=r"began with another C-arm geometry: source_to_isocenter=[\d.]+, not 700\.0"):
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


@pytest.mark.parametrize(("done", "kept"), [
    (1, "there is no checkpoint yet: begin again"),
    (2, "the checkpoint before is whole: make room and go on with --resume"),
    (3, "the checkpoint before is whole: make room and go on with --resume"),  # then the model is written
])  # fmt: skip
def test_a_full_disk_stops_and_says_what_is_kept(tmp_path, done, kept):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    settings = TINY.changed(images=32, checkpoint_every=8 * 2 if done == 1 else 8)
    steps = training_steps(patient(), CARM, settings, folder=tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        for _ in range(done):
            next(steps)
        content = {path.name: path.read_bytes() for path in tmp_path.glob("checkpoint*")}
        patch.setattr(os, "fsync", full)
        with pytest.raises(XrcoreError, match=f"cannot be written .No space left on device.; {kept}$"):
            list(steps)
    assert {path.name: path.read_bytes() for path in tmp_path.glob("checkpoint*")} == content
    assert not (tmp_path / "model.json").exists()
    assert same(train(patient(), CARM, settings, out=tmp_path, resume=True), train(patient(), CARM, settings))


def test_two_trainings_do_not_share_a_folder(tmp_path):
    steps = training_steps(patient(), CARM, TINY, folder=tmp_path / "run")
    next(steps)
    for resume in (False, True):
        with pytest.raises(
            XrcoreError, match="run: another training is writing there; wait for its end, or choose another folder"
        ) as caught:
            train(patient(), CARM, TINY, out=tmp_path / "run", resume=resume)
        assert "\n" not in str(caught.value)
    train(patient(), CARM, TINY.changed(images=16), out=tmp_path / "other")
    list(steps)
    assert same(PoseRegressor.load(tmp_path / "run"), train(patient(), CARM, TINY))
    assert sorted(path.name.split("-")[0] for path in (tmp_path / "run").iterdir()) == ["log.csv", "model", "model.json"]


def test_a_training_that_was_refused_leaves_no_folder(tmp_path):
    with pytest.raises(XrcoreError, match="too small for these ranges"):
        train(patient(), CARM, TINY.changed(translation=(900, 900, 900)), out=tmp_path / "new" / "run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["model.json", "checkpoint.json", "log.csv"])
def test_what_is_in_the_way_is_said_before_the_training(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(XrcoreError, match=f"{name}: a folder of this name is in the way"):
        next(training_steps(patient(), CARM, TINY, folder=tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_checkpoint_that_a_kill_left_beside_the_model_is_removed(tmp_path):
    stopped_after(3, TINY, tmp_path)
    left = {path.name: path.read_bytes() for path in tmp_path.glob("checkpoint*")}
    model = train(patient(), CARM, TINY, out=tmp_path, resume=True)
    for names in (left, [name for name in left if name != "checkpoint.json"]):  # killed before, and while, the checkpoint was removed
        for name in names:
            (tmp_path / name).write_bytes(left[name])
        for name in (".log-0a1b2c3d.part.csv", ".checkpoint-0a1b2c3d.part.safetensors", ".training-0a1b2c3d.part.png"):
            (tmp_path / name).write_text("half")
        with pytest.raises(XrcoreError, match="holds a trained model; choose another folder, or --resume to keep it"):
            train(patient(), CARM, TINY, out=tmp_path)
        assert same(train(patient(), CARM, TINY, out=tmp_path, resume=True), PoseRegressor.load(tmp_path))
        assert sorted(path.name.split("-")[0] for path in tmp_path.iterdir()) == ["log.csv", "model", "model.json"]
    assert same(model, PoseRegressor.load(tmp_path))


def test_resuming_nothing_is_starting(tmp_path):
    settings = TINY.changed(images=16)
    assert same(train(patient(), CARM, settings, out=tmp_path, resume=True), train(patient(), CARM, settings))


def test_a_finished_training_is_neither_repeated_nor_overwritten(tmp_path, caplog):
    caplog.set_level("INFO", "xrcore")
    settings = TINY.changed(images=2 * TINY.batch + 1)
    train(patient(), CARM, settings, out=tmp_path)
    rounded = f"the training budget of {2 * TINY.batch + 1} images is rounded to {2 * TINY.batch}"
    assert any(message.startswith(rounded) for message in caplog.messages)
    before = {p.name: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
    with pytest.raises(XrcoreError, match="holds a trained model"):
        train(patient(), CARM, settings, out=tmp_path)
    with pytest.raises(XrcoreError, match="holds a model of another training: seed=0, not 1"):
        train(patient(), CARM, settings.changed(seed=1), out=tmp_path, resume=True)
    with pytest.raises(XrcoreError, match=r"holds a model of another training: source_to_isocenter=[\d.]+, not 700\.0"):
        train(patient(), replace(CARM, source_to_isocenter=700.0), settings, out=tmp_path, resume=True)
    kept = train(patient(), CARM, settings, out=tmp_path, resume=True)
    assert same(kept, PoseRegressor.load(tmp_path))
    assert {p.name: p.stat().st_mtime_ns for p in tmp_path.iterdir()} == before
