"""Tables as a notebook shows them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from companion.studies.common.table_format import MISSING, TextTable, between, duration, interval, number, spread, with_reasons
from xrcore import XrcoreError


def test_texts():
    table = pd.DataFrame({"a": [1.234, 1e-4, np.nan], "a_low": [1.0, 1e-5, np.nan], "a_high": [2.0, 1e-3, np.nan]})
    assert number(table["a"], 2).to_list() == ["1.23", "< 0.01", MISSING]
    assert number(pd.Series([-1e-9, 0.0]), 2).to_list() == ["0.00", "0.00"]
    assert interval(table, "a", 2).to_list() == ["1.23 (1.00 to 2.00)", "< 0.01", MISSING]
    assert between(table, "a", 1).to_list()[::2] == ["1.0 to 2.0", MISSING]
    assert spread(pd.DataFrame({"b_mean": [2.0], "b_std": [0.5]}), "b", 1).to_list() == ["2.0 ± 0.5"]
    assert duration(pd.Series([12.0, 2500.0, 90_000.0, 3.6e6])).to_list() == ["12.0 ms", "2.5 s", "1.5 min", "1.0 h"]


def test_a_shown_table_does_not_depend_on_pandas_options_and_escapes():
    shown = TextTable({"why": pd.Series({"row": "a < b " * 30})}, index="method")
    with pd.option_context("display.max_colwidth", 10, "display.width", 20):
        assert "a < b " * 29 in repr(shown)
        html = shown._repr_html_()
    assert "a &lt; b" in html
    assert "a < b" not in html


def test_reasons_are_given_for_every_row_and_for_no_other():
    table = pd.DataFrame({"x": [1]}, index=["A"])
    assert with_reasons(table, {"A": "because"}).loc["A", "why"] == "because"
    with pytest.raises(XrcoreError, match=r"without a row: \['B'\]"):
        with_reasons(table, {"A": "because", "B": "?"})
    with pytest.raises(XrcoreError, match=r"without a reason: \['A'\]"):
        with_reasons(table, {})
