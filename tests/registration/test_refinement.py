"""Refinement: every method with every similarity it accepts, and each method against closed forms."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from xrcore._util.device_memory import Portions
from xrcore._util.errors import XrcoreError
from xrcore.beam import Beam
from xrcore.geometry import CArm, Pose, rigid
from xrcore.metrics import mtre
from xrcore.phantom import pelvis
from xrcore.registration import problem as problems
from xrcore.registration import refinement as dispatcher
from xrcore.registration.problem import Problem
from xrcore.registration.refinement import refine
from xrcore.registration.settings import PRESETS, Level, Settings
from xrcore.registration.similarities import SIMILARITIES
from xrcore.registration.similarities.base import NormalEquations
from xrcore.registration.solvers import gauss_newton
from xrcore.registration.solvers import progress as search
from xrcore.registration.solvers.adam import refine_adam
from xrcore.registration.solvers.derivative_free import refine_cma_es, refine_powell
from xrcore.registration.solvers.lbfgs import refine_lbfgs
from xrcore.renderer import render
from xrcore.xray.image import Xray

CARM = CArm(source_to_detector=1020, source_to_isocenter=650, shape=(64, 64), pixel_spacing=6.0)
BEAM = Beam()
TRUTH = Pose(rx=3, ry=-8, rz=2, tx=4, ty=-6, tz=8)
START = Pose(TRUTH.numbers + torch.tensor([3.0, -4.0, 3.0, 6.0, -6.0, 8.0]))
LEVELS = (Level(pixels=32, spacing=16.0, iterations=15), Level(pixels=64, spacing=8.0, iterations=15))
TUNED = {
    "gauss-newton": {},
    "adam": {"rotation_step": 0.5, "translation_step": 2.0, "iterations": 60, "step_halving": 15},
    "lbfgs": {"rotation_step": 1.0, "translation_step": 2.0, "iterations": 30},
    "cma-es": {"rotation_step": 3.0, "translation_step": 6.0, "iterations": 45},
    "powell": {"rotation_step": 3.0, "translation_step": 6.0, "iterations": 3, "tolerance": 0.1},
}
# what is left of the initial mTRE: slopes end at the loss target, values alone end in the valley along the depth
LEFT = {"gauss-newton": 0.005, "adam": 0.1, "lbfgs": 0.1, "cma-es": 0.2, "powell": 0.2}
# mutual information of a few thousand pixels peaks beside the truth, even between an image and itself
LEFT_OF_INFORMATION = {"mutual-information": 0.15, "wlmi": 0.3}
SEARCHES = {"adam": refine_adam, "lbfgs": refine_lbfgs, "cma-es": refine_cma_es, "powell": refine_powell}
LEAST_SQUARES = [name for name, kind in SIMILARITIES.items() if kind.least_squares]

every_method = pytest.mark.parametrize("method", TUNED)
every_search = pytest.mark.parametrize("method", SEARCHES)


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def volume():
    return pelvis(seed=0, spacing=8.0)


@pytest.fixture(scope="module")
def xray(volume):
    return Xray(image=render(volume, CARM, TRUTH, BEAM)[0], carm=CARM)


def tuned(method: str, **changes) -> Settings:
    return Settings(method=method, levels=LEVELS, **{**TUNED[method], **changes})


def brief(method: str) -> Settings:
    """A few cheap steps, for what does not depend on where they lead."""
    return tuned(method, iterations=1 if method == "powell" else 4, tolerance=0.5)


def error(pose: Pose, volume) -> float:
    return float(mtre(pose, TRUTH, volume.surface_points(32), CARM, volume.isocenter))


class Bowl:
    """A stand-in for a problem: value = peak - |A (numbers - centre)|^2 / 2, a cost of which all is known in closed form."""

    @dataclass(frozen=True)
    class Similarity:
        name: ClassVar[str] = "bowl"
        least_squares: bool = True

    carm = CARM

    def __init__(self, *, peak: float = 1.0, sick: int = 10**9, least_squares: bool = True, slope_only: bool = False) -> None:
        self.similarity = self.Similarity(least_squares)
        self.evaluations = 0
        self.batches: list[int] = []
        self.visited: list[torch.Tensor] = []
        self.peak, self.sick, self.slope_only = peak, sick, slope_only
        # correlated, as rx with ty and ry with tx are in a single view
        self.a = torch.diag(torch.tensor([0.05, 0.05, 0.03, 0.02, 0.02, 0.004], dtype=torch.float64))
        self.a[0, 4] = self.a[1, 3] = 0.015
        self.centre = TRUTH.numbers.double()

    def value(self, pose: Pose) -> torch.Tensor:
        numbers = pose.numbers.detach().double()
        self.visited += list(numbers)
        self.batches.append(len(pose))
        self.evaluations += len(pose)
        value = self.peak - ((numbers - self.centre) @ self.a.T).square().sum(1) / 2
        return torch.where(torch.tensor(self.evaluations > self.sick), math.nan, value)

    def descend(self, start: Pose, **how) -> gauss_newton.Descent:
        return gauss_newton.descend(self, start, **how)

    def value_and_gradient(self, pose: Pose) -> tuple[torch.Tensor, torch.Tensor]:
        value = self.value(pose)
        if self.slope_only:
            return value, torch.full((len(pose), 6), -0.25, dtype=torch.float64)
        return value, -(pose.numbers.detach().double() - self.centre) @ self.a.T @ self.a

    def normal_equations(self, pose: Pose) -> NormalEquations:
        value, slope = self.value_and_gradient(pose)
        return NormalEquations(value, -slope, (self.a.T @ self.a).expand(len(pose), 6, 6).clone(), 106.0)


# --- on a patient ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "similarity"), [(m, s) for m in TUNED for s in SIMILARITIES if m != "gauss-newton" or s in LEAST_SQUARES]
)
def test_every_method_with_every_similarity_it_accepts(method, similarity, xray, volume):
    result = refine(xray, volume, START, tuned(method, similarity=similarity), BEAM)
    before, after = error(START, volume), error(result.pose, volume)
    assert before > 12
    assert after < LEFT_OF_INFORMATION.get(similarity, LEFT[method]) * before
    problem = Problem(xray, volume, BEAM, similarity)
    assert result.similarity == pytest.approx(float(problem.value(result.pose)), abs=1e-5)
    assert result.similarity > 0.98 * float(problem.value(TRUTH))
    assert (result.method, result.similarity_name, result.trusted) == (method, similarity, False)
    assert result.initial == START
    assert result.seconds > 0
    assert result.stop_reason in {search.TARGET, search.SMALL, search.LIMIT, search.EVALUATIONS}
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
    assert sorted(set(levels)) == ([0, 1] if method == "gauss-newton" else [1])
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
    first, second = (refine(xray, volume, START, settings, BEAM) for _ in range(2))
    assert replace(first, seconds=0, covariance=None) == replace(second, seconds=0, covariance=None)
    assert torch.equal(first.covariance, second.covariance)


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
    result = refine(xray, volume, away, replace(brief(method), iterations=20), BEAM)
    assert result.stop_reason == search.FLAT
    assert (result.similarity, result.covariance) == (0, None)
    assert_close(result.pose.numbers, away.numbers)


@pytest.mark.parametrize("method", ["gauss-newton", "adam", "lbfgs"])
def test_runs_where_gradients_are_switched_off(method, xray, volume):
    settings = brief(method)
    with torch.no_grad():
        result = refine(xray, volume, START, settings, BEAM)
    assert result.pose == refine(xray, volume, START, settings, BEAM).pose
    assert not result.pose.numbers.requires_grad


def test_gauss_newton_is_content_with_less_on_coarse_levels(monkeypatch, xray, volume):
    asked = []

    def spy(problem, start, *, iterations, tolerance, **rest):
        asked.append((problem.carm.shape[0], iterations, tolerance))
        return descend(problem, start, iterations=iterations, tolerance=tolerance, **rest)

    descend = Problem.descend
    monkeypatch.setattr(Problem, "descend", spy)
    refine(xray, volume, START, tuned("gauss-newton", tolerance=0.03), BEAM)
    assert asked == [(32, 15, pytest.approx(0.06)), (64, 15, 0.03)]


def test_a_problem_of_one_level_reports_its_own_evaluations(xray, volume):
    problem = Problem(xray, volume, BEAM, "zncc")
    problem.value(Pose.zero(7))
    result = refine_lbfgs(problem, START, tuned("lbfgs", iterations=2))
    assert 0 < result.evaluations == problem.evaluations - 7


def test_covariance_tells_the_spread_over_noisy_repeats(xray, volume):
    settings = Settings(levels=LEVELS[1:], similarity="zncc")
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


# --- on a bowl ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["lbfgs", "cma-es", "powell"])
def test_finds_the_bottom_of_a_bowl(method):
    bowl = Bowl(peak=0.5)  # short of 1, so that no loss target ends it
    settings = Settings(method=method, rotation_step=2.0, translation_step=8.0, iterations=400, tolerance=5e-3)
    result = SEARCHES[method](bowl, START, settings)
    assert result.stop_reason == search.SMALL
    assert_close(result.pose.numbers, TRUTH.numbers, rtol=0, atol=0.02)
    assert result.similarity == pytest.approx(0.5, abs=1e-6)
    # 2 (1 - value) / (N - 6) H^-1
    assert_close(result.covariance, 2 * 0.5 / 100 * torch.linalg.inv(bowl.a.T @ bowl.a), rtol=1e-4, atol=1e-6)


def test_adam_visits_what_torchs_adam_visits():
    settings = Settings(method="adam", rotation_step=0.7, translation_step=3.0, iterations=50, step_halving=12)
    bowl = Bowl(peak=0.5)
    result = refine_adam(bowl, START, settings)
    rotation, translation = (START.numbers[:, i : i + 3].clone().requires_grad_() for i in (0, 3))
    oracle = torch.optim.Adam([{"params": [rotation], "lr": 0.7}, {"params": [translation], "lr": 3.0}])
    schedule = torch.optim.lr_scheduler.StepLR(oracle, step_size=12, gamma=0.5)
    expected, losses = [], []
    for _ in range(50):
        numbers = torch.cat([rotation, translation], 1)
        expected.append(numbers.detach()[0].clone())
        loss = 0.5 + ((numbers - bowl.centre) @ bowl.a.T).square().sum() / 2
        losses.append(loss.item())
        oracle.zero_grad()
        loss.backward()
        oracle.step()
        schedule.step()
    assert_close(torch.stack(bowl.visited[:50]), torch.stack(expected), rtol=1e-9, atol=1e-9)
    best = int(np.argmin(losses))
    assert_close(result.pose.numbers[0], expected[best], rtol=1e-9, atol=1e-9)
    assert result.similarity == pytest.approx(1 - losses[best])
    assert result.stop_reason == search.LIMIT
    assert result.evaluations == 50 + 1  # and one for the covariance


def test_adam_halves_its_steps():
    """Under a constant gradient Adam moves by its whole step size."""
    slope = Bowl(peak=0.5, slope_only=True)
    refine_adam(slope, START, Settings(method="adam", rotation_step=0.8, translation_step=4.0, iterations=40, step_halving=10))
    steps = torch.stack(slope.visited[:40]).diff(dim=0)
    rate = 0.5 ** (torch.arange(39) // 10).double()
    assert_close(steps, -rate[:, None] * torch.tensor([0.8] * 3 + [4.0] * 3, dtype=torch.float64), rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("preset", "rotation", "translation"), [("paper-as-intended", 0.5, 5.0), ("paper-as-released", 5.0, 0.5), ("adam", 0.5, 5.0)]
)
def test_presets_of_the_paper_differ_in_their_first_step(preset, rotation, translation):
    bowl = Bowl(peak=0.5)
    refine_adam(bowl, START, replace(PRESETS[preset], iterations=2))
    first = (bowl.visited[1] - bowl.visited[0]).abs()
    assert_close(first, torch.tensor([rotation] * 3 + [translation] * 3, dtype=torch.float64), rtol=1e-4, atol=0)


@every_search
def test_stops_at_the_loss_target(method):
    settings = replace(tuned(method), loss_target=0.02, iterations=300)
    result = SEARCHES[method](Bowl(), START, settings)
    assert result.stop_reason == search.TARGET
    assert 0.98 <= result.similarity < 1
    assert result.history[-2].similarity < 0.98
    # nats know no such target
    free = SEARCHES[method](Bowl(least_squares=False, peak=3.0), START, replace(settings, iterations=5))
    assert free.stop_reason != search.TARGET
    assert len(free.history) > 1
    assert free.covariance is None


@every_search
def test_stops_at_the_iteration_limit(method):
    few, more = (SEARCHES[method](Bowl(peak=0.5), START, tuned(method, iterations=n)) for n in (1, 2))
    assert few.stop_reason == more.stop_reason == search.LIMIT
    assert few.evaluations < more.evaluations


@every_search
@pytest.mark.parametrize("sick", [0, 7])
def test_stops_where_values_are_not_finite(method, sick):
    result = SEARCHES[method](Bowl(peak=0.5, sick=sick), START, tuned(method))
    assert result.stop_reason == search.NOT_FINITE
    assert result.pose.numbers.isfinite().all()
    if sick:
        assert math.isfinite(result.similarity)
    else:
        assert (result.pose, result.similarity, result.covariance) == (START, -math.inf, None)


def test_gauss_newton_says_that_values_are_not_finite(monkeypatch, xray, volume):
    monkeypatch.setattr(dispatcher, "Problem", lambda *_, **__: Bowl(sick=0))
    result = refine(xray, volume, START, tuned("gauss-newton", similarity="zncc"), BEAM)
    assert result.stop_reason == search.NOT_FINITE
    assert result.pose == START
    assert result.covariance is None


@every_search
def test_stops_where_the_slope_is_not_finite(method):
    class Cliff(Bowl):
        def value_and_gradient(self, pose):
            return self.value(pose), torch.full((1, 6), math.inf, dtype=torch.float64)

    if method in ("adam", "lbfgs"):
        assert SEARCHES[method](Cliff(peak=0.5), START, tuned(method)).stop_reason == search.NOT_FINITE
    else:  # asks for no slope
        assert SEARCHES[method](Cliff(peak=0.5), START, tuned(method)).stop_reason != search.NOT_FINITE


def test_cma_es_renders_populations_as_batches():
    bowl = Bowl(peak=0.5)
    refine_cma_es(bowl, START, tuned("cma-es", iterations=4))
    population = bowl.batches[1]
    assert population > 6
    assert bowl.batches == [1, *[population] * 4, 1]  # the start, four generations, the covariance


def test_cma_es_draws_from_its_seed_alone(tmp_path, monkeypatch, capfd, recwarn):
    monkeypatch.chdir(tmp_path)
    np.random.seed(5)  # noqa: NPY002 - the generator that must stay untouched
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    first, again, other = (refine_cma_es(Bowl(peak=0.5), START, tuned("cma-es", iterations=4, seed=s)) for s in (0, 0, 1))
    assert first.pose == again.pose
    assert first.pose != other.pose
    assert np.array_equal(np.random.get_state()[1], state)  # noqa: NPY002
    assert not list(tmp_path.iterdir())
    (tmp_path / "cma_signals.in").write_text("{'timeout': 0, 'maxiter': 1}")
    assert refine_cma_es(Bowl(peak=0.5), START, tuned("cma-es", iterations=4)).pose == first.pose
    assert capfd.readouterr() == ("", "")
    assert not [w for w in recwarn if "cma" in w.filename]


def test_powell_stays_within_three_steps():
    bowl = Bowl(peak=0.5)
    bowl.centre = bowl.centre + 500
    result = refine_powell(bowl, START, tuned("powell", iterations=2))
    moved = torch.stack(bowl.visited) - START.numbers
    # to first order the variables are changes of the six numbers
    assert (moved.abs() < 1.3 * 3 * torch.tensor([3.0] * 3 + [6.0] * 3)).all()
    assert result.similarity > result.history[0].similarity


def test_local_variables_are_rigid_motions_about_the_start():
    settings = Settings(method="lbfgs", rotation_step=2.0, translation_step=3.0)
    local = search.Search("lbfgs", Bowl(), START, settings)
    step = 1e-5
    poses = local.pose(step * torch.eye(6, dtype=torch.float64))
    assert_close((poses.numbers - START.numbers) / step, torch.diag(torch.tensor([2.0] * 3 + [3.0] * 3)).double(), rtol=0, atol=1e-4)
    x = torch.tensor([[1.0, -2, 0.5, 3, 1, -4]], dtype=torch.float64)
    twist = (START.twists(CARM)[0] @ (x[0] * torch.tensor([2.0] * 3 + [3.0] * 3))).unsqueeze(0)
    centre = torch.zeros(3, dtype=torch.float64)
    expected = START.world_from_camera(CARM, centre) @ rigid.exp(twist)
    assert_close(local.pose(x).world_from_camera(CARM, centre), expected)
    assert_close(local.pose(torch.cat([x, 0 * x])).numbers[1:], START.numbers)


# --- what is refused ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("similarity", [s for s in SIMILARITIES if s not in LEAST_SQUARES])
def test_gauss_newton_refuses_similarities_without_residual(similarity, xray, volume):
    with pytest.raises(XrcoreError, match=f"{similarity} has not; choose zncc, .* or a method of adam"):
        refine(xray, volume, START, tuned("gauss-newton", similarity=similarity), BEAM)


@every_method
def test_refuses_several_starts(method, xray, volume):
    with pytest.raises(XrcoreError, match="one start, got a batch of 2"):
        refine(xray, volume, Pose.zero(2), tuned(method), BEAM)
    if method in SEARCHES:
        with pytest.raises(XrcoreError, match=f"{method}: expected one start"):
            SEARCHES[method](Bowl(), Pose.zero(2), tuned(method))


def test_refuses_unknown_names(xray, volume):
    with pytest.raises(XrcoreError, match="unknown method 'newton'; choose from gauss-newton"):
        refine(xray, volume, START, "newton")
    with pytest.raises(XrcoreError, match="'cosine' is unknown"):
        refine(xray, volume, START, tuned("adam", similarity="cosine"))


def test_auto_similarity(xray, volume):
    levels = (LEVELS[0], replace(LEVELS[1], similarity="gradient-zncc"))
    assert refine(xray, volume, TRUTH, Settings(levels=levels), BEAM).similarity_name == "gradient-zncc"
    assert refine(xray, volume, TRUTH, Settings(levels=LEVELS), BEAM).similarity_name == "zncc"
    one_level = Settings(method="adam", levels=levels, iterations=1)
    assert refine(xray, volume, TRUTH, one_level, BEAM).similarity_name == "zncc"
    assert refine(xray, volume, TRUTH, replace(one_level, similarity="gradient-zncc"), BEAM).similarity_name == "gradient-zncc"


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
