"""How sure a mean over trainings and poses is: closed forms, and coverage."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student
from support.results import made_up

from companion.studies.common.intervals import by_seed_and_case, conclusion, difference, estimate
from xrcore import XrcoreError


def grid(values: object) -> pd.DataFrame:
    return pd.DataFrame(np.asarray(values, float))


def test_one_seed_gives_the_textbook_interval_over_poses():
    values = np.random.default_rng(0).normal(5, 2, (1, 12))
    found = estimate(grid(values))
    reach = student.ppf(0.975, 11) * values.std(ddof=1) / np.sqrt(12)
    assert (found.low, found.high) == pytest.approx((values.mean() - reach, values.mean() + reach))
    assert (found.seeds, found.poses) == (1, 12)


def test_seeds_that_agree_on_every_pose_still_leave_the_poses_to_chance():
    values = np.random.default_rng(0).normal(5, 2, 12)
    one, three = estimate(grid([values])), estimate(grid([values] * 3))
    assert (three.low, three.high) == pytest.approx((one.low, one.high))


def test_seeds_that_differ_everywhere_alike_leave_only_themselves_to_chance():
    found = estimate(grid(np.array([[1.0], [2.0], [4.0]]) + np.zeros(50)))
    assert found.high - found.mean == pytest.approx(student.ppf(0.975, 2) * np.std([1, 2, 4], ddof=1) / np.sqrt(3))


@pytest.mark.parametrize(("seeds", "poses"), [(3, 40), (1, 40), (5, 8)])
def test_the_interval_covers_the_true_mean_as_often_as_it_says(seeds, poses):
    draw = np.random.default_rng(1)
    covered = 0
    for _ in range(300):
        luck = draw.normal(0, 1, (seeds, 1)) if seeds > 1 else 0.0
        found = estimate(grid(7 + luck + draw.normal(0, 2, (1, poses)) + draw.normal(0, 1, (seeds, poses))))
        covered += found.low <= 7 <= found.high
    assert covered / 300 >= 0.91  # resampling three seeds would reach 0.8


def test_what_tells_no_spread_has_no_interval():
    found = estimate(grid([[3.0]]))
    assert found.mean == 3
    assert np.isnan([found.low, found.high]).all()
    assert np.isnan(estimate(grid([[np.nan, np.nan]])).mean)


def test_a_difference_is_paired_and_leaves_out_what_one_side_lacks():
    before = grid(np.random.default_rng(0).lognormal(3, 1, (2, 30)))
    after = before - 0.5
    after.iloc[:, 20:] = np.nan
    found = difference(before, after)
    assert (found.mean, found.low, found.high) == pytest.approx((-0.5, -0.5, -0.5), abs=1e-9)
    assert found.poses == 20


@pytest.mark.parametrize(("shift", "says"), [(-1.0, "helps"), (1.0, "hurts"), (0.0, "not decided")])
def test_verdicts(shift, says):
    noise = np.random.default_rng(2).normal(0, 1, (3, 100))
    assert conclusion(estimate(grid(noise - noise.mean() + shift))) == says


def test_a_case_that_is_there_twice_is_refused():
    cases = made_up("A", np.ones(3))
    with pytest.raises(XrcoreError, match="twice"):
        by_seed_and_case(pd.concat([cases, cases]))
