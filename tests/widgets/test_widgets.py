"""The instruments' parts, driven as a page would drive them, but without one."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import io
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import xrcore as xr
from xrcore._util.errors import XrcoreError
from xrcore._util.threads import rendering_threads, single_torch_thread
from xrcore.geometry import CArm, Pose
from xrcore.geometry.pose import NAMES
from xrcore.registration.result import Registration
from xrcore.registration.similarities import SIMILARITIES
from xrcore.xray import Xray

pytest.importorskip("anywidget", reason="the widgets need the extra 'notebooks'")

import ipywidgets as ipw

import xrcore.widgets
from xrcore.figures.encoding import array_png
from xrcore.widgets import CArmScene, PoseExplorer, PoseState, RegistrationCockpit, Session, comparison, debounce, throttle
from xrcore.widgets.canvas import Canvas
from xrcore.widgets.choices import BEAMS
from xrcore.widgets.explorer import STANDARD_VIEWS as VIEWS
from xrcore.widgets.gestures import PoseGestures, shifted, turned
from xrcore.widgets.html_tables import pose_table, verdict
from xrcore.widgets.panel import Panel
from xrcore.widgets.reports import Reports
from xrcore.widgets.scene import surface
from xrcore.widgets.sliders import PoseSliders
from xrcore.widgets.volume_sources import PHANTOMS, CtFile, GivenVolume

CARM = CArm(source_to_detector=1259.65, source_to_isocenter=742.5, shape=(64, 64), pixel_spacing=6.75)
OBLONG = CArm(source_to_detector=1000.0, source_to_isocenter=600.0, shape=(40, 80), pixel_spacing=6.0, principal_point=(15.0, 50.0))
POSE = Pose(rx=12.0, ry=-35.0, rz=8.0, tx=6.0, ty=-7.0, tz=8.0)
TILTED = Pose(rx=12.0, ry=-35.0, rz=8.0)

pytestmark = pytest.mark.usefixtures("one_thread")


@functools.cache
def volume(seed: int = 3) -> xr.Volume:
    return xr.phantom.pelvis(seed=seed, spacing=8.0)


@functools.cache
def drr(carm: CArm = CARM, pose: Pose | None = None) -> Xray:
    return Xray(image=xr.render(volume(), carm, Pose(rx=3.0, ry=-5.0, tx=6.0, tz=8.0) if pose is None else pose)[0], carm=carm)


def size(picture: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(picture)) as image:
        assert image.format == "PNG"
        return image.size


def at(pose: Pose, points: Any, carm: CArm = CARM) -> Any:
    """(row, col) of points in the world."""
    matrix = pose.camera_from_world(carm, volume().isocenter)[0]
    points = torch.as_tensor(points, dtype=torch.float64)
    return carm.project(points @ matrix[:3, :3].T + matrix[:3, 3])


def beside(*way: float) -> Any:
    """A point beside the isocentre, LPS [mm]."""
    return volume().isocenter + torch.tensor([way], dtype=torch.float64)


# state


@pytest.fixture
def state() -> PoseState:
    return PoseState(volume(), CARM)


def test_numbers_that_are_no_pose_are_refused_and_those_before_kept(state: PoseState):
    state.pose = POSE
    before = state.numbers
    seen: list[Any] = []
    state.observe(seen.append)
    for bad in [(1.0, 2.0), (0.0,) * 7, (float("nan"), 0, 0, 0, 0, 0), (0, 0, 0, 0, 0, float("inf")), (1, 2, 3, 4, 5, "x"), ()]:
        with pytest.raises(XrcoreError, match="six finite numbers"):
            state.numbers = bad
        assert state.numbers == before
    with pytest.raises(XrcoreError, match="six finite numbers"):
        state.set(tx=float("nan"))
    with pytest.raises(XrcoreError, match="must be one Pose"):
        state.pose = Pose.zero(2)
    with pytest.raises(XrcoreError, match="'ttx'"):
        state.set(ttx=1.0)
    assert state.numbers == before
    assert seen == []


@pytest.mark.parametrize("bad", [None, "abc", 5, np.zeros(6), torch.zeros(6)], ids=lambda bad: type(bad).__name__)
def test_what_is_no_sequence_is_refused_in_the_same_words_or_taken(state: PoseState, bad: Any):
    with contextlib.suppress(XrcoreError):
        state.numbers = bad
    assert len(state.numbers) == 6


def test_no_pose_is_kept_out_while_notifications_are_held(state: PoseState):
    with pytest.raises(XrcoreError), state.hold_trait_notifications():
        state.numbers = (float("nan"),) * 6
    assert state.numbers == (0.0,) * 6


def test_a_state_needs_a_volume_and_a_carm():
    for arguments in ((None,), ("ct.nii.gz",), (volume(), "carm.yaml"), (volume(), None)):
        with pytest.raises(XrcoreError, match=r"must be a CArm|must be a Volume"):
            PoseState(*arguments)
    with pytest.raises(XrcoreError):
        PoseState(volume(), pose=Pose.zero(3))


def test_numbers_change_by_name_and_by_pose(state: PoseState):
    state.set(ry=30, tz=-4.5)
    assert state.numbers == (0, 30, 0, 0, 0, -4.5)
    state.pose = Pose(torch.tensor([[1.0, 2, 3, 4, 5, 6]], requires_grad=True))
    assert state.numbers == (1, 2, 3, 4, 5, 6)
    assert state.pose.numbers.dtype == torch.float64
    assert not state.pose.numbers.requires_grad
    state.numbers = [0, 0, 0, 0, 0, 1]  # a list will do
    assert state.pose == Pose(tz=1.0)


@pytest.mark.parametrize(
    "pose",
    [
        Pose.zero(),
        POSE,
        Pose(rx=-0.0004, tz=0.0006),
        Pose(rx=89.99951, ry=-179.99951, tx=-149.99949, tz=999.99949),
        Pose(Pose.random(1, generator=torch.Generator().manual_seed(0)).numbers),
        Pose(tz=-1234.567),
    ],
    ids=str,
)
def test_code_gives_the_pose_back(state: PoseState, pose: Pose):
    state.pose = pose
    again = eval(state.code(), {"xr": xr})
    assert float((again.numbers - pose.numbers).abs().max()) <= 0.5001e-3
    assert "-0" not in state.code().replace("-0.", "")


# gestures


@pytest.mark.parametrize(
    ("pose", "carm"),
    [
        (Pose.zero(), CARM),
        (TILTED, CARM),
        (TILTED, OBLONG),
        (Pose(tz=120.0), CARM),
    ],
    ids=["AP", "tilted", "oblong", "deep"],
)
@pytest.mark.parametrize("way", [(0.1, 0.0), (0.0, -0.07), (-0.06, 0.05)])
def test_a_shift_moves_the_isocentre_with_the_hand(pose: Pose, carm: CArm, way: tuple[float, float]):
    isocenter = volume().isocenter[None]
    moved = (at(shifted(pose, carm, *way), isocenter, carm) - at(pose, isocenter, carm))[0] / carm.shape[1]
    torch.testing.assert_close(moved, torch.tensor([way[1], way[0]], dtype=torch.float64), atol=1e-3, rtol=0)


def test_a_shift_moves_oblong_pixels_with_the_hand():
    carm = replace(CARM, shape=(64, 128), pixel_spacing=(6.75, 3.375))
    isocenter = volume().isocenter[None]
    row, col = (at(shifted(Pose.zero(), carm, 0.1, 0.05), isocenter, carm) - at(Pose.zero(), isocenter, carm))[0] / 128
    assert float(col) == pytest.approx(0.1, abs=1e-3)
    assert float(row) == pytest.approx(0.05, abs=1e-3)


def test_a_shift_moves_the_picture_with_the_hand():
    """As rendered: a thin plate in the isocentre's plane, moved by whole pixels."""
    plate = torch.zeros(1, 64, 3, 64)
    plate[0, 20:45, 1, 15:40] = 1.0
    plate[0, 25:30, 1, 20:37] = 0.0
    matrix = torch.diag(torch.tensor([4.0, 4.0, 4.0, 1.0], dtype=torch.float64))
    thing = xr.Volume(density=plate, materials=("bone",), world_from_voxel=matrix)
    before = xr.render(thing, CARM, Pose.zero())[0]
    for right, down in ((5, 0), (0, 4), (-3, -6)):
        after = xr.render(thing, CARM, shifted(Pose.zero(), CARM, right / 64, down / 64))[0]
        same = torch.roll(before, (down, right), (0, 1))[10:-10, 10:-10]
        assert float((after[10:-10, 10:-10] - same).abs().max()) < 0.02 * float(before.max())
        assert float((after - before).abs().max()) > 0.5 * float(before.max())


def test_a_shift_turns_nothing():
    before, after = (p.world_from_camera(CARM, volume().isocenter)[0, :3, :3] for p in (POSE, shifted(POSE, CARM, 0.2, -0.1)))
    torch.testing.assert_close(after, before, atol=1e-9, rtol=0)


def gesture(**hand: Any) -> dict[str, Any]:
    return {"press": 0, "dx": 0, "dy": 0, "turn": False, "roll": False, "wheel": 0, "keys": {}} | hand


class Hand:
    """A canvas with gestures on a state, which starts at `pose`."""

    def __init__(self, pose: Pose = TILTED) -> None:
        self.state = PoseState(volume(), CARM, pose=pose)
        self.canvas = Canvas("picture")
        self.homes = 0
        self.gestures = PoseGestures(self.canvas, self.state, self._home)

    def _home(self) -> None:
        self.homes += 1
        self.state.pose = Pose.zero()

    def __call__(self, **hand: Any) -> Pose:
        self.canvas.gesture = gesture(**hand)
        return self.state.pose


def close(one: Pose, other: Pose) -> bool:
    return torch.allclose(one.numbers, other.numbers, atol=1e-6, rtol=0)


def test_the_near_side_of_the_patient_follows_a_turning_hand():
    near = beside(0, -60, 0)  # in front, where the source of an AP view stands
    before = at(Pose.zero(), near)
    row, col = (at(Hand(Pose.zero())(press=1, dx=0.1, turn=True), near) - before)[0]
    assert col > 1
    assert abs(row) < 1e-6
    row, col = (at(Hand(Pose.zero())(press=1, dy=0.1, turn=True), near) - before)[0]
    assert row > 1
    assert abs(col) < 1e-6
    for name, row, col in (("Right", 0, 1), ("Left", 0, -1), ("Down", 1, 0), ("Up", -1, 0)):
        moved = (at(Hand(Pose.zero())(keys={f"Shift+Arrow{name}": 3}), near) - before)[0]
        assert torch.equal(moved.round(decimals=3).sign(), torch.tensor([row, col], dtype=torch.float64)), name


def test_a_roll_to_the_right_turns_clockwise():
    """As a wheel turns whose upper rim is pulled to the right."""
    above = beside(0, 0, 60)
    _, col = (at(Hand(Pose.zero())(press=1, dx=0.1, roll=True), above) - at(Pose.zero(), above))[0]
    assert col > 1


def test_keys_that_belong_together_are_opposites():
    for one, other in (("[", "]"), ("-", "+"), ("ArrowLeft", "ArrowRight"), ("ArrowUp", "ArrowDown"), ("Shift+ArrowUp", "Shift+ArrowDown")):
        hand = Hand()
        moved = hand(keys={one: 2})
        assert not close(moved, TILTED)
        assert close(hand(keys={one: 2, other: 2}), TILTED), one


def test_arrows_move_the_picture_their_way():
    isocenter = volume().isocenter[None]
    for name, row, col in (("Right", 0, 1), ("Left", 0, -1), ("Down", 1, 0), ("Up", -1, 0)):
        moved = (at(Hand()(keys={f"Arrow{name}": 4}), isocenter) - at(TILTED, isocenter))[0]
        assert torch.equal(moved.round(decimals=3).sign(), torch.tensor([row, col], dtype=torch.float64)), name


def test_wheel_and_plus_agree_and_plus_brings_the_patient_nearer_to_the_source():
    assert close(Hand()(wheel=-2), Hand()(keys={"+": 2}))
    assert close(Hand()(keys={"=": 1}), Hand()(keys={"+": 1}))  # the same key without shift
    wide = [beside(-50, 0, 0), beside(50, 0, 0)]
    apart = [float((at(pose, wide[1]) - at(pose, wide[0])).norm()) for pose in (Pose.zero(), Hand(Pose.zero())(keys={"+": 4}))]
    assert apart[1] > apart[0]


def test_skipped_messages_skip_no_movement():
    messages = [
        {"press": 1, "dx": 0.02},
        {"press": 1, "dx": 0.05, "dy": 0.01},
        {"press": 1, "dx": 0.11, "dy": 0.03},
        {"press": 1, "dx": 0.11, "dy": 0.03, "wheel": -1},
        {"press": 1, "dx": 0.11, "dy": 0.03, "wheel": -3, "keys": {"[": 1}},
        {"press": 1, "dx": 0.11, "dy": 0.03, "wheel": -3, "keys": {"[": 4, "ArrowUp": 2}},
    ]
    for kept in (messages, messages[:3] + messages[5:], messages[2:3] + messages[5:]):
        hand = Hand()
        for message in kept:
            last = hand(**message)
        if kept is messages:
            everything = last
        assert close(last, everything)


def test_one_drag_follows_another():
    hand = Hand()
    hand(press=1, dx=0.1)
    hand(press=2, dx=0.05, dy=0.02)
    last = hand(press=2, dx=0.03, dy=0.01)
    assert close(last, shifted(shifted(TILTED, CARM, 0.1, 0.0), CARM, 0.03, 0.01))


def test_a_drag_after_keys_begins_where_they_led():
    hand = Hand()
    hand(press=1, dx=0.1)
    keyed = hand(press=1, dx=0.1, keys={"]": 5})
    assert close(hand(press=2, dx=0.04, keys={"]": 5}), shifted(keyed, CARM, 0.04, 0.0))
    hand = Hand()
    keyed = hand(keys={"]": 5})
    assert close(hand(press=1, dx=0.04, keys={"]": 5}), shifted(keyed, CARM, 0.04, 0.0))


def test_the_wheel_during_a_drag_is_not_undone_by_it():
    hand = Hand()
    hand(press=1, dx=0.1)
    wheeled = hand(press=1, dx=0.1, wheel=-4)
    after = hand(press=1, dx=0.1001, wheel=-4)
    assert float((after.numbers - wheeled.numbers).abs().max()) < 1


def test_keys_and_then_a_drag_under_one_press():
    hand = Hand()
    hand(press=1, wheel=0)
    hand(press=1, keys={"]": 1})
    keyed = hand(press=1, keys={"]": 3})
    assert close(keyed, turned(TILTED, rz=-3.0))
    assert close(hand(press=1, dx=0.1, keys={"]": 3}), shifted(keyed, CARM, 0.1, 0.0))


def test_a_drag_back_to_where_it_began_undoes_itself():
    hand = Hand()
    hand(press=1, dx=0.1, dy=0.1)
    assert close(hand(press=1), TILTED)
    assert close(hand(press=1, dx=0.1), shifted(TILTED, CARM, 0.1, 0.0))


def test_a_drag_takes_up_the_pose_that_something_else_set():
    hand = Hand()
    hand(press=1, dx=0.1)
    hand.state.pose = Pose(ry=20.0)
    assert close(hand(press=2, dx=0.1), shifted(Pose(ry=20.0), CARM, 0.1, 0.0))


def test_home_goes_home_once():
    hand = Hand()
    hand(press=1, dx=0.1)
    assert hand(press=1, dx=0.1, keys={"Home": 1}) == Pose.zero()
    assert hand.homes == 1
    assert close(hand(press=1, dx=0.1, keys={"Home": 1, "]": 1}), Pose(rz=-1.0))
    assert close(hand(press=2, dx=0.1, keys={"Home": 1, "]": 1}), shifted(Pose(rz=-1.0), CARM, 0.1, 0.0))
    assert hand.homes == 1
    assert hand(press=2, dx=0.1, keys={"Home": 2, "]": 1}) == Pose.zero()


def test_unknown_keys_do_nothing():
    assert Hand()(keys={"PageDown": 3}) == TILTED


def test_turned_adds_by_name():
    assert turned(POSE, rx=1.0, tz=-2.0) == Pose(POSE.numbers + torch.tensor([1.0, 0, 0, 0, 0, -2.0], dtype=torch.float64))
    assert turned(POSE) == POSE


# sliders


def test_sliders_go_both_ways(state: PoseState):
    sliders = PoseSliders(state)
    state.pose = POSE
    assert [slider.value for slider in sliders.sliders.values()] == POSE.numbers[0].tolist()
    sliders.sliders["ry"].value = 17.3
    assert state.pose == Pose([12.0, 17.3, 8.0, 6.0, -7.0, 8.0])
    assert {f"xr-{name}" for name in NAMES} == {slider._dom_classes[0] for slider in sliders.sliders.values()}


def test_sliders_do_not_answer_themselves(state: PoseState):
    """One change of the state is one change; and what a browser sends back, rounded, is none."""
    sliders = PoseSliders(state)
    seen: list[Any] = []
    state.observe(lambda change: seen.append(change["new"]), names="numbers")
    fine = (1.23456, -2.34567, 3.45678, -4.56789, 5.67891, -6.78912)
    state.numbers = fine
    assert seen == [fine]
    for slider in sliders.sliders.values():
        slider.value = round(slider.value, 1)
    assert seen == [fine]
    assert state.numbers == fine
    sliders.sliders["tx"].value += 0.1  # an arrow key
    assert len(seen) == 2


def test_a_number_beyond_its_slider_widens_it(state: PoseState):
    sliders = PoseSliders(state)
    tx = sliders.sliders["tx"]
    before = tx.max
    for number in (before + 100.05, -before - 250.0):
        state.set(tx=number)
        assert state.numbers[3] == number
        assert tx.value == pytest.approx(number)
        assert tx.min <= number <= tx.max
        assert tx.min == -tx.max
    state.set(tx=0.0)
    tx.value = tx.max
    assert state.numbers[3] == tx.max
    assert sliders.sliders["ty"].max == before


def test_closed_sliders_let_go(state: PoseState):
    sliders = PoseSliders(state)
    sliders.close()
    state.set(rx=5.0)
    assert sliders.sliders["rx"].value == 0.0
    sliders.close()  # again does no harm


# refresher


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now

    monotonic = perf_counter


class Drawing:
    """Notes what was asked for; sharp pictures take `sharp` seconds of the clock's."""

    def __init__(self, clock: Clock, sharp: float) -> None:
        self.clock, self.sharp, self.frames = clock, sharp, list[str]()

    def __call__(self, draft: bool) -> None:
        self.frames.append("draft" if draft else "sharp")
        self.clock.now += 0.001 if draft else self.sharp


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(debounce, "time", clock)
    monkeypatch.setattr(debounce, "_REST", 0.01)
    return clock


def test_without_an_event_loop_all_is_sharp(clock: Clock):
    drawing = Drawing(clock, sharp=1.0)
    refresher = debounce.DebouncedDrawing(drawing)
    for _ in range(4):
        refresher()
    assert drawing.frames == ["sharp"] * 4


def test_what_is_quick_is_sharp_at_once(clock: Clock):
    drawing = Drawing(clock, sharp=0.5 * debounce.BUDGET)

    async def main() -> None:
        refresher = debounce.DebouncedDrawing(drawing)
        for _ in range(4):
            refresher()
            await asyncio.sleep(0)
        await asyncio.sleep(0.03)

    asyncio.run(main())
    assert drawing.frames == ["sharp"] * 4


def test_what_is_slow_is_a_draft_while_it_moves_and_sharp_when_it_rests(clock: Clock):
    drawing = Drawing(clock, sharp=10 * debounce.BUDGET)

    async def main() -> None:
        refresher = debounce.DebouncedDrawing(drawing)
        for _ in range(5):
            refresher()
            await asyncio.sleep(0)
        moving = drawing.frames.copy()
        assert moving[-3:] == ["draft"] * 3
        for _ in range(100):
            await asyncio.sleep(0.005)
            if drawing.frames != moving:
                break
        assert drawing.frames == [*moving, "sharp"]  # once, for all of them
        refresher()
        refresher.cancel()
        await asyncio.sleep(0.03)
        assert drawing.frames == [*moving, "sharp", "draft"]

    asyncio.run(main())


def test_one_slow_first_frame_is_forgiven(clock: Clock):
    """The first compiles."""
    drawing = Drawing(clock, sharp=0.2 * debounce.BUDGET)

    async def main() -> None:
        refresher = debounce.DebouncedDrawing(drawing)
        drawing.sharp, usual = 100 * debounce.BUDGET, drawing.sharp
        refresher()
        drawing.sharp = usual
        refresher()
        for _ in range(100):
            await asyncio.sleep(0.005)
            if drawing.frames[-1] == "sharp":
                break
        refresher()
        assert drawing.frames[-1] == "sharp"

    asyncio.run(main())


# throttle


async def until(true: Callable[[], bool]) -> None:
    for _ in range(1000):
        if true():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it never came")


def test_the_page_is_sent_no_more_than_it_draws():
    async def main() -> None:
        acts: list[int] = []
        beat = throttle.Throttle(lambda: acts.append(1))
        for _ in range(6):
            beat()
        assert len(acts) == 1
        beat.drawn = beat.requested  # drawn
        await until(lambda: len(acts) == 2)  # once for all the others
        beat.drawn = beat.requested
        await asyncio.sleep(0.05)
        assert len(acts) == 2  # nothing new to show
        beat.close()

    asyncio.run(main())


def test_a_page_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(throttle, "_TIMEOUT", 0.05)

    async def main() -> None:
        acts: list[int] = []
        beat = throttle.Throttle(lambda: acts.append(1))
        beat()
        beat()
        await until(lambda: len(acts) == 2)
        beat.close()

    asyncio.run(main())


def test_between_two_frames_others_have_their_turn():
    acts = []

    async def main() -> None:
        beat = throttle.Throttle(lambda: acts.append(1))
        beat()
        beat()
        beat.drawn = beat.requested
        assert len(acts) == 1
        for _ in range(200):
            await asyncio.sleep(0.005)
            if len(acts) == 2:
                break
        assert len(acts) == 2
        beat()
        beat.drawn = beat.requested
        beat.close()
        await asyncio.sleep(0.05)
        assert len(acts) == 2

    asyncio.run(main())


# reports


def test_reports_come_out_one_by_one_and_then_the_result():
    order = []

    def work(report: Callable[[int], None]) -> str:
        for number in range(3):
            order.append(f"work {number}")
            report(number)
        return "done"

    reports = Reports(work)
    assert order == []  # nothing before it is asked for
    for number in reports:
        order.append(f"seen {number}")
    assert order == ["work 0", "seen 0", "work 1", "seen 1", "work 2", "seen 2"]
    assert reports.result == "done"
    with pytest.raises(StopIteration):
        next(reports)


def test_what_the_work_raises_comes_out():
    def work(report: Callable[[int], None]) -> None:
        report(1)
        raise XrcoreError("too dark")

    reports = Reports(work)
    assert next(reports) == 1
    with pytest.raises(XrcoreError, match="too dark"):
        next(reports)
    with pytest.raises(StopIteration):
        next(reports)


def test_a_stop_iteration_of_the_work_is_not_its_end():
    def work(report: Callable[[int], None]) -> None:
        next(iter(()))

    with pytest.raises((StopIteration, RuntimeError)):
        list(Reports(work))


def test_closing_ends_the_work_where_it_stands():
    order = []

    def work(report: Callable[[str], None]) -> None:
        try:
            with torch.no_grad(), single_torch_thread():
                try:
                    report("first")
                except Exception:
                    order.append("caught")
                order.append("went on")
        finally:
            order.append("put away")

    threads = torch.get_num_threads()
    with Reports(work) as reports:
        assert next(reports) == "first"
    assert order == ["put away"]
    assert torch.is_grad_enabled()
    assert torch.get_num_threads() == threads
    with pytest.raises(StopIteration):
        next(reports)
    assert not hasattr(reports, "result")
    reports.close()


def test_closed_before_it_began_it_never_begins():
    began = []
    reports = Reports(lambda report: began.append(1))
    reports.close()
    list(reports)
    assert began == []


def test_each_side_keeps_its_own_gradients():
    inside = []

    def work(report: Callable[[int], None]) -> None:
        with torch.no_grad():
            for number in range(3):
                report(number)
                inside.append(torch.is_grad_enabled())
        with torch.enable_grad():
            report(3)
            inside.append(torch.is_grad_enabled())

    for grad in (True, False):
        inside.clear()
        with torch.set_grad_enabled(grad):
            for _ in Reports(work):
                assert torch.is_grad_enabled() is grad
            assert torch.is_grad_enabled() is grad
        assert inside == [False] * 3 + [True]


def test_who_asks_keeps_the_gradients_that_they_have_now():
    def work(report: Callable[[int], None]) -> None:
        with torch.no_grad():
            report(1)
            report(2)

    reports = Reports(work)
    with torch.no_grad():
        next(reports)
        assert not torch.is_grad_enabled()


def test_reports_overlap():
    """Two registrations at a time, and a render in between, in whatever order they end."""
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)

        def work(report: Callable[[int], None]) -> int:
            with single_torch_thread(), torch.no_grad(), single_torch_thread():
                report(rendering_threads())
                report(torch.get_num_threads())
            return 1

        one, other = Reports(work), Reports(work)
        assert (next(one), next(other)) == (2, 2)
        assert (next(one), next(other)) == (1, 1)
        one.close()
        assert rendering_threads() == 2
        assert list(other) == []
        assert other.result == 1
        assert torch.get_num_threads() == 2
        assert torch.is_grad_enabled()
    finally:
        torch.set_num_threads(threads)


def test_reports_in_reports():
    def inner(report: Callable[[int], None]) -> int:
        report(1)
        return 2

    def outer(report: Callable[[int], None]) -> int:
        reports = Reports(inner)
        for number in reports:
            report(10 * number)
        return reports.result

    reports = Reports(outer)
    assert list(reports) == [10]
    assert reports.result == 2


# panel


def test_what_is_wrong_is_shown_as_text():
    panel = Panel(name="test")
    with panel.errors_shown():
        raise XrcoreError("<img src=x onerror=alert(1)>: no CT & no 'file'")
    assert "<img" not in panel.note.value
    assert "&lt;img src=x onerror=alert(1)&gt;: no CT &amp; no" in panel.note.value
    assert 'role="alert"' in panel.note.value
    with pytest.raises(KeyError), panel.errors_shown():
        raise KeyError("<b>")
    assert "KeyError" in panel.note.value
    assert "<b>" not in panel.note.value
    panel.show_message("a <i>remark</i>")
    assert "<i>" not in panel.note.value
    assert 'role="status"' in panel.note.value
    panel.show_message("")
    assert panel.note.value == ""


def test_an_interrupt_is_no_error():
    panel = Panel(name="test")
    with pytest.raises(KeyboardInterrupt), panel.errors_shown():
        raise KeyboardInterrupt
    assert panel.note.value == ""


def test_pictures_are_what_they_were_given():
    grey = np.linspace(-0.5, 1.5, 12).reshape(3, 4)
    with Image.open(io.BytesIO(array_png(grey))) as image:
        assert (image.mode, image.size) == ("L", (4, 3))
        assert np.abs(np.asarray(image) / 255 - np.clip(grey, 0, 1)).max() <= 0.5 / 255 + 1e-9
    with Image.open(io.BytesIO(array_png(np.zeros((5, 2, 3))))) as image:
        assert (image.mode, image.size) == ("RGB", (2, 5))


# choices


def test_views_are_what_a_radiographer_calls_so():
    isocenter = volume().isocenter
    sources = {name: turned(Pose.zero(), **view).world_from_camera(CARM, isocenter)[0, :3, 3] - isocenter for name, view in VIEWS.items()}
    left, back, head = torch.eye(3, dtype=torch.float64)
    reach = CARM.source_to_isocenter
    assert float(sources["AP"] @ back) == pytest.approx(-reach)
    assert abs(float(sources["lateral"] @ left)) == pytest.approx(reach)
    assert float(sources["inlet"] @ head) > 0.5 * reach  # from the head's side
    assert float(sources["outlet"] @ head) < -0.5 * reach
    assert abs(float(sources["oblique"] @ left)) == pytest.approx(-float(sources["oblique"] @ back))


def test_patients_are_read_when_chosen(tmp_path: Path):
    assert GivenVolume(volume()).volume(1.0) is volume()
    assert "phantom" in PHANTOMS
    with pytest.raises(XrcoreError):
        CtFile(tmp_path / "absent.nii.gz").volume(2.0)


# explorer


class Unreadable:
    def volume(self, spacing: float) -> xr.Volume:
        raise XrcoreError("<ct.nii.gz>: is damaged")


CHOICES = {"one": GivenVolume(volume()), "two": GivenVolume(volume(5)), "none": Unreadable()}


@pytest.fixture
def explorer() -> Iterator[PoseExplorer]:
    explorer = PoseExplorer(volume(), OBLONG, patients=CHOICES)
    yield explorer
    explorer.close()


def shown(canvas: Canvas) -> bytes:
    assert size(canvas.front)
    return canvas.front


def test_the_explorer_shows_the_pose(explorer: PoseExplorer):
    assert explorer.pose == Pose.zero()
    seen = {shown(explorer.canvas)}
    explorer.state.set(ry=30.0)
    seen.add(shown(explorer.canvas))
    explorer.look("lateral")
    seen.add(shown(explorer.canvas))
    explorer.beam.value = BEAMS["60 kV"]
    assert explorer.state.beam == BEAMS["60 kV"]
    seen.add(shown(explorer.canvas))
    explorer.patient.value = "two"
    assert explorer.state.volume is volume(5)
    seen.add(shown(explorer.canvas))
    explorer.canvas.gesture = gesture(press=1, dx=0.1)
    seen.add(shown(explorer.canvas))
    assert len(seen) == 6
    assert size(explorer.canvas.front) == (80, 40)
    assert explorer.copy.text == explorer.code.value == explorer.state.code()
    explorer.reset()
    assert explorer.pose == Pose.zero()
    explorer.canvas.gesture = gesture(press=1, dx=0.1, keys={"]": 2})
    explorer.canvas.gesture = gesture(press=1, dx=0.1, keys={"]": 2, "Home": 1})
    assert explorer.pose == Pose.zero()


def test_drafts_have_half_the_pixels(explorer: PoseExplorer):
    assert explorer.picture().shape == (40, 80)
    assert explorer.picture(draft=True).shape == (20, 40)
    explorer.state.carm = OBLONG.resized((5, 9))
    assert explorer.picture(draft=True).shape == (2, 4)


def test_the_explorer_keeps_what_it_has_when_a_patient_cannot_be_read(explorer: PoseExplorer):
    before = shown(explorer.canvas)
    explorer.patient.value = "none"
    assert "&lt;ct.nii.gz&gt;: is damaged" in explorer.note.value
    assert explorer.state.volume is volume()
    assert explorer.canvas.front == before
    explorer.state.set(rx=10.0)
    assert explorer.canvas.front != before


CUSTOM = xr.Beam.monochromatic(70.0)


@pytest.mark.parametrize(
    ("view", "last"),
    [
        (PoseExplorer, CUSTOM),
        (PoseExplorer, BEAMS["60 kV"]),
        (RegistrationCockpit, CUSTOM),
        (RegistrationCockpit, BEAMS["60 kV"]),
    ],
)
def test_a_beam_set_in_the_state_stays(view: type, last: xr.Beam):
    state = Session(volume(), carm=CARM)
    panel = PoseExplorer(state=state, patients=CHOICES) if view is PoseExplorer else RegistrationCockpit(session=state)
    for beam in (BEAMS["120 kV"], xr.Beam.monochromatic(80.0), BEAMS["90 kV"], xr.Beam.monochromatic(80.0), last):
        state.beam = beam
        assert state.beam == beam
        assert panel.beam.value == beam
    panel.close()


def test_views_of_one_state_move_together_until_they_close(state: PoseState):
    names = ("numbers", "volume", "carm", "beam", "patient", "running")

    def heard() -> list[int]:
        return [len(state._trait_notifiers.get(name, {}).get("change", [])) for name in names]

    alone = heard()
    one, other = PoseExplorer(state=state, patients=CHOICES), PoseExplorer(state=state, patients=CHOICES)
    assert heard() > alone
    before = other.canvas.front
    one.canvas.gesture = gesture(press=1, dx=0.1)
    assert other.canvas.front == one.canvas.front != before
    one.close()
    last = one.canvas.front
    state.set(ry=40.0)
    assert one.canvas.front == last
    assert other.canvas.front != last
    other.close()
    assert heard() == alone


def test_a_patient_chosen_beside_a_cockpit_is_the_session_s():
    session = Session(volume(), carm=CARM)
    session.simulate(POSE)
    explorer = PoseExplorer(state=session, patients=CHOICES)
    explorer.patient.value = "two"
    explorer.close()
    assert session.patient.volume(2.0) is session.volume
    assert session.xray is None


# what a page without a kernel shows


@pytest.mark.parametrize(
    ("make", "wanted"),
    [
        (lambda: PoseExplorer(volume(), OBLONG, patients=CHOICES), (80, 40)),
        (lambda: RegistrationCockpit(volume(), drr(OBLONG)), (80, 40)),
        (lambda: CArmScene(volume(), CARM), None),
    ],
    ids=["explorer", "cockpit", "scene"],
)
def test_a_still_is_in_the_notebook(make: Callable[[], Panel], wanted: tuple[int, int] | None):
    panel = make()
    data, _ = panel._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in data
    found = size(data["image/png"])
    assert found == wanted if wanted else min(found) > 100
    panel.close()


def test_a_panel_without_a_picture_is_a_widget_still():
    bundle = Panel(name="test")._repr_mimebundle_()
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    assert "application/vnd.jupyter.widget-view+json" in data
    assert "image/png" not in data


# scene


def flipped(volume: xr.Volume) -> xr.Volume:
    """The same body on a grid that counts x and z the other way and is off the origin."""
    far = torch.tensor([*volume.density.shape[:0:-1]], dtype=torch.float64) - 1
    turn = torch.diag(torch.tensor([-1.0, 1.0, -1.0, 1.0], dtype=torch.float64))
    turn[0, 3], turn[2, 3] = far[0], far[2]
    return replace(volume, density=volume.density.flip(1, 3).contiguous(), world_from_voxel=volume.world_from_voxel @ turn)


def ball(at: tuple[float, float, float], radius: float) -> xr.Volume:
    """LPS [mm]; on voxels of different sizes."""
    matrix = torch.diag(torch.tensor([3.0, 4.0, 5.0, 1.0], dtype=torch.float64))
    matrix[:3, 3] = torch.tensor([-70.0, -90.0, -60.0])
    z, y, x = torch.meshgrid(torch.arange(36.0), torch.arange(45.0), torch.arange(60.0), indexing="ij")
    world = torch.stack([x * 3 - 70, y * 4 - 90, z * 5 - 60], -1)
    distance = (world - torch.tensor(at)).norm(dim=-1)
    return xr.Volume(density=((radius - distance) / 4 + 0.5).clamp(0, 1)[None], materials=("bone",), world_from_voxel=matrix)


@pytest.mark.parametrize("turn", [lambda volume: volume, flipped], ids=["straight", "flipped"])
def test_a_surface_lies_where_the_patient_is(turn: Callable[[xr.Volume], xr.Volume]):
    center = (20.0, -15.0, 33.0)
    thing = turn(ball(center, 25.0))
    vertices, triangles = surface(thing.density[0], thing)
    radii = np.linalg.norm(vertices - np.array(center), axis=1)
    assert len(vertices) > 100
    assert np.abs(radii - 25.0).max() < 1.5  # a fraction of a voxel
    assert triangles.max() < len(vertices)


def test_a_flipped_grid_makes_the_same_surface():
    straight, other = (surface(v.density.sum(0), v)[0] for v in (volume(), flipped(volume())))
    assert len(straight) == len(other)
    assert np.abs(np.sort(straight, 0) - np.sort(other, 0)).max() < 0.05


def inside_out(thing: xr.Volume) -> bool:
    vertices, triangles = surface(thing.density[0], thing)
    a, b, c = (vertices[triangles[:, i].astype(int)].astype(float) for i in range(3))
    return float((np.cross(b - a, c - a) * (a - vertices.mean(0))).sum()) < 0


def test_triangles_face_outwards_on_any_grid():
    thing = ball((20.0, -15.0, 33.0), 25.0)
    mirrored = replace(thing, density=thing.density.flip(3).contiguous(), world_from_voxel=_mirrored(thing))
    assert inside_out(thing) == inside_out(mirrored)


def _mirrored(volume: xr.Volume) -> Any:
    turn = torch.diag(torch.tensor([-1.0, 1.0, 1.0, 1.0], dtype=torch.float64))
    turn[0, 3] = volume.density.shape[3] - 1
    return volume.world_from_voxel @ turn


def test_nothing_has_no_surface():
    thing = volume()
    assert surface(torch.zeros(thing.shape), thing) is None
    CArmScene(replace(thing, density=torch.zeros_like(thing.density)), CARM).close()


def scene_things(scene: CArmScene) -> dict[str, Any]:
    return {thing.name: thing for thing in scene.plot.objects}


@pytest.mark.parametrize("carm", [CARM, OBLONG], ids=["centred", "oblong"])
def test_the_detector_stands_where_its_pixels_are(carm: CArm):
    scene = CArmScene(volume(), carm)
    detector = scene_things(scene)["detector"]
    corners = torch.from_numpy(np.array(detector.vertices, dtype=np.float64))
    rows, cols = carm.shape
    # outer corners, upper left first and clockwise, as the image is shown
    outer = torch.tensor([(-0.5, -0.5), (-0.5, cols - 0.5), (rows - 0.5, cols - 0.5), (rows - 0.5, -0.5)], dtype=torch.float64)
    torch.testing.assert_close(carm.project(corners), outer, atol=1e-4, rtol=0)
    torch.testing.assert_close(corners[:, 2], torch.full((4,), carm.source_to_detector, dtype=torch.float64))
    # and the picture the right way up: k3d counts its v down the picture, as seen in a browser
    assert np.array(detector.uvs).tolist() == [[0, 0], [1, 0], [1, 1], [0, 1]]
    scene.close()


def test_all_that_moves_moves_with_the_camera(state: PoseState):
    scene = CArmScene(state=state)
    patient = {name: thing for name, thing in scene_things(scene).items() if name not in ("detector", "source", "beam")}
    rest = {name: np.array(thing.model_matrix) for name, thing in patient.items() if hasattr(thing, "model_matrix")}
    texture = scene_things(scene)["detector"].texture
    for pose in (Pose.zero(), POSE):
        state.pose = pose
        scene.throttle.drawn = scene.throttle.requested  # the page has drawn
        wanted = pose.world_from_camera(CARM, volume().isocenter)[0].numpy()
        for name in ("detector", "source", "beam"):
            np.testing.assert_allclose(np.array(scene_things(scene)[name].model_matrix), wanted, atol=1e-4)
    assert scene_things(scene)["detector"].texture != texture
    assert size(scene_things(scene)["detector"].texture)
    for name, matrix in rest.items():
        assert np.array_equal(np.array(patient[name].model_matrix), matrix)
    scene.close()


def test_a_new_patient_and_a_new_carm_replace_the_old(state: PoseState):
    scene = CArmScene(state=state)
    names = sorted(f"{thing.name} {thing.type}" for thing in scene.plot.objects)
    bone = np.array(scene_things(scene)["bone"].vertices)
    state.volume = volume(5)
    state.carm = OBLONG
    assert sorted(f"{thing.name} {thing.type}" for thing in scene.plot.objects) == names
    assert not np.array_equal(np.array(scene_things(scene)["bone"].vertices), bone)
    scene.close()
    before = len(scene.plot.objects)
    matrix = np.array(scene_things(scene)["source"].model_matrix)
    state.volume, state.pose = volume(), POSE
    assert len(scene.plot.objects) == before
    assert np.array_equal(np.array(scene_things(scene)["source"].model_matrix), matrix)


def test_a_closed_scene_draws_no_more(state: PoseState, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(throttle, "_PAUSE", 0.0)

    async def main() -> bool:
        scene = CArmScene(state=state)
        state.set(ry=5.0)
        state.set(ry=10.0)  # due, once the page has drawn the one before
        scene.throttle.drawn = scene.throttle.requested
        matrix = np.array(scene_things(scene)["source"].model_matrix)
        scene.close()
        await asyncio.sleep(0.05)
        return np.array_equal(np.array(scene_things(scene)["source"].model_matrix), matrix)

    assert asyncio.run(main())


# comparison


def test_ways_to_compare_differ():
    session = Session(volume(), drr())
    compared = comparison.Comparison(session)
    compared.draw()
    pictures = {}
    for name in comparison.MODES:
        compared.mode.value = name
        compared.draw()
        pictures[name] = compared.canvas.front
        assert size(compared.canvas.front) == (64, 64)
        assert (compared.canvas.split is not None) == (name == "split")
        assert comparison.LEGENDS[name] in compared.legend.value
    assert pictures.pop("split") == pictures["X-ray"]  # the DRR lies under it
    assert len(set(pictures.values())) == len(pictures)
    assert comparison.LEGENDS.keys() == comparison.MODES.keys()
    compared.mode.value = "split"
    compared.draw()
    assert size(compared.canvas.back) == (64, 64)
    assert compared.canvas.back != compared.canvas.front
    compared.canvas.split = 0.2
    session.pose = POSE
    compared.draw()
    assert compared.canvas.split == 0.2  # the line stays where it was put


def test_where_images_agree_there_is_no_difference():
    pose = Pose(rx=3.0, ry=-5.0, tx=6.0, tz=8.0)
    session = Session(volume(), drr(), pose=pose)
    compared = comparison.Comparison(session)
    compared.mode.value = "difference"
    front, _ = compared.picture()
    assert front.min() > 0.999
    compared.mode.value = "overlay"
    front, _ = compared.picture()
    assert np.abs(front - front.mean(-1, keepdims=True)).max() < 1e-3  # grey
    session.pose = Pose.zero()
    assert np.abs(compared.picture()[0] - front).max() > 0.1


def test_without_an_xray_there_is_the_drr():
    session = Session(volume(), carm=OBLONG)
    compared = comparison.Comparison(session)
    for name in ("edges", "split"):
        compared.mode.value = name
        compared.draw()
        assert compared.canvas.split is None
        assert size(compared.canvas.front) == (80, 40)
        assert "no X-ray" in compared.legend.value
    assert [p.shape for p in compared.picture(draft=True)] == [(40, 80)] * 2


def test_large_images_are_shown_smaller():
    carm = CARM.resized((600, 600))
    session = Session(volume(), carm=carm)
    compared = comparison.Comparison(session)
    assert compared.picture()[0].shape == (comparison.PIXELS,) * 2
    session = Session(volume(), Xray(image=torch.rand(600, 600), carm=carm))
    rows, _, _ = comparison.Comparison(session).picture()[0].shape
    assert 200 <= rows <= 400


def test_an_inverted_xray_is_shown_the_right_way_up():
    bright = Session(volume(), drr())
    dark = Session(volume(), drr().negative())
    views = comparison.Comparison(bright), comparison.Comparison(dark)
    for compared in views:
        compared.mode.value = "X-ray"
    one, other = (compared.picture()[0] for compared in views)
    assert np.abs(one - other).max() > 0.5
    result = asyncio.run(dark.run())
    assert result.inverted
    assert np.abs(one - views[1].picture()[0]).max() < 1e-6


# verdict


def outcome(**changes: Any) -> Registration:
    basis = {
        "pose": POSE,
        "similarity": 0.91234,
        "covariance": torch.eye(6, dtype=torch.float64),
        "stop_reason": "step below tolerance",
        "seconds": 1.25,
        "initial": Pose.zero(),
        "method": "gauss-newton",
        "similarity_name": "zncc",
        "evaluations": 42,
    }
    return Registration(**basis | changes)


def test_a_verdict_says_what_it_is():
    assert verdict(None) == ""
    assert ">not trusted<" in verdict(outcome())
    text = verdict(outcome(trusted=True))
    assert ">trusted<" in text
    for fact in ("zncc 0.9123", "1.25 s", "42 images", "step below tolerance"):
        assert fact in text
    assert "<details>" in text
    assert "<details>" not in verdict(outcome(covariance=None))
    assert "nan" not in verdict(outcome(covariance=torch.zeros(6, 6, dtype=torch.float64)))


def test_correlations_are_within_one():
    half = torch.randn(6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    text = verdict(outcome(covariance=half @ half.T))
    cells = [float(cell.split("<")[0]) for cell in text.split(')">')[1:]]
    table = np.array(cells).reshape(6, 6)
    np.testing.assert_allclose(np.diag(table), 1.0)
    assert np.abs(table).max() <= 1.0
    assert np.array_equal(table, table.T)


@pytest.mark.parametrize(
    "field",
    ["stop_reason", "reasons", "notes", "similarity_name"],
)
def test_a_verdict_shows_words_as_words(field: str):
    evil = "<script>alert('&')</script>"
    text = verdict(outcome(**{field: (evil,) if field in ("reasons", "notes") else evil}))
    assert "<script" not in text
    assert "&lt;script&gt;" in text


def test_the_table_of_poses():
    session = Session(volume(), drr())
    text = pose_table(session)
    assert "mTRE" not in text
    assert ">true<" not in text
    session.simulate(POSE)
    session.pose = Pose(rx=1.5)
    text = pose_table(session)
    assert text.count("<tr>") == 4  # names, true, start, now
    assert "mTRE" in text
    assert ">12.00<" in text
    assert ">1.50<" in text
    assert f">{session.errors(session.pose)[0]:.2f}<" in text
    session.result = outcome()
    assert text.count(">1.000<") + 6 == pose_table(session).count(">1.000<")


# cockpit


@pytest.fixture
def cockpit() -> Iterator[RegistrationCockpit]:
    cockpit = RegistrationCockpit(volume(), carm=CARM, patients=CHOICES)
    cockpit.session.pace = 1e-3
    yield cockpit
    cockpit.close()


def test_from_a_simulated_xray_to_a_saved_result(cockpit: RegistrationCockpit, tmp_path: Path):
    assert cockpit.register_button.disabled
    assert cockpit.save_button.disabled
    cockpit.inputs.seed.value = 5
    cockpit.inputs.simulate.click()
    session = cockpit.session
    assert session.truth == Pose.random(generator=torch.Generator().manual_seed(5))
    assert not cockpit.register_button.disabled
    busy = []
    session.observe(
        lambda _: busy.append((cockpit.register_button.disabled, cockpit.stop_button.disabled, cockpit.sliders.sliders["rx"].disabled)),
        "history",
    )
    before = cockpit.curve.value
    cockpit.register_button.click()
    assert session.result is not None
    assert (True, False, True) in busy
    assert cockpit.stop_button.disabled
    assert not cockpit.register_button.disabled
    assert "trusted" in cockpit.outcome.value
    assert cockpit.curve.value != before
    assert size(cockpit.curve.value)
    assert "std. dev." in cockpit.table.value
    cockpit.folder.value = str(tmp_path / "out")
    cockpit.save_button.click()
    assert (tmp_path / "out" / "registration.json").is_file()
    assert "registration.json" in cockpit.note.value
    cockpit.back_button.click()
    assert session.pose == session.start == Pose.zero()
    # the way can be gone again
    cockpit.step.value = 0
    assert session.pose == session.history[0].pose
    cockpit.step.value = len(session.history) - 1
    assert session.pose == session.result.pose
    assert cockpit.step.max == len(session.history) - 1


def test_the_cockpit_s_loop_stays_alive_and_stop_stops(cockpit: RegistrationCockpit):
    session = cockpit.session
    cockpit.inputs.simulate.click()
    session.pace = 0.02

    async def main() -> None:
        cockpit.register()
        while not session.history:
            await asyncio.sleep(0.001)
        assert session.running
        cockpit.inputs.simulate.click()
        assert "running" in cockpit.note.value
        cockpit.stop_button.click()
        await cockpit._task

    asyncio.run(main())
    assert session.result is None
    assert "stopped" in cockpit.stage.value
    assert not cockpit.register_button.disabled
    assert cockpit.save_button.disabled


def test_bad_files_show_in_the_cockpit(cockpit: RegistrationCockpit, tmp_path: Path):
    found = cockpit.inputs
    (tmp_path / "x<b>.png").write_bytes(b"nothing")
    for path, button in ((found.ct, found.read_ct), (found.xray, found.read_xray)):
        path.value = str(tmp_path / "x<b>.png")
        button.click()
        assert 'role="alert"' in cockpit.note.value
        assert "<b>" not in cockpit.note.value
        assert "x&lt;b&gt;.png" in cockpit.note.value
    found.upload.value = ({"name": "y<b>.dcm", "type": "", "size": 1, "content": memoryview(b"z"), "last_modified": datetime.now(UTC)},)
    assert "y&lt;b&gt;.dcm" in cockpit.note.value
    assert found.upload.value == ()  # the same file may be chosen again
    found.patient.value = "none"
    assert "is damaged" in cockpit.note.value
    assert cockpit.session.volume is volume()
    assert found.patient.value != "none"  # the list shows who is there
    found.patient.value = "two"
    assert cockpit.session.volume is volume(5)


def test_what_cannot_be_saved_or_registered_is_said(cockpit: RegistrationCockpit):
    cockpit.register()
    assert "no X-ray" in cockpit.note.value
    cockpit._save()
    assert "no result" in cockpit.note.value


def test_method_and_similarity_go_both_ways(cockpit: RegistrationCockpit):
    assert set(SIMILARITIES) < set(cockpit.similarity.options)
    cockpit.method.value = "powell"
    assert cockpit.session.method == "powell"
    cockpit.session.similarity = "wlmi"
    assert cockpit.similarity.value == "wlmi"


def test_a_closed_cockpit_leaves_its_session(cockpit: RegistrationCockpit):
    session = cockpit.session
    cockpit.close()
    picture, table = cockpit.comparison.canvas.front, cockpit.table.value
    session.pose = POSE
    session.method = "adam"
    assert (cockpit.comparison.canvas.front, cockpit.table.value) == (picture, table)
    assert cockpit.method.value == "gauss-newton"


# a package that is missing


@pytest.mark.parametrize(
    ("name", "package", "home"),
    [
        ("PoseExplorer", "ipywidgets", "explorer"),
        ("PoseExplorer", "anywidget", "canvas"),
        ("CArmScene", "k3d", "scene"),
        ("CArmScene", "skimage", "scene"),
        ("Session", "greenlet", "reports"),
        ("RegistrationCockpit", "greenlet", "reports"),
        ("PoseState", "traitlets", "state"),
    ],
)
def test_a_missing_package_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch, name: str, package: str, home: str):
    for module in [module for module in sys.modules if module.startswith("xrcore.widgets.")]:
        monkeypatch.delitem(sys.modules, module)
    for module in [module for module in sys.modules if module == package or module.startswith(f"{package}.")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(XrcoreError, match=rf"{name} needs the package {package}.*xrcore\[notebooks\]") as error:
        getattr(xrcore.widgets, name)
    assert "\n" not in str(error.value)


def test_names_are_listed_and_others_are_not_there():
    assert set(xrcore.widgets.__all__) <= set(dir(xrcore.widgets))
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        xrcore.widgets.Nothing  # noqa: B018
    assert issubclass(PoseExplorer, ipw.VBox)
