"""Two checkouts are compared round by round."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import compare
import pytest

ROOT = Path(__file__).parents[2]


def test_a_busy_spell_does_not_speak_for_one_of_them():
    # the machine slows down tenfold in the second half; after takes half the time of before throughout
    times = [{"what": "render", "repeat": i, "before": 0.02 * slow, "after": 0.01 * slow} for i, slow in enumerate((1, 1, 10, 10))]
    (line,) = compare.summary(times, [])
    assert (line["what"], line["unit"], line["after / before"], line["repeats"]) == ("render", "ms", 0.5, 4)


def test_errors_are_summed_up_by_patient():
    found = {"before trusted": True, "after trusted": False, "before seconds": 0.2, "after seconds": 0.3}
    errors = [{"what": "patient 1", "repeat": i, "before": 0.2, "after": after} | found for i, after in enumerate((0.2, 0.3, 12.0))]
    table = {line["what"]: (line["before"], line["after"]) for line in compare.summary([], errors)}
    assert table == {
        "patient 1: median mTRE": (0.2, 0.3),
        "patient 1: largest mTRE": (0.2, 12.0),
        "patient 1: success": (100.0, 66.67),
        "patient 1: trusted": (100.0, 0.0),
        "patient 1: register": (200.0, 300.0),
    }


@pytest.mark.slow
def test_a_checkout_is_as_exact_as_itself(tmp_path, monkeypatch):
    monkeypatch.setattr(
        sys, "argv", ["compare.py", str(ROOT), str(ROOT), "--rounds", "1", "--patients", "", "--out", str(tmp_path / "out")]
    )
    compare.main()
    kept = json.loads((tmp_path / "out.json").read_text())
    assert [line["what"] for line in kept["table"]] == list(compare.TASKS)
    assert "images 0.0e+00, Jacobians 0.0e+00" in kept["note"]
