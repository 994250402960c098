"""Levenberg-Marquardt on the GPU: on a GPU where there is one, else its kernels in Triton's interpreter."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from xrcore.beam import Beam
from xrcore.bench import case
from xrcore.geometry import Pose, rigid
from xrcore.metrics import mtre
from xrcore.refinement import gauss_newton
from xrcore.refinement.problem import Problem
from xrcore.refinement.refine import refine
from xrcore.refinement.settings import Level, Settings
from xrcore.refinement.similarities import similarity
from xrcore.registration import register

pytest.importorskip("triton", reason="Triton is not installed (the gpu extra)")

from xrcore.refinement import cuda
from xrcore.refinement.cuda import kernel

GPU = torch.cuda.is_available()
WHERE = torch.device("cuda" if GPU else "cpu")
BODY = case.body(8.0).coarser(24.0)
TRUTH = Pose(rx=4, ry=-6, rz=3, tx=5, ty=-8, tz=10)
XRAY = case.radiograph(case.body(8.0), 32)
CARM = XRAY.carm


def problem(name: str = "zncc", pixels: int = 16) -> Problem:
    return Problem(XRAY, BODY.to(WHERE), Beam(), name, pixels=pixels)


def test_it_goes_where_the_processor_goes():
    starts = Pose.cat([Pose(), Pose(rx=6, ry=-10, rz=4, tx=10, ty=-15, tz=15)])
    ours, theirs = problem(), problem()
    there = cuda.descend(ours, starts, iterations=5, tolerance=0.2)
    here = gauss_newton.descend(theirs, starts, iterations=5, tolerance=0.2)
    # the variables differ by the Euler angles' axes, which damping notices a little
    assert_close(there.value, here.value, atol=2e-3, rtol=0)
    assert float(there.value.min()) > float(theirs.value(starts).max())
    landmarks = BODY.surface_points(16)
    assert float(mtre(there.pose, here.pose, landmarks, CARM, BODY.isocenter).max()) < 2.0
    climbed = [value for _, value in there.steps]
    assert climbed == sorted(climbed)
    assert climbed[:2] == pytest.approx([value for _, value in here.steps[:2]], abs=5e-3)
    assert ours.evaluations <= 2 * 6
    # the similarity that it reports is the one of the pose that it reports, but for a last small step
    assert_close(ours.value(there.pose).double(), there.value, atol=1e-3, rtol=0)


def test_normal_equations_are_by_the_six_numbers_of_where_it_ended():
    ours = problem()
    there = cuda.descend(ours, TRUTH, iterations=0, tolerance=0.1)
    expected = ours.normal_equations(TRUTH)
    assert_close(there.pose.numbers, TRUTH.numbers, atol=1e-9, rtol=0)
    assert_close(there.value, expected.value, atol=1e-6, rtol=0)
    scale = expected.hessian.diagonal(dim1=1, dim2=2).sqrt()
    assert_close(there.normal.hessian, expected.hessian, atol=1e-4 * float(scale.max() ** 2), rtol=0)
    assert_close(there.normal.gradient, expected.gradient, atol=1e-4 * float(scale.max()), rtol=0)
    assert there.normal.effective_count == expected.effective_count


def test_it_ends_when_all_have_converged():
    ours = problem()
    there = cuda.descend(ours, case.POSE, iterations=12, tolerance=4.0)
    assert there.converged.all()
    assert ours.evaluations < 8
    again = cuda.descend(problem(), case.POSE, iterations=ours.evaluations - 1, tolerance=4.0)  # to where it ended, to the end
    assert again.pose == there.pose
    assert torch.equal(again.value, there.value)


def test_an_observer_sees_what_the_history_keeps():
    seen: list[tuple[Pose, float]] = []
    there = cuda.descend(problem(), Pose(), iterations=3, tolerance=1e-6, watch=lambda pose, value: seen.append((pose, value)))
    assert len(seen) == 3  # none converges
    assert [value for _, value in seen] == sorted(value for _, value in seen)
    assert seen[-1][1] == there.steps[-1][1]

    class Enough(Exception):
        pass

    def stop(pose: Pose, value: float) -> None:
        raise Enough

    with pytest.raises(Enough):
        cuda.descend(problem(), Pose(), iterations=3, tolerance=0.1, watch=stop)


def test_refine_and_register_run_on_it(monkeypatch):
    # what a GPU volume does by itself
    monkeypatch.setattr("xrcore.refinement.problem.choose_backend", lambda volume: "cuda")
    levels = (Level(pixels=16, spacing=24.0, iterations=2), Level(pixels=16, spacing=24.0, iterations=1, similarity="gradient-zncc"))
    result = refine(XRAY, BODY.to(WHERE), Pose(), Settings(levels=levels), Beam())
    assert result.similarity_name == "gradient-zncc"
    assert result.covariance is not None
    assert {step.level for step in result.history} == {0, 1}
    found = register(XRAY, BODY.to(WHERE), method=Settings(levels=levels[:1]), retries=0)
    assert found.evidence is not None
    assert found.similarity > result.history[0].similarity


# the step itself, against the processor's formulas


def stepped(
    hessian: torch.Tensor, gradient: torch.Tensor, *, value: float = 0.5, tolerance: float = 1e-6, state: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """State, views and log after one step of a single pose at TRUTH, its first unless a state is given."""
    matrix = TRUTH.world_from_camera(CARM, BODY.isocenter)
    first = state is None
    if state is None:
        state = torch.zeros(1, kernel.SIZE, dtype=torch.float64)
        state[:, kernel.CURRENT : kernel.CURRENT + 12] = state[:, kernel.TRIAL : kernel.TRIAL + 12] = matrix[:, :3].reshape(1, 12)
        state[:, kernel.DAMPING], state[:, kernel.GROWTH] = 1e-3, 2.0
    state = state.clone().to(WHERE)
    views, log = torch.zeros(1, 5, 3, device=WHERE), torch.zeros(1, 13, dtype=torch.float64, device=WHERE)
    inputs = (
        torch.tensor([value], dtype=torch.float64),
        gradient[None],
        hessian[None],
        Pose.zero().twists(CARM)[0],
        torch.eye(4).double()[:3],
    )
    on_device = [t.contiguous().to(WHERE) for t in inputs]
    arguments = (state, *on_device, views, log, CARM.source_to_isocenter, tolerance, *gauss_newton.LARGEST_STEP)
    kernel.step[(1,)](*arguments, FIRST=first, LAST=False, num_warps=1)
    return state.cpu(), views.cpu(), log.cpu()


def system(seed: int, size: float) -> tuple[torch.Tensor, torch.Tensor]:
    """A positive definite matrix of mixed scales, and a gradient."""
    generator = torch.Generator().manual_seed(seed)
    factor = torch.randn(9, 6, generator=generator, dtype=torch.float64) * torch.tensor([1, 0.3, 2, 0.1, 0.05, 0.01], dtype=torch.float64)
    return factor.T @ factor, size * (factor.T @ torch.randn(9, generator=generator, dtype=torch.float64))


@given(seed=st.integers(0, 10**6), size=st.sampled_from([1e-8, 1e-3, 1.0, 100.0]))
@settings(max_examples=12, deadline=None)
def test_a_step_solves_the_damped_system_and_moves_the_camera(seed, size):
    hessian, gradient = system(seed, size)
    state, views, log = stepped(hessian, gradient)
    change, predicted = gauss_newton.step(gradient[None], hessian[None], torch.tensor([1e-3]).double())
    matrix = TRUTH.world_from_camera(CARM, BODY.isocenter)[0]
    moved = matrix @ rigid.exp((Pose.zero().twists(CARM)[0] @ change[0])[None])[0]
    trial = state[0, kernel.TRIAL : kernel.TRIAL + 12].view(3, 4)
    assert_close(trial, moved[:3], atol=1e-7, rtol=1e-9)
    assert_close(state[0, kernel.PREDICTED], predicted[0], rtol=1e-6, atol=1e-12)
    assert_close(log[0, 1:].view(3, 4), matrix[:3])
    # the renderer is told of the trial
    point = trial[:, 3] + CARM.source_to_isocenter * trial[:, 2]
    assert_close(views[0], torch.cat([trial.T, point[None]]).float())


def test_a_better_trial_is_taken_and_a_worse_one_is_not():
    hessian, gradient = system(1, 1e-2)
    before, _, _ = stepped(hessian, gradient, value=0.5)
    gain = 0.4
    better = 0.5 + gain * float(before[0, kernel.PREDICTED])
    taken, _, log = stepped(2 * hessian, -gradient, value=better, state=before)
    trial = before[0, kernel.TRIAL : kernel.TRIAL + 12]
    assert torch.equal(log[0, 1:], trial)
    assert float(taken[0, kernel.VALUE]) == better
    assert float(taken[0, kernel.DAMPING]) == pytest.approx(1e-3 * (1 - (2 * gain - 1) ** 3))
    assert_close(taken[0, kernel.HESSIAN : kernel.HESSIAN + 36].view(6, 6), 2 * hessian)
    for worse in (0.4, float("nan")):
        left, _, log = stepped(2 * hessian, -gradient, value=worse, state=before)
        assert torch.equal(log[0, 1:], before[0, kernel.CURRENT : kernel.CURRENT + 12])
        assert float(left[0, kernel.VALUE]) == 0.5
        assert (float(left[0, kernel.DAMPING]), float(left[0, kernel.GROWTH])) == (pytest.approx(2e-3), 4.0)
        assert_close(left[0, kernel.HESSIAN : kernel.HESSIAN + 36].view(6, 6), hessian)
        assert not left[0, kernel.CONVERGED]


def test_a_small_step_is_the_last():
    hessian, gradient = system(2, 1e-6)
    state, _, _ = stepped(hessian, gradient, tolerance=0.1)
    assert state[0, kernel.CONVERGED]
    current = state[0, kernel.CURRENT : kernel.CURRENT + 12]
    assert torch.equal(state[0, kernel.TRIAL : kernel.TRIAL + 12], current)
    assert not torch.equal(current.view(3, 4), TRUTH.world_from_camera(CARM, BODY.isocenter)[0, :3])  # taken all the same
    again, _, _ = stepped(hessian, gradient, value=0.9, tolerance=0.1, state=state)
    assert torch.equal(again[0, : kernel.VALUE + 1], state[0, : kernel.VALUE + 1])


def test_without_information_it_stays():
    for hessian, gradient in (
        (torch.zeros(6, 6).double(), torch.zeros(6).double()),
        (torch.full((6, 6), torch.nan).double(),) * 1 + (torch.full((6,), torch.nan).double(),),
    ):
        state, _, _ = stepped(hessian, gradient)
        assert state[0, kernel.CONVERGED]
        assert_close(state[0, kernel.CURRENT : kernel.CURRENT + 12].view(3, 4), TRUTH.world_from_camera(CARM, BODY.isocenter)[0, :3])


@pytest.mark.parametrize("name", ["zncc", "gradient-zncc", "local-zncc"])
def test_normal_equations_wait_for_nothing(name):
    # "meta" stands for a device that is not the processor: asking it for a number, or mixing it with the processor's tensors, raises
    generator = torch.Generator().manual_seed(0)
    mask = torch.ones(32, 32, dtype=torch.bool)
    mask[:3] = False
    fitted = similarity(name).fit(torch.rand(32, 32, generator=generator), mask)
    for attribute, value in list(vars(fitted).items()):
        if isinstance(value, torch.Tensor):
            setattr(fitted, attribute, value.to("meta"))
    jacobian = torch.empty(2, 6, 32, 32, device="meta").permute(0, 2, 3, 1)
    found = fitted.normal_equations(torch.empty(2, 32, 32, device="meta"), jacobian)
    assert found.hessian.device.type == "meta"
    with pytest.raises(RuntimeError):
        float(found.value[0])
