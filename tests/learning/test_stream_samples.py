"""The samples of the stream: poses, acquisitions, and that each is the same whatever the batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.trainings import CARM, patient, stream
from torch.testing import assert_close

from xrcore.geometry import Pose
from xrcore.learning.training.stream import TRAINING, VALIDATION
from xrcore.renderer import render


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
