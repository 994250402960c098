"""Statistics that can be checked by hand."""

from __future__ import annotations

import math
import re

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from support.experiments import ACQUIRED, PAPER, PATIENT, constant, noisy

import xrcore as xr
from companion.experiments import (
    Phantom,
    run,
    summary,
)


def results(mtre: list[float], **columns: object) -> pd.DataFrame:
    frame = pd.DataFrame(
        {"method": "m", "mtre_mm": mtre, "mpd_mm": mtre, "seconds": 1.0, "trusted": pd.array([True] * len(mtre), "boolean")}
    )
    return frame.assign(**columns)


def one(frame: pd.DataFrame, **options) -> dict:
    (row,) = summary(frame, by=(), **options).to_dict("records")
    return row


def test_summary_by_hand():
    row = one(results([1.0, 2.0, 3.0, 14.0, math.nan]))
    assert (row["cases"], row["raised"], row["success"]) == (5, 1, pytest.approx(60.0))
    assert row["mtre_mean_mm"] == pytest.approx(5.0)
    assert row["mtre_median_mm"] == pytest.approx(2.5)
    assert row["mtre_std_mm"] == pytest.approx(math.sqrt((16 + 9 + 4 + 81) / 4))  # of the population
    assert row["mtre_p95_mm"] == pytest.approx(3 + 0.85 * 11)
    assert row["mtre_max_mm"] == 14.0
    assert row["trusted"] == 100.0
    assert row["failures_trusted"] == 2


@pytest.mark.parametrize(("good", "bad"), [(7, 3), (10, 0), (0, 4), (290, 10)])
@pytest.mark.parametrize("confidence", [0.95, 0.8])
def test_wilsons_interval_solves_its_equation(good, bad, confidence):
    row = one(results([1.0] * good + [99.0] * bad), confidence=confidence)
    n, z = good + bad, norm.ppf(0.5 + confidence / 2)
    for end in (row["success_low"] / 100, row["success_high"] / 100):
        assert (good / n - end) ** 2 == pytest.approx(z**2 * end * (1 - end) / n, abs=1e-9)
    assert row["success_low"] < row["success_high"]


def test_interval_of_the_mean_covers_it_as_often_as_promised():
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        row = one(results(list(rng.uniform(0, 2, 40))))
        covered += row["mtre_mean_low_mm"] < 1.0 < row["mtre_mean_high_mm"]
    assert 0.88 <= covered / 200 <= 0.99


def test_interval_of_the_mean_does_not_hang_on_order():
    values = list(np.random.default_rng(2).uniform(0, 9, 30))
    assert one(results(values)) == one(results(values[::-1]))


def test_threshold_decides_success():
    assert one(results([1.0, 3.0]), threshold=2.0)["success"] == 50.0
    assert one(results([10.0, 9.9]))["success"] == 50.0


def test_tables_put_together_are_counted_row_by_row():
    right, wrong = results([1.0, 2.0], trusted=True), results([3.0, 40.0], trusted=[True, False])
    together = pd.concat([right, wrong])
    assert list(together.index) == [0, 1, 0, 1]
    assert one(together)["failures_trusted"] == 0
    assert one(together)["trusted"] == 75


def test_groups_and_what_nobody_judged():
    frame = pd.concat(
        [results([1.0, 2.0]), results([3.0], method="k", trusted=pd.array([None], "boolean")), results([math.nan], method="bad")]
    )
    table = summary(frame, by=["method"]).set_index("method")
    assert table["cases"].to_dict() == {"m": 2, "k": 1, "bad": 1}
    assert math.isnan(table.loc["k", "trusted"])
    assert table.loc["k", "failures_trusted"] == 0
    assert table.loc["bad", "success"] == 0
    assert math.isnan(table.loc["bad", "mtre_max_mm"])
    assert math.isnan(table.loc["k", "mtre_mean_low_mm"])  # one value tells no spread
    with pytest.raises(xr.XrcoreError, match="no column 'metod'"):
        summary(frame, by=["metod"])


def test_summary_of_an_experiment_has_a_row_a_group():
    table = summary(run([constant(), noisy()], [PATIENT, Phantom(seed=4)], [PAPER, ACQUIRED]))
    assert len(table) == 8
    assert set(table.columns) >= {"test_set", "method", "patient", "cases", "success", "seconds_median"}
    assert re.fullmatch(r"(2|3)+", "".join(map(str, table["cases"])))


def test_a_printed_summary_shows_every_column():
    table = summary(run([constant(), noisy()], [PATIENT], [PAPER]))
    text = str(table)
    assert "..." not in text
    for name in table.columns:
        assert name in text, name
    assert all(name in table._repr_html_() for name in table.columns)
