"""What a result says of itself."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import pytest
import torch

import xrcore as xr
from xrcore.geometry import rigid
from xrcore.registration.registration_files import to_json, to_record
from xrcore.registration.similarities.base import NormalEquations

CARM = xr.CArm(source_to_detector=1259.65, source_to_isocenter=742.5, shape=(64, 64), pixel_spacing=6.75)


@pytest.fixture(scope="module")
def volume() -> xr.Volume:
    return xr.phantom.pelvis(seed=3, spacing=8.0)


@pytest.fixture(scope="module")
def xray(volume) -> xr.Xray:
    return xr.Xray(image=xr.render(volume, CARM, xr.Pose(ry=-5, tx=6))[0], carm=CARM)


@pytest.fixture(scope="module")
def result(xray, volume) -> xr.Registration:
    return xr.register(xray, volume)


def normal(hessian: torch.Tensor) -> NormalEquations:
    return NormalEquations(torch.tensor([0.5], dtype=torch.float64), torch.zeros(1, 6, dtype=torch.float64), hessian[None], 106.0)


def test_the_covariance_of_a_regular_hessian_is_least_squares():
    a = torch.randn(6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    hessian = (a @ a.T + torch.eye(6)) * torch.tensor([1.0, 1, 1, 1e-3, 1e-3, 1e-3]).outer(torch.tensor([1.0, 1, 1, 1e-3, 1e-3, 1e-3]))
    assert torch.allclose(normal(hessian).covariance()[0], 0.01 * torch.linalg.inv(hessian), rtol=1e-6)


def test_a_number_that_nothing_depends_on_has_an_infinite_variance():
    hessian = torch.diag(torch.tensor([4.0, 1.0, 1.0, 2.0, 2.0, 0.0], dtype=torch.float64))
    covariance = normal(hessian).covariance()[0]
    assert covariance.diagonal().tolist() == pytest.approx([0.0025, 0.01, 0.01, 0.005, 0.005, math.inf])
    assert (covariance[5, :5] == 0).all()  # it says nothing of the others


def test_numbers_that_only_change_together_unseen_are_both_unknown():
    hessian = torch.eye(6, dtype=torch.float64)
    hessian[1, 3] = hessian[3, 1] = -1.0  # rows 1 and 3 see their difference alone
    deviation = normal(hessian).covariance()[0].diagonal().sqrt().tolist()
    assert [math.isinf(d) for d in deviation] == [False, True, False, True, False, False]


def test_what_is_unknown_is_null_in_the_file(result):
    unknown = torch.diag(torch.tensor([1.0, 1, 1, 1, 1, torch.inf]))
    from dataclasses import replace

    blind = replace(result, covariance=unknown)
    assert blind.standard_deviation == (1.0,) * 5 + (math.inf,)
    record = json.loads(to_json(to_record(blind)))
    assert record["standard_deviation"]["tz"] is None
    assert record["covariance"][5][5] is None
    assert record["stop_reason"] == str(result.stop_reason)


def test_a_few_lines_say_what_was_found(result, xray, volume):
    lines = repr(result).splitlines()
    assert len(lines) <= 4
    assert f"ry {float(result.pose.numbers[0, 1]):.2f} ± {result.standard_deviation[1]:.2g}" in lines[0]
    assert "trusted" in lines[2]
    assert f"{result.similarity:.4f}" in lines[3]
    bare = xr.refine(xray, volume, xr.Pose(ry=-4), xr.Adam(pixels=64, spacing=8.0, similarity="wlmi", iterations=2))
    assert "not judged" in repr(bare)
    assert "±" not in repr(bare)


def test_a_single_view_says_what_a_wrong_distance_costs(result, xray, volume):
    """Exactly, where nothing else is wrong: the picture stays, and the depth grows with the distance."""
    from dataclasses import replace

    there = replace(result, pose=xr.Pose(tz=-7.5))
    assert there.assumption.startswith("7.5 mm more of depth for each %")
    assert there.assumption in repr(there)
    said = replace(CARM, source_to_detector=1.01 * CARM.source_to_detector)
    here = there.pose.camera_from_world(CARM, volume.isocenter)[0]
    further = here.clone()
    further[2, 3] += 7.5
    places = volume.isocenter + torch.tensor([[30.0, 0, 0], [0, 0, 30]], dtype=torch.float64)  # across the view
    off = said.project(rigid.apply(further, places)) - CARM.project(rigid.apply(here, places))
    assert float(off.abs().max()) < 0.01  # pixels
    two = (xr.View(xray=xray, camera_from_rig=torch.eye(4)),) * 2
    assert replace(there, views=two).assumption == ""


def test_a_notebook_shows_the_overlay(result, xray, volume):
    shown = result._repr_html_()
    assert "data:image/png;base64," in shown
    assert "trusted" in shown
    assert "data:image/png;base64," in xr.refine(xray, volume, xr.Pose(ry=-4))._repr_html_()  # the X-ray alone


def test_a_registration_loads_neither_plotting_nor_training():
    code = """
import sys, xrcore as xr
xr.register, xr.refine
volume = xr.phantom.pelvis(seed=3, spacing=8.0)
carm = xr.CArm(source_to_detector=1000, source_to_isocenter=600, shape=(64, 64), pixel_spacing=6.0)
xr.register(xr.Xray(image=xr.render(volume, carm, xr.Pose())[0], carm=carm), volume, search=xr.SearchBox(candidates=2), retries=0)
loaded = {name.split(".")[0] for name in sys.modules} & {"matplotlib", "pandas", "anywidget", "ipywidgets", "companion"}
print(sorted(loaded | {name for name in sys.modules if name.startswith(("xrcore.learning", "xrcore.figures"))}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
