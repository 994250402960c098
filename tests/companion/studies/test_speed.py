"""Speed: what was timed, beside the paper's headlines and beside peers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.results import drawn, timed

from companion.studies.paper import paper_table
from companion.studies.speed import REGISTRATION, kinds, renderer_times, speed_figure, speed_table
from xrcore import XrcoreError


def test_speed_is_held_against_the_headlines_and_peers_against_our_same_work():
    table = speed_table(timed(), training_minutes=30.0)
    headlines = paper_table("headlines")["value"]
    assert table.loc["image", "of_paper"] == pytest.approx(10 / headlines["one 256 x 256 image"])
    assert table.loc[REGISTRATION, "paper_ms"] == 1000 * headlines["whole registration"]
    assert table.loc["training", "of_paper"] == pytest.approx(0.5 / headlines["training"])
    assert table.loc["nanodrr, one material", "times_ours"] == pytest.approx(4 / 3)


def test_the_figure_names_what_was_timed():
    table = speed_table(timed(), 1.0)
    assert set(drawn(speed_figure(table, kinds(table)))) >= {"image", "nanodrr, one material"}


def test_renderer_times_are_those_of_the_benchmark(tmp_path: Path):
    with pytest.raises(XrcoreError, match=r"benchmarks/speed\.py"):
        renderer_times(tmp_path)
    row = {"what": "image", "unit": "ms", "median": 30.0, "low": 29.0, "high": 33.0, "repeats": 9}
    ratio, missing = row | {"what": "ratio", "unit": "x"}, row | {"what": "absent peer", "median": None}
    (tmp_path / "results").mkdir()
    record = {"note": "256 x 256 pixels from 256³ voxels", "table": [row, ratio, missing]}
    (tmp_path / "results" / "speed.json").write_text(json.dumps(record), encoding="utf-8")
    times = renderer_times(tmp_path)
    assert times.to_dict("records") == [{"what": "image", "median_ms": 30.0, "min_ms": 29.0, "max_ms": 33.0, "repeats": 9}]
    (tmp_path / "results" / "speed.json").write_text(json.dumps(record | {"note": "128 x 128 pixels"}), encoding="utf-8")
    with pytest.raises(XrcoreError, match="256 x 256"):
        renderer_times(tmp_path)
    for text, said in (
        ("{", "not valid JSON"),
        ('{"table": NaN}', "not valid JSON"),
        ("[]", "not a table of times"),
        ("{}", "not a table"),
    ):
        (tmp_path / "results" / "speed.json").write_text(text, encoding="utf-8")
        with pytest.raises(XrcoreError, match=said):
            renderer_times(tmp_path)
