"""What pointer, wheel and keys do to the pose."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from support.small_pelvis import CARM, OBLONG, POSE, gesture, volume

import xrcore as xr
from xrcore import CArm, Pose
from xrcore.widgets import PoseState
from xrcore.widgets.canvas import Canvas
from xrcore.widgets.gestures import PoseGestures, shift_pose, turn_pose

TILTED = Pose(rx=12.0, ry=-35.0, rz=8.0)


def at(pose: Pose, points: Any, carm: CArm = CARM) -> Any:
    """(row, col) of points in the world."""
    matrix = pose.camera_from_world(carm, volume().isocenter)[0]
    points = torch.as_tensor(points, dtype=torch.float64)
    return carm.project(points @ matrix[:3, :3].T + matrix[:3, 3])


def beside(*way: float) -> Any:
    """A point beside the isocentre, LPS [mm]."""
    return volume().isocenter + torch.tensor([way], dtype=torch.float64)


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
    moved = (at(shift_pose(pose, carm, *way), isocenter, carm) - at(pose, isocenter, carm))[0] / carm.shape[1]
    torch.testing.assert_close(moved, torch.tensor([way[1], way[0]], dtype=torch.float64), atol=1e-3, rtol=0)


def test_a_shift_moves_oblong_pixels_with_the_hand():
    carm = replace(CARM, shape=(64, 128), pixel_spacing=(6.75, 3.375))
    isocenter = volume().isocenter[None]
    row, col = (at(shift_pose(Pose.zero(), carm, 0.1, 0.05), isocenter, carm) - at(Pose.zero(), isocenter, carm))[0] / 128
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
        after = xr.render(thing, CARM, shift_pose(Pose.zero(), CARM, right / 64, down / 64))[0]
        same = torch.roll(before, (down, right), (0, 1))[10:-10, 10:-10]
        assert float((after[10:-10, 10:-10] - same).abs().max()) < 0.02 * float(before.max())
        assert float((after - before).abs().max()) > 0.5 * float(before.max())


def test_a_shift_turns_nothing():
    before, after = (p.world_from_camera(CARM, volume().isocenter)[0, :3, :3] for p in (POSE, shift_pose(POSE, CARM, 0.2, -0.1)))
    torch.testing.assert_close(after, before, atol=1e-9, rtol=0)


class Page:
    """A canvas with gestures on a state, which starts at `pose`."""

    def __init__(self, pose: Pose = TILTED) -> None:
        self.state = PoseState(volume(), CARM, pose=pose)
        self.canvas = Canvas("picture")
        self.homes = 0
        self.gestures = PoseGestures(self.canvas, self.state, self._home)

    def _home(self) -> None:
        self.homes += 1
        self.state.pose = Pose.zero()

    def __call__(self, **changes: Any) -> Pose:
        self.canvas.gesture = gesture(**changes)
        return self.state.pose


def close(one: Pose, other: Pose) -> bool:
    return torch.allclose(one.numbers, other.numbers, atol=1e-6, rtol=0)


def test_the_near_side_of_the_patient_follows_a_turning_hand():
    near = beside(0, -60, 0)  # in front, where the source of an AP view stands
    before = at(Pose.zero(), near)
    row, col = (at(Page(Pose.zero())(press=1, dx=0.1, turn=True), near) - before)[0]
    assert col > 1
    assert abs(row) < 1e-6
    row, col = (at(Page(Pose.zero())(press=1, dy=0.1, turn=True), near) - before)[0]
    assert row > 1
    assert abs(col) < 1e-6
    for name, row, col in (("Right", 0, 1), ("Left", 0, -1), ("Down", 1, 0), ("Up", -1, 0)):
        moved = (at(Page(Pose.zero())(keys={f"Shift+Arrow{name}": 3}), near) - before)[0]
        assert torch.equal(moved.round(decimals=3).sign(), torch.tensor([row, col], dtype=torch.float64)), name


def test_a_roll_to_the_right_turns_clockwise():
    """As a wheel turns whose upper rim is pulled to the right."""
    above = beside(0, 0, 60)
    _, col = (at(Page(Pose.zero())(press=1, dx=0.1, roll=True), above) - at(Pose.zero(), above))[0]
    assert col > 1


def test_keys_that_belong_together_are_opposites():
    for one, other in (("[", "]"), ("-", "+"), ("ArrowLeft", "ArrowRight"), ("ArrowUp", "ArrowDown"), ("Shift+ArrowUp", "Shift+ArrowDown")):
        page = Page()
        moved = page(keys={one: 2})
        assert not close(moved, TILTED)
        assert close(page(keys={one: 2, other: 2}), TILTED), one


def test_arrows_move_the_picture_their_way():
    isocenter = volume().isocenter[None]
    for name, row, col in (("Right", 0, 1), ("Left", 0, -1), ("Down", 1, 0), ("Up", -1, 0)):
        moved = (at(Page()(keys={f"Arrow{name}": 4}), isocenter) - at(TILTED, isocenter))[0]
        assert torch.equal(moved.round(decimals=3).sign(), torch.tensor([row, col], dtype=torch.float64)), name


def test_wheel_and_plus_agree_and_plus_brings_the_patient_nearer_to_the_source():
    assert close(Page()(wheel=-2), Page()(keys={"+": 2}))
    assert close(Page()(keys={"=": 1}), Page()(keys={"+": 1}))  # the same key without shift
    wide = [beside(-50, 0, 0), beside(50, 0, 0)]
    apart = [float((at(pose, wide[1]) - at(pose, wide[0])).norm()) for pose in (Pose.zero(), Page(Pose.zero())(keys={"+": 4}))]
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
        page = Page()
        for message in kept:
            last = page(**message)
        if kept is messages:
            everything = last
        assert close(last, everything)


def test_one_drag_follows_another():
    page = Page()
    page(press=1, dx=0.1)
    page(press=2, dx=0.05, dy=0.02)
    last = page(press=2, dx=0.03, dy=0.01)
    assert close(last, shift_pose(shift_pose(TILTED, CARM, 0.1, 0.0), CARM, 0.03, 0.01))


def test_a_drag_after_keys_begins_where_they_led():
    page = Page()
    page(press=1, dx=0.1)
    keyed = page(press=1, dx=0.1, keys={"]": 5})
    assert close(page(press=2, dx=0.04, keys={"]": 5}), shift_pose(keyed, CARM, 0.04, 0.0))
    page = Page()
    keyed = page(keys={"]": 5})
    assert close(page(press=1, dx=0.04, keys={"]": 5}), shift_pose(keyed, CARM, 0.04, 0.0))


def test_the_wheel_during_a_drag_is_not_undone_by_it():
    page = Page()
    page(press=1, dx=0.1)
    wheeled = page(press=1, dx=0.1, wheel=-4)
    after = page(press=1, dx=0.1001, wheel=-4)
    assert float((after.numbers - wheeled.numbers).abs().max()) < 1


def test_keys_and_then_a_drag_under_one_press():
    page = Page()
    page(press=1, wheel=0)
    page(press=1, keys={"]": 1})
    keyed = page(press=1, keys={"]": 3})
    assert close(keyed, turn_pose(TILTED, rz=-3.0))
    assert close(page(press=1, dx=0.1, keys={"]": 3}), shift_pose(keyed, CARM, 0.1, 0.0))


def test_a_drag_back_to_where_it_began_undoes_itself():
    page = Page()
    page(press=1, dx=0.1, dy=0.1)
    assert close(page(press=1), TILTED)
    assert close(page(press=1, dx=0.1), shift_pose(TILTED, CARM, 0.1, 0.0))


def test_a_press_alone_moves_nothing():
    page = Page()  # from a pose that a shift by nothing would round
    seen: list[Any] = []
    page.state.observe(seen.append, names="numbers")
    page(press=1)
    assert seen == []
    page(press=1, dx=0.1)
    page(press=2)
    assert len(seen) == 1


def test_a_drag_takes_up_the_pose_that_something_else_set():
    page = Page()
    page(press=1, dx=0.1)
    page.state.pose = Pose(ry=20.0)
    assert close(page(press=2, dx=0.1), shift_pose(Pose(ry=20.0), CARM, 0.1, 0.0))


def test_home_goes_home_once():
    page = Page()
    page(press=1, dx=0.1)
    assert page(press=1, dx=0.1, keys={"Home": 1}) == Pose.zero()
    assert page.homes == 1
    assert close(page(press=1, dx=0.1, keys={"Home": 1, "]": 1}), Pose(rz=-1.0))
    assert close(page(press=2, dx=0.1, keys={"Home": 1, "]": 1}), shift_pose(Pose(rz=-1.0), CARM, 0.1, 0.0))
    assert page.homes == 1
    assert page(press=2, dx=0.1, keys={"Home": 2, "]": 1}) == Pose.zero()


def test_unknown_keys_do_nothing():
    assert Page()(keys={"PageDown": 3}) == TILTED


def test_turned_adds_by_name():
    assert turn_pose(POSE, rx=1.0, tz=-2.0) == Pose(POSE.numbers + torch.tensor([1.0, 0, 0, 0, 0, -2.0], dtype=torch.float64))
    assert turn_pose(POSE) == POSE
