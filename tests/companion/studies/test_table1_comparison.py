"""Table 1 from made-up results."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from support.results import drawn, made_up

from companion.studies.paper import paper_table
from companion.studies.table1_comparison import cumulative_figure, table1


def test_table_1_takes_the_network_alone_from_table_3():
    methods = ("PSSS", "PSSS, network", "Salehi 2018", "Grimm 2021", "Grimm 2021, network")
    table = table1(pd.concat([made_up(method, np.array([1.0, 2.0, 30.0])) for method in methods]))
    paper = paper_table("table3_ablation_and_patients").loc["[A+B+C]*"]
    assert table.loc["PSSS, network", "mtre_paper"] == paper["mtre_mean"]
    assert table.loc["PSSS", "mtre_paper"] == paper_table("table1_comparison_drr").loc["PSSS", "mtre_mm"]
    assert table.loc["Grimm 2021", "mtre"] == 11
    assert table.loc["Grimm 2021", "sr_low"] < 100 * 2 / 3 < table.loc["Grimm 2021", "sr_high"]


def test_what_has_no_answer_is_never_below_an_error():
    figure = cumulative_figure({"one": pd.Series([1.0, 0.0, np.nan]), "two": pd.Series([3.0])}, {"one": 2.0})
    assert "one" in drawn(figure)
    shares = figure.axes[0].lines[0].get_ydata()
    assert max(shares) == pytest.approx(200 / 3)
