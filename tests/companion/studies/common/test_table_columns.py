"""What the tables share."""

from __future__ import annotations

import numpy as np
import pytest
from support.results import made_up

from companion.studies.common.table_columns import in_columns, typical
from companion.studies.table4_xray_cases import OURS


def test_columns_of_table_3_in_closed_form():
    table = in_columns(made_up("A", np.array([1.0, 3.0, 20.0, np.nan])), ["method"])
    row = table.loc["A"]
    assert row["mtre_mean"] == pytest.approx(8)
    assert row["mtre_std"] == pytest.approx(np.std([1, 3, 20]))
    assert row["tz_mean"] == pytest.approx(8 * 6)  # absolute, though the errors are negative
    assert row["sr_percent"] == 50  # no answer is no success
    assert row["cases"] == 4


def test_cases_to_show_are_chosen_by_rank():
    cases = made_up(OURS, np.array([5.0, 1.0, 9.0, np.nan, 3.0]))
    assert typical(cases, OURS) == [0]
    assert typical(cases, OURS, 3) == [1, 0, 3]  # no answer is the worst
    assert typical(cases.head(2), OURS, 3) == [1, 0]
