"""Training on several patients, and what begins with it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from support.trainings import CARM, TINY, patient, same, stream, weights

from xrcore import Xray, register
from xrcore._util.errors import XrcoreError
from xrcore.geometry import Pose
from xrcore.learning import PoseRegressor, fine_tuning, profile, train, train_start
from xrcore.learning.models.identity import CtIdentity
from xrcore.learning.training import training_steps
from xrcore.learning.training.cohort import stream_of
from xrcore.learning.training.stream import DrrStream
from xrcore.renderer import render

COHORT = [patient(1), patient(2), patient(3)]


@pytest.fixture(scope="module")
def start() -> PoseRegressor:
    return train_start(COHORT, CARM, TINY)


@pytest.mark.parametrize(("acquired", "clinical"), [(False, False), (True, False), (True, True)])
def test_a_batch_mixes_patients_each_at_its_pose(acquired: bool, clinical: bool):
    settings = TINY.changed(acquired=acquired, clinical=clinical)
    mixed = stream_of(COHORT, CARM, settings)
    samples = [(0, index) for index in range(40)]
    batch = mixed.batch(samples, [7] * len(samples))
    whose = torch.stack(
        [(DrrStream(one, CARM, settings).batch(samples, [7] * len(samples)).images == batch.images).all((1, 2)) for one in COHORT]
    )
    assert (whose.sum(0) == 1).all()
    assert whose.any(1).all()
    # whatever else is drawn with it
    few = samples[9:12][::-1]
    assert torch.equal(mixed.batch(few, [7] * 3).images, batch.images[9:12].flip(0))
    assert torch.equal(batch.numbers[9], torch.from_numpy(stream().pose(0, 9)).float())


def test_one_ct_is_a_training_of_one_patient():
    assert type(stream_of(COHORT[:1], CARM, TINY)) is DrrStream


def test_it_learns_and_says_what_it_is(start: PoseRegressor, tmp_path: Path):
    assert start.ct.patients == 3
    assert "of 3 CTs" in repr(start)
    start.save(tmp_path)
    again = PoseRegressor.load(tmp_path)
    assert same(again, start)
    assert again.ct == start.ct


def test_it_predicts_for_nobody(start: PoseRegressor):
    volume, carm = COHORT[0], CARM.resized((32, 32))
    xray = Xray(image=render(volume, carm, Pose.zero())[0], carm=carm)
    for ask in (
        lambda: start.predict(xray),
        lambda: start.predict_batch(xray.image[None], xray.mask[None]),
        lambda: start.check(volume=volume),
        lambda: register(xray, volume, initial=start),
    ):
        with pytest.raises(XrcoreError, match="start model, trained on 3 CTs"):
            ask()


def test_the_next_patient_begins_with_it(start: PoseRegressor):
    steps = training_steps(patient(), CARM, TINY, start=start)
    before = {name: value.clone() for name, value in next(steps).network.named_parameters()}
    steps.close()
    # one step of the warm-up away
    assert all(torch.allclose(before[name], weights(start)[name], atol=1e-3) for name in before)
    model = train(patient(), CARM, TINY, start=start)
    assert model.training["start"] == {"images": 32, "patients": 3, "same_patient": False}
    model.check(volume=patient())


def test_a_resumed_training_keeps_where_it_began(start: PoseRegressor, tmp_path: Path):
    for step in training_steps(patient(), CARM, TINY, folder=tmp_path / "m", start=start):
        if step.number == 3:
            break
    resumed = train(patient(), CARM, TINY, out=tmp_path / "m", resume=True)  # which is not told again
    assert resumed.training["start"]["patients"] == 3
    assert same(resumed, train(patient(), CARM, TINY, start=start))


def test_a_start_model_is_resumed_to_the_same(start: PoseRegressor, tmp_path: Path):
    for step in training_steps(COHORT, CARM, TINY, folder=tmp_path / "m"):
        if step.number == 3:
            break
    with pytest.raises(XrcoreError, match="another CT"):
        train_start(COHORT[:2], CARM, TINY, out=tmp_path / "m", resume=True)
    assert same(train_start(COHORT, CARM, TINY, out=tmp_path / "m", resume=True), start)
    with pytest.raises(XrcoreError, match="trained on 3 CTs together, not on one CT"):
        train(patient(), CARM, TINY, out=tmp_path / "m", resume=True)


def test_other_ct_together_are_told_apart():
    one, all_three = CtIdentity.of(COHORT[0]), CtIdentity.of_all(COHORT)
    assert "3 CTs together, not on one CT" in str(all_three.differs(one))
    assert all_three.differs(CtIdentity.of_all([patient(1), patient(2), patient(4)])) is not None
    assert all_three.differs(CtIdentity.of_all(COHORT)) is None
    assert CtIdentity.from_dict(json.loads(json.dumps(all_three.to_dict()))) == all_three
    of_before = one.to_dict()
    del of_before["patients"]  # as files of one patient lack it
    assert CtIdentity.from_dict(of_before) == one
    with pytest.raises(XrcoreError, match="patients"):
        CtIdentity.from_dict(one.to_dict() | {"patients": 0})


def test_a_method_of_one_patients_landmarks_has_none():
    with pytest.raises(XrcoreError, match=r"method .*landmarks"):
        train_start(COHORT, CARM, profile("smoke", "grimm").changed(images=8, batch=4, validation=4))


@pytest.mark.parametrize("volumes", [COHORT[:1], COHORT[0], [], ["ct.nii.gz", "b"]])
def test_fewer_than_two_ct_are_refused(volumes):
    with pytest.raises(XrcoreError, match="at least two"):
        train_start(volumes, CARM, TINY)


def test_fine_tuning_is_of_few_images_and_the_same_network():
    laptop = profile("laptop")
    tuned = fine_tuning(laptop)
    assert tuned.images <= 4000 < laptop.images
    assert tuned.architecture == laptop.architecture
