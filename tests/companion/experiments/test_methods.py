"""Methods under test, and starts at a known distance."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from support.experiments import PAPER, PATIENT, QUICK

import xrcore as xr
from companion.experiments import (
    Method,
    Perturbation,
    refinement,
    run,
)


def test_perturbed_starts_are_near_the_truth_and_shared_by_methods():
    starts: dict[str, list[xr.Pose]] = {"a": [], "b": []}
    near = Perturbation(rotation=(2, 2, 2), translation=(3, 3, 3))

    def keep(name):
        def run(xray, volume):
            starts[name].append(xray.pose)
            return xray.pose

        return Method(name, run, perturbation=near)

    table = run([keep("a"), keep("b")], [PATIENT], [PAPER])
    assert starts["a"] == starts["b"]
    assert (table["start_mtre_mm"] == table["mtre_mm"]).all()
    assert table["mtre_mm"].between(0.1, 25).all()
    # a rigid motion of at most these angles and lengths, whatever the truth
    for case, start in enumerate(starts["a"]):
        motion = xr.Pose.from_matrix(torch.linalg.inv(PAPER.truth(PATIENT, case).matrix()) @ start.matrix()).numbers[0]
        assert (motion.abs() <= torch.tensor([2, 2, 2, 3, 3, 3]) + 1e-9).all()
    assert len({tuple(s.numbers[0].tolist()) for s in starts["a"]}) == 3


def test_refinement_comes_closer_than_it_starts():
    near = Perturbation(rotation=(3, 3, 3), translation=(6, 6, 6))
    table = run([refinement(replace(QUICK, levels=(xr.Level(pixels=32, spacing=10.0, iterations=12),)), near, "gn")], [PATIENT], [PAPER])
    assert (table["mtre_mm"] < 0.5 * table["start_mtre_mm"]).all()
    assert refinement("paper-as-intended", near).name == "paper-as-intended"


def test_refinement_from_one_pose_starts_there():
    truth = PAPER.truth(PATIENT, 0)
    table = run([refinement(QUICK, truth)], [PATIENT], [replace(PAPER, poses=1)])
    assert table["start_mtre_mm"].item() == pytest.approx(0.0, abs=1e-9)
    assert table["method"].item() == "gauss-newton"
