"""Courses of trainings, from made-up logs."""

from __future__ import annotations

import pandas as pd
import pytest
from support.results import drawn

from companion.studies.training_curves import curves_figure, gap_in_words, gaps


def log(training: str, gap: float | None) -> pd.DataFrame:
    """Errors that fall to 4 mm on unseen DRRs; those on DRRs trained on are `gap` lower at the end, and a half of it half-way."""
    rows = pd.DataFrame({"images": range(2000, 34000, 2000)})
    rows["validation_mtre_mm"] = 4.0 + 8.0 * (1 - rows["images"] / 32000)
    rows["training_mtre_mm"] = rows["validation_mtre_mm"] - gap * rows["images"] / 32000 if gap is not None else None
    return rows.assign(training=training)


CURVES = pd.concat(
    [log("ablation/ABC-0", 3.0), log("ablation/ABC-1", 1.0), log("ablation/ABC-extended-0", 0.4), log("ablation/ABC-new-0", None)],
    ignore_index=True,
)


def test_the_gap_is_that_at_the_end_of_each_stage_over_the_seeds():
    table = gaps(CURVES)
    assert list(table.index) == ["A+B+C", "[A+B+C]*"]
    assert table.loc["A+B+C"].to_list() == pytest.approx([0.5, 1.0, 1.5, 2.0])
    assert table.loc["[A+B+C]*", "stage 4"] == pytest.approx(0.4)
    assert "A+B+C 2.0 mm, [A+B+C]* 0.4 mm" in gap_in_words(table)
    assert gap_in_words(table.drop("A+B+C")) == ""


def test_every_row_has_a_panel_with_a_line_for_each_seed():
    figure = curves_figure(CURVES)
    assert {"A+B+C", "[A+B+C]*", "A+B+C, every DRR new"} <= set(drawn(figure))
    assert [len(axes.lines) for axes in figure.axes] == [4, 2, 2]
    four = curves_figure(pd.concat([CURVES, log("ablation/A-0", 2.0)], ignore_index=True))
    assert [axes.get_visible() for axes in four.axes] == [True] * 4 + [False] * 2
