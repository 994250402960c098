"""The training loop, its log and its checks; each test in seconds, on the phantom."""

from __future__ import annotations

import copy
import logging
import math
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.trainings import CARM, TINY, patient, same, stream, weights
from torch.testing import assert_close

from xrcore._util import device_memory
from xrcore._util.devices import named_device
from xrcore._util.errors import XrcoreError
from xrcore.ct.volume import Volume
from xrcore.geometry import Pose
from xrcore.learning.methods import method_named
from xrcore.learning.methods.psss import Psss
from xrcore.learning.models import PoseRegressor
from xrcore.learning.training import loop, profile, train, training_steps
from xrcore.learning.training.distributed import Team
from xrcore.learning.training.evaluation import Evaluator
from xrcore.learning.training.log import COLUMNS, Log, read_log
from xrcore.learning.training.optimisation import average, half_precision
from xrcore.learning.training.schedule import Schedule
from xrcore.learning.training.stream import TRAINING, VALIDATION, DrrStream
from xrcore.metrics import mtre


def test_a_validation_is_of_images_of_the_size_that_is_learnt_from():
    settings = TINY.changed(images=32, pixels=64, coarse_pixels=32, validate_every=8, ema=0.0, precision="float32", scheme="none")
    sides = []
    for step in training_steps(patient(), CARM, settings):
        if step.validation is None:
            continue
        evaluator, errors = Evaluator(method_named("psss")(settings), patient(), CARM, torch.device("cpu")), {}
        for side in (32, 64):
            unseen = DrrStream(patient(), CARM, settings, purpose=VALIDATION, pixels=side)
            batches = evaluator.rendered(unseen, [(0, i) for i in range(settings.validation)])
            errors[side] = evaluator.errors(copy.deepcopy(step.network), batches).mtre
        sides += [side for side, mtre_mm in errors.items() if step.validation.mtre == pytest.approx(mtre_mm, rel=1e-6)]
    assert sides == [32, 32, 64, 64]


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


def test_a_gradient_that_is_not_finite_stops(monkeypatch):
    def loss(self, network, batch, done):
        return torch.sqrt(network(self.inputs(batch)).pose.sum() * 0.0), {"pose": 0.0}

    monkeypatch.setattr(Psss, "loss", loss)
    with pytest.raises(XrcoreError, match="the gradient is no longer finite at image 0"):
        train(patient(), CARM, TINY)


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


def test_averaged_weights_are_kept():
    averaged, last = (train(patient(), CARM, TINY.changed(ema=ema)) for ema in (0.9, 0.0))
    assert any(not torch.equal(a, b) for a, b in zip(averaged.network.parameters(), last.network.parameters(), strict=True))


def test_the_average_is_exponential():
    a, b = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    expected = {k: 0.75 * v + 0.25 * a.state_dict()[k] for k, v in b.state_dict().items()}
    average(a, b, 0.75)
    for name, value in b.state_dict().items():
        assert_close(value, expected[name])


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
    assert half_precision("bfloat16", torch.device("cuda"))
    assert not half_precision("auto", torch.device("cuda"))
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


@pytest.mark.parametrize("room", [8, 4, 3])
def test_the_gradient_of_a_batch_in_portions_is_that_of_the_whole(monkeypatch, room):
    # a loss whose gradient is the images' mean, without the rounding of a network
    def loss(self, network, batch, done):
        return next(network.parameters()).sum() * batch.images.mean(), {"part": torch.tensor(2.0)}

    settings = TINY.changed(acquired=False, clip=1e9)
    expected = float(DrrStream(patient(), CARM, settings).batch(Schedule(settings).samples(0)).images.mean())
    monkeypatch.setattr(Psss, "loss", loss)
    little_room(monkeypatch, room)
    step = next(training_steps(patient(), CARM, settings))
    gradient = next(step.network.parameters()).grad
    assert gradient is not None
    assert_close(gradient, torch.full_like(gradient, expected), rtol=1e-5, atol=0)
    assert step.parts == {"part": pytest.approx(2.0)}
    assert math.isfinite(step.loss)


@pytest.mark.parametrize("room", [4, 3])
def test_a_batch_in_portions_teaches_the_same(monkeypatch, caplog, room):
    # without batch statistics the gradient is the batch's mean, however the batch is cut
    settings = TINY.changed(images=16, norm_layer="group", optimiser="sgd", learning_rate=1e-2, ema=0.0)
    whole = train(patient(), CARM, settings)
    caplog.set_level(logging.INFO, logger="xrcore")
    tried = little_room(monkeypatch, room)
    cut = train(patient(), CARM, settings)
    assert tried == {4: [8, 4, 4, 4, 4], 3: [8, 4, 2, 2, 2, 2, 2, 2, 2, 2]}[room]
    assert sum("out of GPU memory" in line for line in caplog.messages) == {4: 1, 3: 2}[room]
    for name, value in weights(whole).items():
        assert_close(weights(cut)[name], value, rtol=2e-3, atol=1e-4)  # kept in half precision


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
