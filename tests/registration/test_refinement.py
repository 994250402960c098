"""Refinement on a patient: every method with every similarity it accepts."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from xrcore._util.device_memory import Portions
from xrcore._util.errors import XrcoreError
from xrcore.beam import Beam
from xrcore.geometry import CArm, Pose
from xrcore.metrics import mtre
from xrcore.phantom import pelvis
from xrcore.registration import problem as problems
from xrcore.registration.events import StopReason
from xrcore.registration.problem import Problem
from xrcore.registration.refinement import refine, refine_steps
from xrcore.registration.settings import Level, RefinementSettings
from xrcore.registration.similarities import SIMILARITIES, ZNCC
from xrcore.registration.solvers.adam import Adam
from xrcore.registration.solvers.cma_es import CMAES
from xrcore.registration.solvers.gauss_newton import GaussNewton
from xrcore.registration.solvers.lbfgs import LBFGS
from xrcore.registration.solvers.powell import Powell
from xrcore.renderer import render
from xrcore.xray.image import Xray

CARM = CArm(source_to_detector=1020, source_to_isocenter=650, shape=(64, 64), pixel_spacing=6.0)
BEAM = Beam()
TRUTH = Pose(rx=3, ry=-8, rz=2, tx=4, ty=-6, tz=8)
START = Pose(TRUTH.numbers + torch.tensor([3.0, -4.0, 3.0, 6.0, -6.0, 8.0]))
LEVELS = (Level(pixels=32, spacing=16.0, iterations=15), Level(pixels=64, spacing=8.0, iterations=15))
FINEST = {"pixels": 64, "spacing": 8.0}
TUNED = {
    "gauss-newton": {"levels": LEVELS},
    "adam": {**FINEST, "rotation_step": 0.5, "translation_step": 2.0, "iterations": 60, "step_halving": 15},
    "lbfgs": {**FINEST, "rotation_step": 1.0, "translation_step": 2.0, "iterations": 30},
    "cma-es": {**FINEST, "rotation_step": 3.0, "translation_step": 6.0, "iterations": 45},
    "powell": {**FINEST, "rotation_step": 3.0, "translation_step": 6.0, "iterations": 3, "tolerance": 0.1},
}
# what is left of the initial mTRE: slopes end at the loss target, values alone end in the valley along the depth
LEFT = {"gauss-newton": 0.005, "adam": 0.1, "lbfgs": 0.1, "cma-es": 0.2, "powell": 0.2}
# mutual information of a few thousand pixels peaks beside the truth, even between an image and itself
LEFT_OF = {"mutual-information": 0.15, "wlmi": 0.3, "correlation-ratio": 0.3}
SOLVERS = {kind.method: kind for kind in (GaussNewton, Adam, LBFGS, CMAES, Powell)}
LEAST_SQUARES = [name for name, kind in SIMILARITIES.items() if kind.least_squares]

every_method = pytest.mark.parametrize("method", TUNED)


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def volume():
    return pelvis(seed=0, spacing=8.0)


@pytest.fixture(scope="module")
def xray(volume):
    return Xray(image=render(volume, CARM, TRUTH, BEAM)[0], carm=CARM)


def tuned(method: str, similarity: str = "zncc", **changes) -> RefinementSettings:
    return SOLVERS[method](**{**TUNED[method], **changes}).with_similarity(similarity)


def brief(method: str, iterations: int | None = None) -> RefinementSettings:
    """A few cheap steps, for what does not depend on where they lead."""
    few = iterations or (1 if method == "powell" else 4)
    if method == "gauss-newton":
        return GaussNewton(levels=tuple(replace(level, iterations=few) for level in LEVELS), tolerance=0.5)
    return tuned(method, iterations=few)


def error(pose: Pose, volume) -> float:
    return float(mtre(pose, TRUTH, volume.surface_points(32), CARM, volume.isocenter))


@pytest.mark.parametrize(
    ("method", "similarity"), [(m, s) for m in TUNED for s in SIMILARITIES if m != "gauss-newton" or s in LEAST_SQUARES]
)
def test_every_method_with_every_similarity_it_accepts(method, similarity, xray, volume):
    result = refine(xray, volume, START, tuned(method, similarity=similarity), BEAM)
    before, after = error(START, volume), error(result.pose, volume)
    assert before > 12
    assert after < LEFT_OF.get(similarity, LEFT[method]) * before
    problem = Problem(xray, volume, BEAM, similarity)
    assert result.similarity == pytest.approx(float(problem.value(result.pose)), abs=1e-5)
    assert result.similarity > 0.98 * float(problem.value(TRUTH))
    assert (result.method, result.similarity_name, result.trusted) == (method, similarity, False)
    assert result.initial == START
    assert result.seconds > 0
    assert result.stop_reason in {StopReason.TARGET, StopReason.SMALL_STEP, StopReason.ITERATIONS, StopReason.EVALUATIONS}
    assert (result.covariance is not None) == (similarity in LEAST_SQUARES)
    _check_history(result, method)
    if result.covariance is not None:
        _check_covariance(result.covariance)


def _check_history(result, method: str) -> None:
    assert len(result.history) >= 3
    assert result.evaluations >= len(result.history)
    assert_close(result.history[0].pose.numbers, result.initial.numbers)
    assert result.history[-1].pose == result.pose
    assert result.history[-1].similarity == pytest.approx(result.similarity)
    levels = [step.level for step in result.history]
    assert sorted(set(levels)) == ([0, 1] if method == "gauss-newton" else [0])
    assert levels == sorted(levels)
    for level in set(levels):
        assert np.all(np.diff([step.similarity for step in result.history if step.level == level]) > 0)


def _check_covariance(covariance: torch.Tensor) -> None:
    assert covariance.shape == (6, 6)
    assert_close(covariance, covariance.mT, rtol=1e-6, atol=0)
    deviation = covariance.diagonal().sqrt()
    assert torch.linalg.eigvalsh(covariance / deviation / deviation[:, None]).min() > 0


@every_method
def test_same_settings_same_result(method, xray, volume):
    settings = brief(method)
    first, second = (vars(refine(xray, volume, START, settings, BEAM)) for _ in range(2))
    assert torch.equal(first.pop("covariance"), second.pop("covariance"))
    assert torch.equal(first.pop("isocenter"), second.pop("isocenter"))
    for one in (first, second):
        assert [view.xray for view in one.pop("views")] == [xray]
        del one["seconds"]
    assert first == second


@every_method
def test_pixels_outside_the_mask_change_nothing(method, xray, volume):
    row, col = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    mask = (row - 30) ** 2 + (col - 33) ** 2 < 28**2
    soiled = xray.image.where(mask, torch.where(row % 3 == 0, math.nan, 1e6))
    settings = brief(method)
    clean, dirty = (refine(Xray(image=i, mask=mask, carm=CARM), volume, START, settings, BEAM) for i in (xray.image, soiled))
    assert clean.pose == dirty.pose
    assert torch.equal(clean.covariance, dirty.covariance)
    assert clean.pose != refine(xray, volume, START, settings, BEAM).pose  # so the mask matters


@every_method
def test_survives_a_start_that_misses_the_patient(method, xray, volume):
    away = Pose(ty=900)
    result = refine(xray, volume, away, brief(method, iterations=20), BEAM)
    assert result.stop_reason == StopReason.FLAT
    assert (result.similarity, result.covariance) == (0, None)
    assert_close(result.pose.numbers, away.numbers)


@pytest.mark.parametrize("method", ["gauss-newton", "adam", "lbfgs"])
def test_runs_where_gradients_are_switched_off(method, xray, volume):
    settings = brief(method)
    with torch.no_grad():
        result = refine(xray, volume, START, settings, BEAM)
    assert result.pose == refine(xray, volume, START, settings, BEAM).pose
    assert not result.pose.numbers.requires_grad


def test_gauss_newton_is_content_with_less_on_coarse_levels(xray, volume):
    def coarse_steps(levels: tuple[Level, ...], tolerance: float) -> list[Pose]:
        history = refine(xray, volume, START, GaussNewton(levels=levels, tolerance=tolerance), BEAM).history
        return [step.pose for step in history if step.level == 0]

    coarse, fine = LEVELS[0], replace(LEVELS[1], spacing=1.0)
    both = coarse_steps((coarse, fine), 0.03)
    assert both == coarse_steps((coarse,), 16 * 0.03)
    assert len(both) < len(coarse_steps((coarse,), 0.03))


def test_steps_closed_before_the_first_never_begin(xray, volume):
    class Asks(ZNCC):
        def fit(self, fixed, mask):
            fits.append(torch.get_num_threads())
            return super().fit(fixed, mask)

    fits: list[int] = []
    before = torch.get_num_threads()
    steps = refine_steps(xray, volume, START, brief("gauss-newton").with_similarity(Asks()), BEAM)
    steps.close()
    with pytest.raises(StopIteration):
        next(steps)
    assert fits == []
    assert torch.get_num_threads() == before


def test_a_refinement_counts_only_its_own_images(xray, volume):
    first, second = (refine(xray, volume, START, brief("lbfgs"), BEAM) for _ in range(2))
    assert 0 < first.evaluations == second.evaluations


def test_refinements_in_a_row(xray, volume):
    """The second starts where the first ended; levels are counted on, evaluations and histories added up."""
    coarse, fine = GaussNewton(levels=LEVELS[:1]), brief("adam")
    first = refine(xray, volume, START, coarse, BEAM)
    second = refine(xray, volume, first.pose, fine, BEAM)
    both = refine(xray, volume, START, (coarse, fine), BEAM)
    assert both.pose == second.pose
    assert both.initial == START
    assert both.evaluations == first.evaluations + second.evaluations
    assert [step.level for step in both.history] == [0] * len(first.history) + [1] * len(second.history)
    assert (both.method, both.similarity_name) == ("adam", "zncc")


@pytest.mark.parametrize("busy", ["refine", "refine_steps"])
def test_torch_keeps_to_one_thread_while_it_works_and_gives_it_back(busy, xray, volume):
    class Asks(ZNCC):
        def fit(self, fixed, mask):
            threads.append(torch.get_num_threads())
            return super().fit(fixed, mask)

    threads: list[int] = []
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        settings = brief("gauss-newton").with_similarity(Asks())
        if busy == "refine":
            refine(xray, volume, START, settings, BEAM)
        else:
            outside = [torch.get_num_threads() for _ in refine_steps(xray, volume, START, settings, BEAM)]
            assert set(outside) == {2}
        assert set(threads) == {1}
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_covariance_tells_the_spread_over_noisy_repeats(xray, volume):
    settings = GaussNewton(levels=LEVELS[1:])
    noise = 0.05 * torch.randn(20, 64, 64, generator=torch.Generator().manual_seed(3))
    found = [refine(replace(xray, image=xray.image + n), volume, TRUTH, settings, BEAM) for n in noise]
    difference = torch.cat([r.pose.numbers for r in found]) - TRUTH.numbers
    expected = torch.stack([r.covariance for r in found])
    ratio = difference.square().mean(0).sqrt() / expected.diagonal(dim1=1, dim2=2).mean(0).sqrt()
    assert ratio.min() > 0.5
    assert ratio.max() < 2
    # the whole matrix, not the diagonal alone: the squared Mahalanobis distance has mean 6
    distance = torch.einsum("bi,bij,bj->b", difference, torch.linalg.inv(expected), difference)
    assert 0.5 < distance.mean() / 6 < 2
    assert found[0].standard_deviation == pytest.approx(found[0].covariance.diagonal().sqrt().tolist())


@pytest.mark.parametrize("similarity", [s for s in SIMILARITIES if s not in LEAST_SQUARES])
def test_gauss_newton_refuses_similarities_without_residual(similarity, xray, volume):
    with pytest.raises(XrcoreError, match=f"{similarity} has not; choose zncc, .* or a method of adam"):
        refine(xray, volume, START, tuned("gauss-newton", similarity=similarity), BEAM)


@every_method
def test_refuses_several_starts(method, xray, volume):
    with pytest.raises(XrcoreError, match="refine: start must be one Pose, got a batch of"):
        refine(xray, volume, Pose.zero(2), tuned(method), BEAM)


def test_refuses_unknown_names(xray, volume):
    with pytest.raises(XrcoreError, match="unknown method 'newton'; choose from gauss-newton"):
        refine(xray, volume, START, "newton")
    with pytest.raises(XrcoreError, match="'cosine' is unknown"):
        refine(xray, volume, START, tuned("adam", similarity="cosine"))


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"xray": 3}, "xray must be an Xray"),
        ({"volume": None}, "volume must be a Volume"),
        ({"start": [0.0] * 6}, "start must be one Pose"),
        ({"method": 3}, "method must be gauss-newton, .* or a tuple of settings"),
        ({"method": ()}, "method must be"),
        ({"method": ("adam",)}, "method must be"),
        ({"beam": 90}, "beam must be a Beam"),
    ],
)
def test_nonsense_is_named_in_one_line(bad, words, xray, volume):
    arguments = {"xray": xray, "volume": volume, "start": START, **bad}
    with pytest.raises(XrcoreError, match=words) as error:
        refine(**arguments)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", [torch.float64, torch.float16])
def test_a_volume_of_another_precision_is_refused_as_it_would_take_hours(kind, xray, volume):
    with pytest.raises(XrcoreError, match=r"volume.density.dtype must be torch.float32, .* got torch.float"):
        refine(xray, replace(volume, density=volume.density.to(kind)), START, "gauss-newton", BEAM)


def test_each_level_has_its_similarity(xray, volume):
    levels = (LEVELS[0], replace(LEVELS[1], similarity="gradient-zncc"))
    assert refine(xray, volume, TRUTH, GaussNewton(levels=levels), BEAM).similarity_name == "gradient-zncc"
    assert refine(xray, volume, TRUTH, GaussNewton(levels=levels).with_similarity("local-zncc"), BEAM).similarity_name == "local-zncc"


def test_a_problem_in_portions_is_the_same(volume, xray, monkeypatch):
    poses = Pose.cat([TRUTH, START, Pose()])
    whole, parts = (Problem(xray, volume, BEAM, "zncc", pixels=32) for _ in range(2))
    parts.portions = Portions("registering")
    parts.portions.room = 2 * 32 * 32  # of three
    batches = []
    for name in ("render", "render_with_jacobian"):
        draw = getattr(problems, name)
        monkeypatch.setattr(problems, name, lambda v, c, pose, beam, draw=draw: (batches.append(len(pose)), draw(v, c, pose, beam))[1])
    for method in ("value", "value_and_gradient", "normal_equations"):
        found = getattr(parts, method)(poses)
        assert batches == [1, 2]
        expected = getattr(whole, method)(poses)
        batches.clear()
        for ours, theirs in zip(*((v,) if isinstance(v, torch.Tensor) else v for v in (found, expected)), strict=True):
            assert_close(ours, theirs, rtol=1e-5, atol=1e-7)
    assert parts.evaluations == whole.evaluations == 9
