"""What the command says to try after a result that is not trusted."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import xrcore as xr
from xrcore.cli.advice import next_steps
from xrcore.registration.view import views_of

CARM = xr.CArm(source_to_detector=1200, source_to_isocenter=800, shape=(16, 16), pixel_spacing=20)
GOOD = xr.Evidence(agreement=0.95, displacement=0.1, likeness=0.95, blocks=60.0, deviation=0.2)


def outcome(evidence: xr.Evidence | None, *, trusted: bool = False, initial: xr.Pose | None = None) -> xr.Registration:
    views = views_of("test", xr.Xray(image=torch.rand(16, 16), carm=CARM))
    return xr.Registration(
        pose=xr.Pose.zero(),
        similarity=0.5,
        covariance=None,
        stop_reason=xr.StopReason.SMALL_STEP,
        initial=xr.Pose.zero() if initial is None else initial,
        method="gauss-newton",
        similarity_name="zncc",
        evaluations=1,
        views=views,
        isocenter=torch.zeros(3, dtype=torch.float64),
        evidence=evidence,
        trusted=trusted,
    )


def test_nothing_after_a_trusted_result_or_one_that_nobody_judged():
    assert next_steps(outcome(GOOD, trusted=True)) == []
    assert next_steps(outcome(None)) == []


@pytest.mark.parametrize(
    ("change", "said", "unsaid"),
    [
        ({"agreement": 0.2, "displacement": 0.7, "likeness": 0.4}, ("--search anywhere", "--initial", "--carm", "overlay.png"), "--rig"),
        ({"blocks": 3.0}, ("full resolution", "--rig angles"), "--initial"),
        ({"deviation": 9.0}, ("--rig angles",), "--initial"),
        ({}, ("--detector posterior",), "--initial"),
    ],
)
def test_what_helps_depends_on_what_is_wrong(change, said, unsaid):
    steps = next_steps(outcome(replace(GOOD, **change)))
    text = "\n".join(steps)
    assert steps[0].split()[:2] == ["try", "next"]
    assert all(word in text for word in said)
    assert unsaid not in text
    assert all(len(step) <= 120 for step in steps)


def test_a_start_that_was_given_is_not_called_ap():
    wrong = replace(GOOD, agreement=0.2, displacement=0.7, likeness=0.4)
    assert "began at AP" in "\n".join(next_steps(outcome(wrong)))
    assert "began at AP" not in "\n".join(next_steps(outcome(wrong, initial=xr.Pose(ry=90))))


def test_a_search_from_anywhere_is_not_advised_again():
    wrong = replace(GOOD, agreement=0.2, displacement=0.7, likeness=0.4)
    text = "\n".join(next_steps(outcome(wrong), anywhere=True))
    assert "--initial" in text
    assert "--search" not in text
    assert "began at AP" not in text
