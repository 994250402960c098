"""Every solver on one level against closed forms."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch.testing import assert_close

from xrcore._util.bounds import LARGEST_LENGTH
from xrcore._util.errors import XrcoreError
from xrcore.geometry import CArm, Pose, rigid
from xrcore.registration.events import StopReason, finish
from xrcore.registration.presets import PRESETS
from xrcore.registration.similarities.base import NormalEquations
from xrcore.registration.solvers.adam import Adam
from xrcore.registration.solvers.cma_es import CMAES
from xrcore.registration.solvers.gauss_newton import descend
from xrcore.registration.solvers.lbfgs import LBFGS
from xrcore.registration.solvers.objective import Objective
from xrcore.registration.solvers.outcome import Outcome
from xrcore.registration.solvers.powell import Powell
from xrcore.registration.solvers.single_level import SingleLevelSettings

CARM = CArm(source_to_detector=1020, source_to_isocenter=650, shape=(64, 64), pixel_spacing=6.0)
TRUTH = Pose(rx=3, ry=-8, rz=2, tx=4, ty=-6, tz=8)
START = Pose(TRUTH.numbers + torch.tensor([3.0, -4.0, 3.0, 6.0, -6.0, 8.0]))
TUNED = {
    "adam": {"rotation_step": 0.5, "translation_step": 2.0, "iterations": 60, "step_halving": 15},
    "lbfgs": {"rotation_step": 1.0, "translation_step": 2.0, "iterations": 30},
    "cma-es": {"rotation_step": 3.0, "translation_step": 6.0, "iterations": 45},
    "powell": {"rotation_step": 3.0, "translation_step": 6.0, "iterations": 3, "tolerance": 0.1},
}
SOLVERS = {kind.method: kind for kind in (Adam, LBFGS, CMAES, Powell)}

every_search = pytest.mark.parametrize("method", SOLVERS)

pytestmark = pytest.mark.usefixtures("one_thread")


def tuned(method: str, **changes) -> SingleLevelSettings:
    return SOLVERS[method](**{**TUNED[method], **changes})


def search(problem: Bowl, settings: SingleLevelSettings) -> Outcome:
    return finish(settings.search(problem, START))


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

    def value_and_gradient(self, pose: Pose) -> tuple[torch.Tensor, torch.Tensor]:
        value = self.value(pose)
        if self.slope_only:
            return value, torch.full((len(pose), 6), -0.25, dtype=torch.float64)
        return value, -(pose.numbers.detach().double() - self.centre) @ self.a.T @ self.a

    def normal_equations(self, pose: Pose) -> NormalEquations:
        value, slope = self.value_and_gradient(pose)
        return NormalEquations(value, -slope, (self.a.T @ self.a).expand(len(pose), 6, 6).clone(), 106.0)


@pytest.mark.parametrize("method", ["lbfgs", "cma-es", "powell"])
def test_finds_the_bottom_of_a_bowl(method):
    bowl = Bowl(peak=0.5)  # short of 1, so that no loss target ends it
    result = search(bowl, SOLVERS[method](rotation_step=2.0, translation_step=8.0, iterations=400, tolerance=5e-3))
    assert result.stop_reason == StopReason.SMALL_STEP
    assert_close(result.pose.numbers, TRUTH.numbers, rtol=0, atol=0.02)
    assert result.similarity == pytest.approx(0.5, abs=1e-6)
    # 2 (1 - value) / (N - 6) H^-1
    assert_close(result.covariance, 2 * 0.5 / 100 * torch.linalg.inv(bowl.a.T @ bowl.a), rtol=1e-4, atol=1e-6)


def test_steps_are_reported_beside_a_start_that_has_no_value():
    class Half(Bowl):
        def normal_equations(self, pose: Pose) -> NormalEquations:
            found = super().normal_equations(pose)
            return found._replace(value=torch.where(torch.arange(len(pose)) > 0, math.nan, found.value)) if len(pose) > 1 else found

    alone = finish(descend(Bowl(peak=0.5), START, iterations=4, tolerance=0.1))
    beside = finish(descend(Half(peak=0.5), Pose.cat([START, START]), iterations=4, tolerance=0.1))
    assert len(alone.steps) > 2
    assert [step.similarity for step in beside.steps] == [step.similarity for step in alone.steps]


def test_adam_visits_what_torchs_adam_visits():
    bowl = Bowl(peak=0.5)
    result = search(bowl, Adam(rotation_step=0.7, translation_step=3.0, iterations=50, step_halving=12))
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
    assert result.stop_reason == StopReason.ITERATIONS
    assert bowl.evaluations == 50 + 1  # and one for the covariance


def test_adam_halves_its_steps():
    """Under a constant gradient Adam moves by its whole step size."""
    slope = Bowl(peak=0.5, slope_only=True)
    search(slope, Adam(rotation_step=0.8, translation_step=4.0, iterations=40, step_halving=10))
    steps = torch.stack(slope.visited[:40]).diff(dim=0)
    rate = 0.5 ** (torch.arange(39) // 10).double()
    assert_close(steps, -rate[:, None] * torch.tensor([0.8] * 3 + [4.0] * 3, dtype=torch.float64), rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("preset", "rotation", "translation"), [("paper-as-intended", 0.5, 5.0), ("paper-as-released", 5.0, 0.5), ("adam", 0.5, 5.0)]
)
def test_presets_of_the_paper_differ_in_their_first_step(preset, rotation, translation):
    bowl = Bowl(peak=0.5)
    (settings,) = PRESETS[preset]
    search(bowl, replace(settings, iterations=2))
    first = (bowl.visited[1] - bowl.visited[0]).abs()
    assert_close(first, torch.tensor([rotation] * 3 + [translation] * 3, dtype=torch.float64), rtol=1e-4, atol=0)


@every_search
def test_stops_at_the_loss_target(method):
    settings = replace(tuned(method), loss_target=0.02, iterations=300)
    result = search(Bowl(), settings)
    assert result.stop_reason == StopReason.TARGET
    assert 0.98 <= result.similarity < 1
    assert result.history[-2].similarity < 0.98
    # nats know no such target
    free = search(Bowl(least_squares=False, peak=3.0), replace(settings, iterations=5))
    assert free.stop_reason != StopReason.TARGET
    assert len(free.history) > 1
    assert free.covariance is None


@every_search
def test_stops_at_the_iteration_limit(method):
    bowls = [Bowl(peak=0.5) for _ in range(2)]
    assert {search(bowl, tuned(method, iterations=n)).stop_reason for bowl, n in zip(bowls, (1, 2), strict=True)} == {StopReason.ITERATIONS}
    assert bowls[0].evaluations < bowls[1].evaluations


@every_search
@pytest.mark.parametrize("sick", [0, 7])
def test_stops_where_values_are_not_finite(method, sick):
    result = search(Bowl(peak=0.5, sick=sick), tuned(method))
    assert result.stop_reason == StopReason.NOT_FINITE
    assert result.pose.numbers.isfinite().all()
    if sick:
        assert math.isfinite(result.similarity)
    else:
        assert (result.pose, result.similarity, result.covariance) == (START, -math.inf, None)


def test_gauss_newton_says_that_values_are_not_finite():
    descent = finish(descend(Bowl(sick=0), START, iterations=4, tolerance=0.1))
    outcome = descent.outcome(0, descent.steps)
    assert outcome.stop_reason == StopReason.NOT_FINITE
    assert outcome.pose == START
    assert outcome.covariance is None


@every_search
def test_stops_where_the_slope_is_not_finite(method):
    class Cliff(Bowl):
        def value_and_gradient(self, pose):
            return self.value(pose), torch.full((1, 6), math.inf, dtype=torch.float64)

    if method in ("adam", "lbfgs"):
        assert search(Cliff(peak=0.5), tuned(method)).stop_reason == StopReason.NOT_FINITE
    else:  # asks for no slope
        assert search(Cliff(peak=0.5), tuned(method)).stop_reason != StopReason.NOT_FINITE


def bowl_beyond_bounds() -> tuple[Bowl, Pose]:
    """With its bottom at a translation that no pose has, and a start just short of that."""
    bowl = Bowl(peak=0.5)
    bowl.centre = torch.tensor([0.0, 0, 0, LARGEST_LENGTH + 60, 0, 0], dtype=torch.float64)
    bowl.a = torch.diag(bowl.a.diagonal())
    return bowl, Pose(tx=LARGEST_LENGTH - 1)


@every_search
def test_stops_where_it_leaves_the_bounds_of_poses(method):
    bowl, start = bowl_beyond_bounds()
    result = finish(tuned(method).search(bowl, start))
    assert result.stop_reason == StopReason.OUT_OF_BOUNDS
    assert result.similarity >= float(bowl.value(start))


def test_gauss_newton_stops_where_it_leaves_the_bounds_of_poses():
    bowl, start = bowl_beyond_bounds()
    descent = finish(descend(bowl, Pose.cat([start, Pose(tx=LARGEST_LENGTH - 200)]), iterations=30, tolerance=0.01))
    assert [descent.outcome(i, ()).stop_reason for i in range(2)] == [StopReason.OUT_OF_BOUNDS] * 2
    assert (descent.pose.numbers[:, 3] > LARGEST_LENGTH - 61).all()  # the other one came close first


def test_cma_es_renders_populations_as_batches():
    bowl = Bowl(peak=0.5)
    search(bowl, tuned("cma-es", iterations=4))
    population = bowl.batches[1]
    assert population > 6
    assert bowl.batches == [1, *[population] * 4, 1]  # the start, four generations, the covariance


def test_cma_es_draws_from_its_seed_alone(tmp_path, monkeypatch, capfd, recwarn):
    monkeypatch.chdir(tmp_path)
    np.random.seed(5)  # noqa: NPY002 - the generator that must stay untouched
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    first, again, other = (search(Bowl(peak=0.5), tuned("cma-es", iterations=4, seed=s)) for s in (0, 0, 1))
    assert first.pose == again.pose
    assert first.pose != other.pose
    assert np.array_equal(np.random.get_state()[1], state)  # noqa: NPY002
    assert not list(tmp_path.iterdir())
    (tmp_path / "cma_signals.in").write_text("{'timeout': 0, 'maxiter': 1}")
    assert search(Bowl(peak=0.5), tuned("cma-es", iterations=4)).pose == first.pose
    assert capfd.readouterr() == ("", "")
    assert not [w for w in recwarn if "cma" in w.filename]


def test_powell_stays_within_three_steps():
    bowl = Bowl(peak=0.5)
    bowl.centre = bowl.centre + 500
    result = search(bowl, tuned("powell", iterations=2))
    moved = torch.stack(bowl.visited) - START.numbers
    # to first order the variables are changes of the six numbers
    assert (moved.abs() < 1.3 * 3 * torch.tensor([3.0] * 3 + [6.0] * 3)).all()
    assert result.similarity > result.history[0].similarity


def test_local_variables_are_rigid_motions_about_the_start():
    local = Objective(Bowl(), START, LBFGS(rotation_step=2.0, translation_step=3.0), level=0)
    step = 1e-5
    poses = local.pose(step * torch.eye(6, dtype=torch.float64))
    assert_close((poses.numbers - START.numbers) / step, torch.diag(torch.tensor([2.0] * 3 + [3.0] * 3)).double(), rtol=0, atol=1e-4)
    x = torch.tensor([[1.0, -2, 0.5, 3, 1, -4]], dtype=torch.float64)
    twist = (START.twists(CARM)[0] @ (x[0] * torch.tensor([2.0] * 3 + [3.0] * 3))).unsqueeze(0)
    centre = torch.zeros(3, dtype=torch.float64)
    expected = START.world_from_camera(CARM, centre) @ rigid.exp(twist)
    assert_close(local.pose(x).world_from_camera(CARM, centre), expected)
    assert_close(local.pose(torch.cat([x, 0 * x])).numbers[1:], START.numbers)


def test_powell_goes_where_scipys_powell_goes():
    """Until it has converged; scipy's own cannot report on the way."""
    settings = tuned("powell", iterations=6, tolerance=1e-3)
    ours, theirs = Bowl(peak=0.5), Bowl(peak=0.5)
    search(ours, settings)
    local = Objective(theirs, START, settings, level=0)
    minimize(
        lambda x: 1 - float(local.value(local.pose(torch.from_numpy(x)[None]))),
        np.zeros(6),
        method="Powell",
        bounds=[(-3.0, 3.0)] * 6,
        options={"maxiter": 6, "maxfev": 600, "xtol": 1e-3 / 6.0, "ftol": 0.0},
    )
    count = len(ours.visited) - 1  # the last is the covariance's
    assert count > 200
    assert_close(torch.stack(ours.visited[:count]), torch.stack(theirs.visited[:count]), rtol=0, atol=1e-9)


@every_search
def test_steps_come_while_it_works(method):
    bowl = Bowl(peak=0.5)
    seen = [(step, bowl.evaluations) for step in tuned(method, iterations=2).search(bowl, START, 3)]
    assert len(seen) >= 2
    assert seen[0][1] < bowl.evaluations
    assert {step.level for step, _ in seen} == {3}


@every_search
def test_refuses_several_starts(method):
    with pytest.raises(XrcoreError, match=f"{method}: start must be one Pose, got a batch of 2"):
        finish(tuned(method).search(Bowl(), Pose.zero(2)))
