"""Models of clinical X-rays: an image and its negative give the same pose."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.trainings import CARM, TINY, patient
from torch.testing import assert_close

from xrcore.learning.methods import Batch, method_named
from xrcore.learning.methods.polarity import channel_statistics, discriminant
from xrcore.learning.training import train
from xrcore.learning.training.stream import VALIDATION, DrrStream

pytestmark = pytest.mark.usefixtures("one_thread")

CLINICAL = TINY.changed(acquired=True, clinical=True, precision="float32")
UNSEEN = [(0, i) for i in range(96)]


def negatives(batch: Batch) -> Batch:
    return Batch(-batch.images, batch.masks, batch.numbers)


def test_channel_statistics_are_means_and_deviations():
    features = torch.randn(2, 3, 5, 7)
    values = features.flatten(2).double().numpy()
    expected = np.concatenate([values.mean(2), values.std(2)], 1)
    assert_close(channel_statistics(features), torch.from_numpy(expected).float())


def test_the_discriminant_is_least_squares_with_a_penalty():
    draw = torch.Generator().manual_seed(0)
    bright, dark = torch.randn(2, 40, 6, generator=draw)
    bright = bright * torch.tensor([1.0, 30, 0.01, 1, 1, 0]) + torch.tensor([0.5, 0, 0.02, 0, -2, 0])
    dark = dark * torch.tensor([1.0, 30, 0.01, 1, 1, 0])
    weights = discriminant(bright, dark)
    scale = (bright - dark).double().square().mean(0).sqrt().numpy()
    used = scale > 0
    z = (bright - dark).double().numpy()[:, used] / scale[used]
    rows = np.concatenate([z, np.sqrt(0.1 * len(z)) * np.eye(used.sum())])
    solved = np.linalg.lstsq(rows, np.concatenate([np.ones(len(z)), np.zeros(used.sum())]), rcond=None)[0]
    assert_close(weights[torch.from_numpy(used)], torch.from_numpy(solved / scale[used]).float(), rtol=1e-4, atol=1e-6)
    assert float(weights[-1]) == 0  # of what never differs


@pytest.mark.parametrize("changes", [{}, {"ema": 0.0}, {"autoencoder": False}, {"norm_layer": "group"}], ids=str)
def test_an_image_and_its_negative_have_one_pose(changes):
    settings = CLINICAL.changed(**changes)
    model = train(patient(), CARM, settings)
    method = method_named("psss")(settings)
    batch = DrrStream(patient(), CARM, CLINICAL.changed(clinical=False), purpose=VALIDATION).batch(UNSEEN)
    with torch.no_grad():
        as_read, turned = (method.predict(model.network, b, attention=True) for b in (batch, negatives(batch)))
        plain = method_named("psss")(settings.changed(clinical=False))
        bright, dark = (plain.predict(model.network, b).numbers for b in (batch, negatives(batch)))
    assert_close(as_read.numbers, turned.numbers, rtol=1e-4, atol=1e-3)
    assert_close(as_read.attention, turned.attention, rtol=1e-4, atol=1e-5)
    differ = (bright - dark).abs().amax(1) > 0.05
    assert differ.float().mean() > 0.9
    right = (as_read.numbers - bright).abs().amax(1) < 0.01
    assert right[differ].float().mean() > 0.75  # of a network of 32 pixels after four steps


def test_a_clinical_training_begins_with_a_model_that_knows_no_polarity():
    start = train(patient(), CARM, CLINICAL.changed(clinical=False))
    assert "polarity" not in start.network.state_dict()
    tuned = train(patient(), CARM, CLINICAL, start=start)
    assert tuned.network.polarity.any()
    again = train(patient(), CARM, CLINICAL.changed(clinical=False), start=tuned)
    assert "polarity" not in again.network.state_dict()


def test_models_of_other_x_rays_take_images_as_they_are():
    method = method_named("psss")(CLINICAL.changed(clinical=False))
    network = method.network().eval()
    method.finish(network, DrrStream(patient(), CARM, CLINICAL, purpose=VALIDATION))
    assert not hasattr(network, "polarity")
