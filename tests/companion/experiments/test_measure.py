"""Rows: what is measured of a method on a case, and what of a method that fails."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from support.experiments import ACQUIRED, CARM, PAPER, PATIENT, QUICK, Model, constant, equal

import xrcore as xr
from companion.experiments import (
    COLUMNS,
    Method,
    prediction,
    refinement,
    registration,
    run,
    search,
)
from xrcore.geometry import POSE_NAMES
from xrcore.registration.verify import LEAST_CONFIDENCE


def test_the_truth_has_no_error_and_looks_the_same():
    class Oracle(Model):
        def predict(self, xray):
            self.seen.append(xray)
            return PAPER.truth(PATIENT, len(self.seen) - 1)

    table = run([prediction(Oracle(xr.Pose()))], [PATIENT], [PAPER])
    assert list(table.columns) == list(COLUMNS)
    assert len(table) == 3
    assert (table[[f"error_{n}" for n in POSE_NAMES]].abs() == 0).all(axis=None)
    assert (table[["mtre_mm", "mpd_mm"]].abs() < 1e-9).all(axis=None)
    assert np.allclose(table[["ncc", "ssim", "css"]], 1.0, atol=1e-6)
    assert table["trusted"].isna().all()
    assert (table["failure"] == "").all()


def test_errors_are_signed_and_start_and_truth_are_told():
    table = run([constant(rx=20, tz=-50)], [PATIENT], [PAPER])
    volume = PATIENT.volume(10.0)
    for row in table.to_dict("records"):
        truth = PAPER.truth(PATIENT, row["case"])
        assert [row[f"truth_{n}"] for n in POSE_NAMES] == truth.numbers[0].tolist()
        assert row["error_rx"] == pytest.approx(20 - row["truth_rx"])
        assert row["error_tz"] == pytest.approx(-50 - row["truth_tz"])
        scale = (truth, volume.surface_points(16), CARM, volume.isocenter)
        assert row["mtre_mm"] == pytest.approx(float(xr.metrics.mtre(xr.Pose(rx=20, tz=-50), *scale)))
        assert row["start_mtre_mm"] == pytest.approx(float(xr.metrics.mtre(xr.Pose.zero(), *scale)))
        assert row["ncc"] < 0.999
    assert (table["error_rx"] > 0).all()
    assert (table["error_tz"] < 0).all()


def test_angles_go_the_short_way_round():
    row = run([constant(rz=359.0)], [PATIENT], [replace(PAPER, poses=1, rotation=(0, 0, 0))]).iloc[0]
    assert row["error_rz"] == pytest.approx(-1.0)


def test_likeness_is_of_what_the_mask_shows():
    def spoilt(xray, volume):
        assert not xray.mask.all()
        xray.image[~xray.mask] = 1e6
        return xr.Pose.zero()

    a = run([Method("m", spoilt)], [PATIENT], [ACQUIRED])
    b = run([constant("m")], [PATIENT], [ACQUIRED])
    equal(a, b)


def test_an_answer_is_compared_with_the_xray_as_registered():
    truth = PAPER.truth(PATIENT, 0)
    answers = [
        Method("as is", lambda xray, volume: SimpleNamespace(pose=truth)),
        Method("turned", lambda xray, volume: SimpleNamespace(pose=truth, xray=xray.negative())),
    ]
    table = run(answers, [PATIENT], [replace(PAPER, poses=1)]).set_index("method")
    assert table.loc["as is", "ncc"] == pytest.approx(1.0)
    assert table.loc["turned", "ncc"] == pytest.approx(-1.0)


def test_a_registration_tells_its_verdict_and_a_bare_refinement_has_none():
    model = Model(PAPER.truth(PATIENT, 0))
    one = replace(PAPER, poses=1)
    table = run([registration(model, method=QUICK, retries=0), refinement(QUICK, model, "refined"), search(method=QUICK)], [PATIENT], [one])
    table = table.set_index("method")
    assert table.loc["registration", "trusted"] in (True, False)
    assert table.loc["registration", "attempts"] == 1
    assert 0 <= table.loc["registration", "confidence"] <= 1
    assert (table.loc["registration", "confidence"] >= LEAST_CONFIDENCE) == table.loc["registration", "trusted"]
    assert 0 <= table.loc["registration", "evidence_agreement"] <= 1
    assert table.loc["registration", "evidence_displacement"] >= 0
    assert table.loc["registration", "start_mtre_mm"] == pytest.approx(0.0, abs=1e-9)
    assert table.loc["search", "start_mtre_mm"] > 5
    assert 0 < table.loc["search", "mtre_mm"] < table.loc["search", "start_mtre_mm"]
    assert pd.isna(table.loc["refined", "trusted"])
    assert table.loc["refined"].filter(regex="^(confidence|evidence_)").isna().all()
    assert table.loc["refined", "mtre_mm"] < 1.0
    assert (table["evaluations"] > 0).all()
    assert (table["seconds"] > 0).all()


def test_a_method_that_raises_gives_a_row_and_the_others_go_on():
    model = Model(xr.Pose.zero(), wrong="not the CT,\nsaid the model")
    assert set(run([refinement(QUICK, model)], [PATIENT], [PAPER])["failure"]) == {"not the CT, said the model"}
    broken = prediction(model, "broken")
    table = run([broken, constant()], [PATIENT], [PAPER])
    bad, good = (table[table["method"] == name] for name in ("broken", "zero"))
    assert (bad["failure"] == "not the CT, said the model").all()
    assert bad[[f"error_{n}" for n in POSE_NAMES] + ["mtre_mm", "mpd_mm", "ncc", "ssim", "css"]].isna().all(axis=None)
    assert bad["truth_rx"].notna().all()
    assert good["mtre_mm"].notna().all()
    assert len(good) == len(bad) == 3


@pytest.mark.parametrize(("answer", "message"), [(None, "NoneType, not a pose"), (xr.Pose.zero(2), "2 poses, not one")])
def test_an_answer_that_is_no_pose_is_a_failure(answer, message):
    (text,) = run([Method("m", lambda xray, volume: answer)], [PATIENT], [replace(PAPER, poses=1)])["failure"]
    assert message in text


def test_other_exceptions_are_not_hidden():
    def bug(xray, volume):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run([Method("bug", bug)], [PATIENT], [PAPER])
