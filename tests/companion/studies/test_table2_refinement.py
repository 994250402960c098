"""Table 2 and Figure 1 from made-up results."""

from __future__ import annotations

import numpy as np
from support.results import cases_with_ball, drawn, pictures

from companion.studies.paper import paper_table
from companion.studies.table2_refinement import refinement_figure, table2
from companion.studies.table4_xray_cases import ADAM, GRIMM, NETWORK, OURS


def test_table_2_stands_beside_the_papers_rows():
    table = table2(cases_with_ball())
    assert table.loc[GRIMM, "ncc_paper"] == paper_table("table2_refinement_xray").loc["Grimm 2021 refinement", "ncc"]
    assert table.loc[OURS, "ncc_paper"] == table.loc[ADAM, "ncc_paper"] > table.loc[GRIMM, "ncc_paper"]
    assert table.loc[NETWORK, "mtre_mm"] == 5.5


def figure_1(images, cases, case: int = 1):
    paper = table2(cases)[["ncc_paper", "ssim_paper", "css_paper"]].set_axis(["ncc", "ssim", "css"], axis=1)
    return refinement_figure(images, case, cases, paper, {NETWORK: "start", GRIMM: "theirs", ADAM: "Adam", OURS: "ours"})


def test_the_figure_says_that_the_x_rays_are_simulated():
    figure = figure_1(pictures(), cases_with_ball(3))
    assert {"start", "SSIM"} <= set(drawn(figure))
    texts = [text.get_text() for part in (figure, *figure.subfigs) for legend in part.legends for text in legend.get_texts()]
    assert any("simulated" in text for text in texts)


def test_a_method_without_an_answer_leaves_its_place_empty_and_is_counted():
    images, cases = pictures(), cases_with_ball(3)
    failed = (cases["method"] == GRIMM) & (cases["case"] == 1)
    cases.loc[failed, ["mtre_mm", "pd_mm", "ncc", "ssim", "css"]] = np.nan
    images["moving"][1, list(images["methods"]).index(GRIMM)] = 0
    assert table2(cases)["no_answer"].to_dict() == dict.fromkeys(table2(cases).index, 0) | {GRIMM: 1}
    figure = figure_1(images, cases)
    start, theirs = figure.axes[0], figure.axes[1]
    assert (theirs.get_title(loc="left"), theirs.get_xlabel()) == ("theirs", "no answer")
    assert (np.asarray(theirs.images[0].get_array()) == 1).all()
    assert (np.asarray(start.images[0].get_array()) < 1).any()
