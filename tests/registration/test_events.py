"""Events: a registration seen step by step, and ended from outside."""

from __future__ import annotations

import functools
import itertools
import time
from dataclasses import fields, replace

import pytest
import torch

import xrcore as xr
from xrcore._util.errors import XrcoreError
from xrcore.beam import Beam
from xrcore.registration.events import Stage, Step, finish
from xrcore.registration.presets import refinements
from xrcore.registration.problem import Problem
from xrcore.registration.refinement import refine
from xrcore.registration.result import Registration
from xrcore.registration.search import SearchBox
from xrcore.registration.settings import RefinementSettings
from xrcore.registration.solvers.gauss_newton import GaussNewton

CARM = xr.CArm(source_to_detector=1259.65, source_to_isocenter=742.5, shape=(64, 64), pixel_spacing=6.75)
TRUTH = xr.Pose(rx=3.0, ry=-5.0, rz=2.0, tx=6.0, ty=-7.0, tz=8.0)
NEAR = xr.Pose(rx=1.0, ry=-3.0, rz=1.0, tx=3.0, ty=-3.0, tz=4.0)
PRESETS = ("gauss-newton", "paper-as-intended", "lbfgs", "cma-es", "powell", "grimm")
LEVELWISE = pytest.mark.parametrize("method", PRESETS)
BOX = SearchBox(candidates=16)

pytestmark = pytest.mark.usefixtures("one_thread")


class Enough(Exception):
    """What a reader's Stop button might raise."""


@functools.cache
def volume() -> xr.Volume:
    return xr.phantom.pelvis(seed=3, spacing=8.0)


@functools.cache
def xray() -> xr.Xray:
    return xr.simulate(volume(), CARM, TRUTH, settings=xr.Acquisition(oversample=1, step=4.0), seed=1)


def quick(method: str) -> tuple[RefinementSettings, ...]:
    """The preset with fewer iterations, which a test of what is reported does not need."""
    few = {"gauss-newton": {}, "powell": {"iterations": 1}}
    other = {"iterations": 3 if method == "grimm" else 5}
    return tuple(replace(settings, **few.get(settings.method, other)) for settings in refinements(method))


def watched(method: str, **options: object) -> tuple[Registration, list[Step]]:
    steps: list[Step] = []
    return xr.register(xray(), volume(), NEAR, quick(method), search=BOX, retries=0, watch=steps.append, **options), steps


@functools.cache
def seen(method: str) -> tuple[Registration, list[Step]]:
    return watched(method)


def same(one: Registration, other: Registration) -> None:
    """Bit for bit, but for how long it took."""
    assert torch.equal(one.xray.image, other.xray.image)
    for field in fields(Registration):
        if field.name not in ("seconds", "stages", "views"):
            left, right = getattr(one, field.name), getattr(other, field.name)
            assert torch.equal(left, right) if isinstance(left, torch.Tensor) else left == right, field.name


@LEVELWISE
def test_watching_changes_nothing(method: str):
    result, steps = seen(method)
    assert steps
    same(xr.register(xray(), volume(), NEAR, quick(method), search=BOX, retries=0), result)


@LEVELWISE
def test_what_is_seen_is_true(method: str):
    """Each step's similarity is that of its pose, looked at afresh on its level."""
    _, steps = seen(method)
    problems = [Problem.at(level, xray(), volume(), Beam()) for settings in quick(method) for level in settings.levels]
    for step in steps:
        assert float(problems[step.level].value(step.pose)) == pytest.approx(step.similarity, abs=1e-5)


def test_the_best_of_many_descents_is_seen():
    """Not the one that began best."""
    start, settings = xr.Pose(rx=12.0, ry=25.0, tx=25.0, tz=20.0), GaussNewton()
    steps: list[Step] = []
    xr.register(xray(), volume(), start, settings, retries=0, watch=steps.append)
    problem = Problem.at(settings.levels[0], xray(), volume(), Beam())
    coarse = [step for step in steps if step.level == 0]
    assert len({tuple(step.pose.numbers[0].tolist()) for step in coarse}) > 2
    for step in coarse:
        assert float(problem.value(step.pose)) == pytest.approx(step.similarity, abs=1e-5)


def never_worse(steps: list[Step]) -> bool:
    values = [[step.similarity for step in group] for _, group in itertools.groupby(steps, key=lambda step: step.level)]
    return all(level == sorted(level) for level in values)


@LEVELWISE
def test_a_step_is_never_worse_than_one_before_it_on_its_level(method: str):
    _, steps = seen(method)
    levels = [step.level for step in steps]
    assert levels == sorted(levels)
    assert never_worse(steps)


def test_two_refinements_in_a_row_are_on_two_levels():
    carm, patient = CARM.resized((128, 128)), xr.phantom.pelvis(seed=3, spacing=4.0)
    steps: list[Step] = []
    refine(xr.simulate(patient, carm, TRUTH, seed=1), patient, NEAR, quick("grimm"), watch=steps.append)
    assert never_worse(steps)


def test_a_look_at_the_negative_is_no_step_back():
    steps: list[Step] = []
    far = xr.Pose(tx=40.0, ty=-90.0, tz=100.0)  # where so little of the patient is seen that some of it looks like a negative
    assert not xr.register(xray(), volume(), far, search=SearchBox(candidates=4), retries=0, watch=steps.append).inverted
    assert never_worse(steps)


@LEVELWISE
def test_the_last_step_is_where_the_answer_is(method: str):
    """Up to a last step smaller than the tolerance, which no image is spent on."""
    result, steps = seen(method)
    apart = (result.pose.numbers - steps[-1].pose.numbers).abs().max()
    assert apart <= (GaussNewton().tolerance if method == "gauss-newton" else 0)
    assert steps[-1].similarity == pytest.approx(result.similarity, abs=1e-12)


@LEVELWISE
@pytest.mark.parametrize("when", [0, 2])
def test_what_watch_raises_ends_it_and_passes_unchanged(method: str, when: int):
    steps: list[Step] = []
    problem = Enough("seen enough")

    def watch(step: Step) -> None:
        steps.append(step)
        if len(steps) > when:
            raise problem

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for grad in (True, False):
            steps.clear()
            with torch.set_grad_enabled(grad), pytest.raises(Enough) as ended:
                xr.register(xray(), volume(), NEAR, quick(method), search=BOX, watch=watch)
            assert ended.value is problem
            assert len(steps) == when + 1  # it was not asked again
            steps.clear()
            with torch.set_grad_enabled(grad), pytest.raises(Enough):
                refine(xray(), volume(), NEAR, quick(method), watch=watch)
            assert torch.get_num_threads() == 2
            assert torch.is_grad_enabled()
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("error", [XrcoreError("enough"), KeyboardInterrupt(), StopIteration()], ids=lambda error: type(error).__name__)
def test_no_kind_of_exception_is_swallowed(grad: bool, error: BaseException):
    def watch(step: Step) -> None:
        raise error

    with torch.set_grad_enabled(grad):
        for method in PRESETS:
            with pytest.raises(type(error)) as ended:
                xr.register(xray(), volume(), NEAR, quick(method), search=BOX, watch=watch)
            assert ended.value is error
            assert torch.is_grad_enabled() is grad


@LEVELWISE
def test_seconds_are_those_of_the_registration_not_of_its_spectator(method: str):
    slept, nap = 0.0, 0.3 / len(seen(method)[1])

    def watch(step: Step) -> None:
        nonlocal slept
        began = time.perf_counter()
        time.sleep(nap)
        slept += time.perf_counter() - began

    began = time.perf_counter()
    result = xr.register(xray(), volume(), NEAR, quick(method), search=BOX, retries=0, watch=watch)
    wall = time.perf_counter() - began
    assert slept >= 0.1
    assert 0 < result.seconds <= wall - slept  # so much was left for work
    assert sum(result.stages.values()) <= result.seconds


def test_a_refinement_alone_can_be_watched():
    steps: list[Step] = []
    result = refine(xray(), volume(), NEAR, watch=steps.append)
    same(refine(xray(), volume(), NEAR), result)
    assert {step.level for step in steps} == set(range(len(GaussNewton().levels)))
    assert steps[-1].similarity == result.similarity


def test_a_second_search_is_told_too():
    """A wrong start that one method cannot leave: the coarse search for another is seen like the rest."""
    start = xr.Pose(rx=14.0, ry=14.0, tx=-25.0)
    events = list(xr.register_steps(xray(), volume(), start, quick("paper-as-intended"), retries=1))
    levels = [event.level for event in events if isinstance(event, Step)]
    assert [level for level, _ in itertools.groupby(levels)] == [0, 1, 0]  # adam; two levels of search; adam
    names = [event.level_name for event in events if isinstance(event, Step)]
    alone = "zncc, 64"  # the X-ray has no more pixels
    assert [name for name, _ in itertools.groupby(names)] == [alone, "correlation-ratio, 32", "correlation-ratio, 64", alone]
    texts = [event.description for event in events if isinstance(event, Stage)]
    assert texts == ["searching", "verifying", "not sure yet: searching 384 starts", "verifying"]


def test_registrations_overlap_and_end_where_they_are_closed():
    """Two at a time, in whatever order they end; who consumes them keeps threads and gradients."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        one, other = (xr.register_steps(xray(), volume(), NEAR, quick("lbfgs"), search=BOX, retries=0) for _ in range(2))
        for _ in range(3):
            assert isinstance(next(one), (Stage, Step))
            assert isinstance(next(other), (Stage, Step))
            assert torch.get_num_threads() == 2
            assert torch.is_grad_enabled()
        one.close()
        with pytest.raises(StopIteration):
            next(one)
        same(finish(other), seen("lbfgs")[0])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
