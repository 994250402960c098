"""Batches made ahead."""

from __future__ import annotations

import pytest
import torch
from support.trainings import CARM, TINY, patient, same, stream

from xrcore.learning.training import train
from xrcore.learning.training.distributed import Team
from xrcore.learning.training.prefetch import Batches
from xrcore.learning.training.schedule import Schedule


@pytest.mark.parametrize("changes", [{}, {"coarse_pixels": 32, "pixels": 64, "images": 24}, {"acquired": False}])
def test_batches_made_ahead_are_the_steps_own(changes):
    settings = TINY.changed(**changes)
    schedule, whole = Schedule(settings), slice(0, settings.batch)
    for ahead in ("", "thread", "queue"):
        batches = Batches([patient()], CARM, settings, schedule, Team(), ahead=ahead)
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
