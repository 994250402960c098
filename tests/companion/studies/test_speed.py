"""Speed: what was timed, beside the paper's headlines and beside peers."""

from __future__ import annotations

import numpy as np
import pytest
from support.results import drawn, timed

from companion.studies.paper import paper_table
from companion.studies.speed import REGISTRATION, kinds, speed_figure, speed_table


def test_speed_is_held_against_the_headlines_and_peers_against_our_same_work():
    table = speed_table(timed(256), training_minutes=30.0)
    headlines = paper_table("headlines")["value"]
    assert table.loc["image", "of_paper"] == pytest.approx(10 / headlines["one 256 x 256 image"])
    assert table.loc[REGISTRATION, "paper_ms"] == 1000 * headlines["whole registration"]
    assert table.loc["training", "of_paper"] == pytest.approx(0.5 / headlines["training"])
    assert table.loc["nanodrr, one material", "times_ours"] == pytest.approx(4 / 3)
    assert np.isnan(speed_table(timed(128)).loc["image", "of_paper"])


def test_the_figure_names_what_was_timed():
    table = speed_table(timed(256), 1.0)
    assert set(drawn(speed_figure(table, kinds(table)))) >= {"image", "nanodrr, one material"}
