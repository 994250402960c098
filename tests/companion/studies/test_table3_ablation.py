"""Table 3, upper half, from made-up results."""

from __future__ import annotations

import numpy as np
import pytest
from support.results import ablation, drawn

from companion.studies.common.table_columns import beside
from companion.studies.paper import paper_table
from companion.studies.table3_ablation import REFINED, REFINED_BY_ADAM, ablation_figure, steps, table3_parts
from xrcore import XrcoreError


def test_the_ablation_confirms_what_is_there_and_decides_nothing_else():
    order = steps(ablation({"A+B": -1.0, "A+C": 1.0, REFINED: -9.0, REFINED_BY_ADAM: -9.0}))
    assert order.loc["B, the edge decoder", "verdict"] == "helps"
    assert order.loc["C, attention", "verdict"] == "hurts"
    assert order.loc["D, refinement", "verdict"] == "helps"
    assert order.loc["our D, not the paper's Adam", "verdict"] == "not decided"
    assert order.loc["B, the edge decoder", "difference"] == pytest.approx(-1, abs=0.05)
    assert order.loc["B, the edge decoder", "seeds_helped"] == 3
    assert (order["verdict_paper"].iloc[:5] == "helps").all()
    assert (order["percent_low"] >= -100).all()


def test_rows_of_the_ablation_stand_beside_the_paper():
    table = table3_parts(ablation({}))
    paper = paper_table("table3_ablation_and_patients")
    assert table.loc["A+B", "tz_std_paper"] == paper.loc["A+B", "tz_std"]
    assert np.isnan(table.loc[REFINED_BY_ADAM, "mtre_mean_paper"])
    assert (table["seeds"] == 3).all()
    both = beside(table)
    assert both.loc[("A", "paper"), "mpd_mean"] == paper.loc["A", "mpd_mean"]
    assert both.loc[("A", "here"), "mpd_mean"] == table.loc["A", "mpd_mean"]
    assert len(both) == len(table) + 6


def test_results_without_a_row_are_refused():
    with pytest.raises(XrcoreError, match=r"no cases of A\+B"):
        table3_parts(ablation({}).query("method != 'A+B'"))


def test_the_figure_names_its_rows_and_steps():
    parts = ablation({REFINED: -8.0})
    assert {"A+B+C", "D, refinement"} <= set(drawn(ablation_figure(table3_parts(parts), steps(parts))))
