"""Levenberg-Marquardt on the GPU: on a GPU where there is one, else its kernels in Triton's interpreter."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from common import scenes as case
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from xrcore._util.bounds import LARGEST_LENGTH
from xrcore._util.device_memory import OUT_OF_MEMORY, Portions
from xrcore.beam import Beam
from xrcore.geometry import Pose, rigid
from xrcore.metrics import mtre
from xrcore.registration.events import Step, StopReason, finish
from xrcore.registration.pipeline import register
from xrcore.registration.problem import Problem
from xrcore.registration.refinement import refine
from xrcore.registration.search import SearchBox
from xrcore.registration.settings import Level
from xrcore.registration.similarities import SIMILARITIES, ZNCC, GradientZNCC, LocalZNCC, RobustLocalZNCC, similarity
from xrcore.registration.similarities.base import Fitted, NormalEquations, fit_for
from xrcore.registration.solvers import levenberg_marquardt
from xrcore.registration.solvers.descent import LARGEST_STEP
from xrcore.registration.solvers.gauss_newton import GaussNewton

pytest.importorskip("triton", reason="Triton is not installed (the gpu extra)")

import gpu_launches

from xrcore.registration.solvers import cuda
from xrcore.registration.solvers.cuda import normal_kernel
from xrcore.registration.solvers.cuda import step_kernel as kernel
from xrcore.registration.solvers.cuda.normal import normal_tiles
from xrcore.renderer import cuda as renderer

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
    there = finish(cuda.descend(ours, starts, iterations=5, tolerance=0.2))
    here = finish(levenberg_marquardt.descend(theirs, starts, iterations=5, tolerance=0.2))
    # the variables differ by the Euler angles' axes, which damping notices a little
    assert_close(there.value, here.value, atol=2e-3, rtol=0)
    assert float(there.value.min()) > float(theirs.value(starts).max())
    landmarks = BODY.surface_points(16)
    assert float(mtre(there.pose, here.pose, landmarks, CARM, BODY.isocenter).max()) < 2.0
    climbed = [step.similarity for step in there.steps]
    assert climbed == sorted(climbed)
    assert climbed[:2] == pytest.approx([step.similarity for step in here.steps[:2]], abs=5e-3)
    assert ours.evaluations <= 2 * 6
    # the similarity that it reports is the one of the pose that it reports, but for a last small step
    assert_close(ours.value(there.pose).double(), there.value, atol=1e-3, rtol=0)


def test_it_stops_where_it_leaves_the_bounds_of_poses():
    shift = LARGEST_LENGTH - 3 - float(TRUTH.numbers[0, 3])
    far = replace(BODY, isocenter=BODY.isocenter - torch.tensor([shift + 5, 0, 0], dtype=torch.float64))  # the truth lies beyond
    ours = Problem(XRAY, far.to(WHERE), Beam(), "zncc", pixels=16)
    start = Pose(TRUTH.numbers.double() + torch.tensor([0, 0, 0, shift - 6, 0, 0]))
    seen: list[Step] = []
    there = finish(cuda.descend(ours, start, iterations=5, tolerance=0.1), seen.append)
    assert there.outcome(0, there.steps).stop_reason == StopReason.OUT_OF_BOUNDS
    assert {step.pose.numbers.isfinite().all().item() for step in (*seen, *there.steps)} == {True}


def test_normal_equations_are_by_the_six_numbers_of_where_it_ended():
    ours = problem()
    there = finish(cuda.descend(ours, TRUTH, iterations=0, tolerance=0.1))
    expected = ours.normal_equations(TRUTH)
    assert_close(there.pose.numbers, TRUTH.numbers, atol=1e-9, rtol=0)
    assert_close(there.value, expected.value, atol=1e-6, rtol=0)
    scale = expected.hessian.diagonal(dim1=1, dim2=2).sqrt()
    assert_close(there.normal.hessian, expected.hessian, atol=1e-4 * float(scale.max() ** 2), rtol=0)
    assert_close(there.normal.gradient, expected.gradient, atol=1e-4 * float(scale.max()), rtol=0)
    assert there.normal.effective_count == expected.effective_count


def test_it_ends_when_all_have_converged():
    ours = problem()
    there = finish(cuda.descend(ours, case.POSE, iterations=12, tolerance=4.0))
    assert there.converged.all()
    assert ours.evaluations < 8
    again = finish(cuda.descend(problem(), case.POSE, iterations=ours.evaluations - 1, tolerance=4.0))  # to where it ended, to the end
    assert again.pose == there.pose
    assert torch.equal(again.value, there.value)


def test_an_observer_sees_what_the_history_keeps():
    seen: list[Step] = []
    there = finish(cuda.descend(problem(), Pose(), iterations=3, tolerance=1e-6, level=2), seen.append)
    assert len(seen) == 3  # none converges
    assert [step.similarity for step in seen] == sorted(step.similarity for step in seen)
    assert seen[-1].similarity == there.steps[-1].similarity
    assert {step.level for step in (*seen, *there.steps)} == {2}


def test_it_reports_only_if_asked():
    asked: list[Step] = []
    there = finish(cuda.descend(problem(), Pose(), iterations=3, tolerance=1e-6, report=False), asked.append)
    assert not asked
    assert len(there.steps) > 1


@pytest.mark.slow
def test_refine_and_register_run_on_it(monkeypatch):
    # what a GPU volume does by itself
    monkeypatch.setattr("xrcore.registration.solvers.gauss_newton.choose_backend", lambda volume: "cuda")
    levels = (Level(pixels=16, spacing=24.0, iterations=2), Level(pixels=16, spacing=24.0, iterations=1, similarity="gradient-zncc"))
    result = refine(XRAY, BODY.to(WHERE), Pose(), GaussNewton(levels=levels), Beam())
    assert result.similarity_name == "gradient-zncc"
    assert result.covariance is not None
    assert {step.level for step in result.history} == {0, 1}
    found = register(XRAY, BODY.to(WHERE), method=GaussNewton(levels=levels[:1]), search=SearchBox(candidates=8), retries=0)
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
    tile = torch.zeros(8, 8, dtype=torch.float64)
    tile[:6, :6], tile[6, :6], tile[7, 7] = hessian, gradient, value
    parts = torch.stack([0.25 * tile, 0.75 * tile])  # they add up
    inputs = (parts, Pose.zero().twists(CARM)[0], torch.eye(4).double()[:3])
    on_device = [t.contiguous().to(WHERE) for t in inputs]
    arguments = (state, *on_device, views, log, len(parts), CARM.source_to_isocenter, tolerance, *LARGEST_STEP)
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
    change, predicted = levenberg_marquardt.step(gradient[None], hessian[None], torch.tensor([1e-3]).double())
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
    assert float(taken[0, kernel.VALUE]) == pytest.approx(better, abs=1e-15)
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


# normal equations, against the similarities' own


def moving(seed: int, shape: tuple[int, int] = (37, 42)) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """A fixed image, its mask, and moving images with their Jacobians; the last moving image is flat."""
    generator = torch.Generator().manual_seed(seed)
    fixed = torch.rand(shape, generator=generator).cumsum(0)
    mask = torch.rand(shape, generator=generator) > 0.02
    mask[:, :5] = False
    images = 0.7 * fixed + torch.rand(3, *shape, generator=generator)
    images[-1] = 2.0
    return fixed, mask, images, torch.randn(3, 6, *shape, generator=generator).cumsum(-1).permute(0, 2, 3, 1)


def summed(fitted: Fitted, images: torch.Tensor, jacobian: torch.Tensor) -> NormalEquations:
    tiles, count = normal_tiles(fitted, images.to(WHERE), jacobian.to(WHERE))
    tile = tiles.sum(1).cpu()
    assert tile.dtype == torch.float64
    return NormalEquations(tile[:, 7, 7], tile[:, 6, :6], tile[:, :6, :6], count)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    "chosen",
    [
        ZNCC(),
        GradientZNCC(),
        GradientZNCC(operator="central", sigma=0.8),
        LocalZNCC(),
        RobustLocalZNCC(),
        LocalZNCC(patch=9, overlap=False),
    ],
    ids=str,
)
def test_tiles_add_up_to_the_normal_equations(chosen, masked):
    fixed, mask, images, jacobian = moving(0)
    mask = mask if masked else torch.ones_like(mask)
    found = summed(chosen.fit(fixed.to(WHERE), mask.to(WHERE)), images, jacobian)
    expected = chosen.fit(fixed.double(), mask).normal_equations(images.double(), jacobian.double())
    assert_close(found.value, expected.value, atol=1e-6, rtol=0)
    assert found.value[-1] == 0
    scale = expected.hessian.diagonal(dim1=1, dim2=2).sqrt().max()
    assert_close(found.gradient, expected.gradient, atol=1e-6 * float(scale), rtol=0)
    # a GPU adds a tile's pixels in another order: 1.1e-6 was seen
    assert_close(found.hessian, expected.hessian, atol=(2e-6 if GPU else 1e-6) * float(scale) ** 2, rtol=0)
    assert found.effective_count == pytest.approx(expected.effective_count, rel=1e-5)


def test_pixels_outside_the_mask_count_for_nothing():
    fixed, mask, images, jacobian = moving(1)
    spoilt, spoilt_jacobian = images.clone(), jacobian.clone()
    spoilt[:, ~mask], spoilt_jacobian[:, ~mask] = torch.nan, 1e12
    fitted = ZNCC().fit(fixed.to(WHERE), mask.to(WHERE))
    assert torch.equal(summed(fitted, spoilt, spoilt_jacobian).hessian, summed(fitted, images, jacobian).hessian)


def test_a_similarity_of_another_kind_makes_its_own():
    fixed, mask, images, jacobian = moving(2)
    fitted = LocalZNCC().fit(fixed.to(WHERE), mask.to(WHERE))
    found = summed(Another(fitted), images, jacobian)
    there = fitted.normal_equations(images.to(WHERE), jacobian.to(WHERE))
    for ours, theirs in zip(found, there, strict=True):
        assert_close(torch.as_tensor(ours), torch.as_tensor(theirs).cpu(), atol=0, rtol=0)


class Another(Fitted):
    """A fitted similarity that is not known to compare standardised pixels."""

    def __init__(self, fitted: Fitted) -> None:
        self.fitted = fitted

    def normal_equations(self, moving: torch.Tensor, jacobian: torch.Tensor) -> NormalEquations:
        return self.fitted.normal_equations(moving, jacobian)


# what a GPU waits for, and what it is asked for


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("name", ["zncc", "gradient-zncc", "local-zncc"])
def test_normal_equations_wait_for_nothing(name, own, monkeypatch):
    # "meta" stands for a device that is not the processor: asking it for a number, or mixing it with the processor's tensors, raises
    for function in ("sums", "standardised"):
        monkeypatch.setattr(normal_kernel, function, gpu_launches.Unlaunched())
    generator = torch.Generator().manual_seed(0)
    mask = torch.ones(32, 32, dtype=torch.bool)
    mask[:3] = False
    fitted = similarity(name).fit(torch.rand(32, 32, generator=generator), mask)
    for attribute, value in list(vars(fitted).items()):
        if isinstance(value, torch.Tensor):
            setattr(fitted, attribute, value.to("meta"))
    jacobian = torch.empty(2, 6, 32, 32, device="meta").permute(0, 2, 3, 1)
    found, _ = normal_tiles(Another(fitted) if own else fitted, torch.empty(2, 32, 32, device="meta"), jacobian)
    assert (found.device.type, found.shape[0], found.shape[2:]) == ("meta", 2, (8, 8))
    with pytest.raises(RuntimeError):
        float(found[0, 0, 0, 0])


def test_an_iteration_is_few_launches_and_the_readme_knows_how_many():
    rows = gpu_launches.table()
    assert json.loads((Path(__file__).parents[2] / "results" / "gpu_launches.json").read_text())["table"] == rows
    for row in rows:
        if row["similarity"] == "correlation-ratio":  # no kernels of its own yet
            assert row["in all"] <= 80
            continue
        assert row["kernels"] == 4
        assert row["in all"] <= 30
        assert 4 * row["in all"] < row["in all, by torch's own"]


def test_a_batch_that_does_not_fit_is_linearised_in_portions(monkeypatch, caplog):
    caplog.set_level("INFO", logger="xrcore")
    starts = Pose.cat([Pose(), Pose(rx=6, ry=-10, rz=4, tx=10, ty=-15, tz=15)])
    whole = finish(cuda.descend(problem(), starts, iterations=1, tolerance=0.2))

    def render_views(volume, carm, views, *arguments):
        if len(views) > 1:
            raise OUT_OF_MEMORY
        return renderer.render_views(volume, carm, views, *arguments)

    monkeypatch.setattr(cuda, "render_views", render_views)
    tight = problem()
    tight.portions = Portions("registering")
    parts = finish(cuda.descend(tight, starts, iterations=1, tolerance=0.2))
    assert_close(parts.pose.numbers, whole.pose.numbers, atol=0, rtol=0)
    assert_close(parts.normal.hessian, whole.normal.hessian, atol=0, rtol=0)
    assert "registering: out of GPU memory, going on in 2 portions of 1" in caplog.messages


def test_a_similarity_is_fitted_before_it_goes_there():
    # "meta" cannot answer, so whatever a fit asks must have been asked before
    for chosen in (*SIMILARITIES.values(), lambda: GradientZNCC(sigma=0.8)):
        fitted = fit_for(torch.device("meta"), chosen(), XRAY.image, XRAY.mask)
        assert {v.device.type for v in vars(fitted).values() if isinstance(v, torch.Tensor)} == {"meta"}
        here = chosen().fit(XRAY.image, XRAY.mask)
        assert {n for n, v in vars(here).items() if isinstance(v, torch.Tensor)} <= set(vars(fitted))
        image = torch.stack([XRAY.image.roll(1, 0), XRAY.image.roll(2, 1)])
        assert fitted.value(image.to("meta")).shape == (2,)
        assert torch.equal(here.to(torch.device("cpu")).value(image), here.value(image))
        here.to(torch.device("meta"))
        assert here.value(image).device.type == "cpu"  # itself it stays


def test_a_similarity_that_cannot_be_moved_is_fitted_there():
    class Unmovable:
        name, least_squares = "unmovable", False

        def fit(self, fixed, mask):
            return SimpleNamespace(device=fixed.device)

    assert fit_for(torch.device("meta"), Unmovable(), XRAY.image, XRAY.mask).device.type == "meta"


@pytest.mark.skipif(not GPU, reason="no GPU here")
def test_a_level_on_a_gpu_is_not_waited_for():
    ours = problem()
    basis = Pose.zero().twists(CARM)[0]
    start = Pose.cat([Pose(), TRUTH])
    for mode in ("default", "error"):  # first it compiles and pins memory
        torch.cuda.set_sync_debug_mode(mode)
        try:
            finish(cuda.iterate(ours, start, basis, iterations=4, tolerance=0.1, level=0, report=False))
        finally:
            torch.cuda.set_sync_debug_mode("default")
