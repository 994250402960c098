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
    assert (order := list(table.index)).index("[A+B+C]*+D") < order.index("A+B+C, every DRR new")
    both = beside(table)
    assert both.loc[("A", "paper"), "mpd_mean"] == paper.loc["A", "mpd_mean"]
    assert both.loc[("A", "here"), "mpd_mean"] == table.loc["A", "mpd_mean"]
    assert len(both) == len(table) + 6


def test_a_row_that_was_not_measured_yet_is_empty_and_decides_nothing():
    cases = ablation({}).query("method != 'A+B'")
    parts, order = table3_parts(cases), steps(cases)
    assert np.isnan(parts.loc["A+B", "mtre_mean"])
    assert parts.loc["A+B", "seeds"] == 0
    assert "B, the edge decoder" not in order.index
    assert "C, attention" in order.index
    assert "C, attention" in drawn(ablation_figure(parts, order))


def test_results_of_another_version_are_refused():
    with pytest.raises(XrcoreError, match=r"cases of A\+X; they are of another version"):
        table3_parts(ablation({}).replace({"method": {"A+B": "A+X"}}))


def test_the_figure_names_its_rows_and_steps():
    parts = ablation({REFINED: -8.0})
    assert {"A+B+C", "D, refinement"} <= set(drawn(ablation_figure(table3_parts(parts), steps(parts))))
