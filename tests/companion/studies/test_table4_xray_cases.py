"""Table 4 and Figure 2 from made-up results."""

from __future__ import annotations

import numpy as np
import pytest
from support.results import cases_with_ball, drawn, pictures

from companion.studies.table4_xray_cases import NETWORK, OURS, attention_figure, table4


def test_table_4_has_the_population_std_here_as_in_the_paper():
    table = table4(cases_with_ball(4), NETWORK)
    assert table.loc[("PD", "here"), "std"] == pytest.approx(0.25 * np.sqrt(1.25))
    assert table.loc[("PD", "here"), "mean"] == pytest.approx(0.625)
    assert np.isnan(table.loc[("PD", "here"), "case5"])
    assert list(table.columns) == [*(f"case{i}" for i in range(1, 11)), "mean", "std"]
    for measure in ("PD", "NCC", "SSIM", "CSS"):
        of_paper = table.loc[(measure, "paper"), "case1":"case10"].to_numpy(float)
        assert table.loc[(measure, "paper"), "std"] == pytest.approx(of_paper.std(), abs=2e-4)


def test_the_figure_says_that_the_x_rays_are_simulated():
    figure = attention_figure(pictures(), [(0, "a"), (2, "b")], initial=NETWORK, final=OURS)
    assert any("simulated" in text for text in drawn(figure))
    assert len(figure.axes) == 8
