"""The schedule: which DRR comes when, how large, at which learning rate."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from support.trainings import TINY

from xrcore.learning.training import TrainingSettings
from xrcore.learning.training.schedule import Schedule


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
