"""What tables and verdicts say, and that they show words as words."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from support.small_pelvis import POSE, drr, volume

from xrcore import Evidence, Pose, Registration
from xrcore.registration.view import views_of
from xrcore.widgets import Session
from xrcore.widgets.html_tables import difference_table, pose_table, verdict_html


def outcome(**changes: Any) -> Registration:
    basis = {
        "views": views_of("test", drr()),
        "isocenter": torch.zeros(3, dtype=torch.float64),
        "pose": POSE,
        "similarity": 0.91234,
        "covariance": torch.eye(6, dtype=torch.float64),
        "stop_reason": "step below tolerance",
        "seconds": 1.25,
        "initial": Pose.zero(),
        "method": "gauss-newton",
        "similarity_name": "zncc",
        "evaluations": 42,
    }
    return Registration(**basis | changes)


def test_a_verdict_says_what_it_is():
    assert verdict_html(None) == ""
    assert ">not trusted<" in verdict_html(outcome())
    text = verdict_html(outcome(trusted=True))
    assert ">trusted<" in text
    for fact in ("zncc 0.9123", "1.25 s", "42 images", "step below tolerance"):
        assert fact in text
    assert "<details>" in text
    assert "<details>" not in verdict_html(outcome(covariance=None))
    unseen = torch.diag(torch.tensor([1.0, 1.0, 1.0, 1.0, 1.0, torch.inf], dtype=torch.float64))
    for covariance in (torch.zeros(6, 6, dtype=torch.float64), unseen):
        assert "nan" not in verdict_html(outcome(covariance=covariance))


def test_a_verdict_gives_its_confidence_and_the_evidence():
    assert "confidence" not in verdict_html(outcome())
    judged = Evidence(agreement=0.934, displacement=0.1, likeness=0.9, blocks=60.0, deviation=0.26)
    text = verdict_html(outcome(evidence=judged, confidence=0.973, trusted=True))
    for fact in ("confidence 0.97", "93 %", "±0.3 mm"):
        assert fact in text
    assert "±inf mm" not in verdict_html(outcome(evidence=replace(judged, deviation=math.inf)))


def test_correlations_are_within_one():
    half = torch.randn(6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    text = verdict_html(outcome(covariance=half @ half.T))
    cells = [float(cell.split("<")[0]) for cell in text.split(')">')[1:]]
    table = np.array(cells).reshape(6, 6)
    np.testing.assert_allclose(np.diag(table), 1.0)
    assert np.abs(table).max() <= 1.0
    assert np.array_equal(table, table.T)


@pytest.mark.parametrize(
    "field",
    ["stop_reason", "reasons", "notes", "similarity_name"],
)
def test_a_verdict_shows_words_as_words(field: str):
    evil = "<script>alert('&')</script>"
    text = verdict_html(outcome(**{field: (evil,) if field in ("reasons", "notes") else evil}))
    assert "<script" not in text
    assert "&lt;script&gt;" in text


def test_the_table_of_poses():
    session = Session(volume(), drr())
    text = pose_table(session)
    assert "mTRE" not in text
    assert ">true<" not in text
    session.simulate(POSE)
    session.pose = Pose(rx=1.5)
    text = pose_table(session)
    assert text.count("<tr>") == 4  # names, true, start, now
    assert "mTRE" in text
    assert ">12.00<" in text
    assert ">1.50<" in text
    assert f">{session.errors(session.pose)[0]:.2f}<" in text
    session.result = outcome()
    assert text.count(">1.000<") + 6 == pose_table(session).count(">1.000<")


def test_the_table_gives_differences_from_the_truth():
    html = difference_table({"truth": Pose(rx=1.0), "network": Pose(rx=3.5, tz=-0.04)})
    assert "(+2.5)" in html
    assert "−0.0" not in html
    assert "(" not in difference_table({"network": Pose(rx=3.5)})


def test_a_direction_that_the_xray_does_not_show_has_no_bound():
    session = Session(volume(), drr())
    session.result = outcome(covariance=torch.diag(torch.tensor([1.0, 1.0, 1.0, 1.0, 1.0, torch.inf], dtype=torch.float64)))
    assert ">∞<" in pose_table(session)
