"""What a hand on the picture does to the pose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from xrcore.geometry import CArm, Pose
from xrcore.geometry.pose import NAMES
from xrcore.widgets.canvas import Canvas
from xrcore.widgets.state import ViewState
from xrcore.widgets.watching import Watching

HINT = (
    "Drag: shift · Shift+drag: rotate · Alt+drag: roll · click, then wheel or + −: depth · "
    "arrows: shift · Shift+arrows: rotate · [ ]: roll · Home: reset"
)
_TURN = 90.0  # [deg] for a drag over the whole width
_NOTCH = 5.0  # [mm] of depth a notch of the wheel
# key -> change of the six numbers, but for shifts, which follow the picture
_KEYS = {
    "Shift+ArrowLeft": {"ry": -1.0},
    "Shift+ArrowRight": {"ry": 1.0},
    "Shift+ArrowUp": {"rx": 1.0},
    "Shift+ArrowDown": {"rx": -1.0},
    "[": {"rz": 1.0},
    "]": {"rz": -1.0},
    "-": {"tz": -_NOTCH},
    "+": {"tz": _NOTCH},
    "=": {"tz": _NOTCH},
}
_SHIFTS = {"ArrowLeft": (-1, 0), "ArrowRight": (1, 0), "ArrowUp": (0, -1), "ArrowDown": (0, 1)}
_KEY_SHIFT = 0.005  # of the image's width, about a millimetre at the isocentre


def shifted(pose: Pose, carm: CArm, dx: float, dy: float) -> Pose:
    """The pose whose picture is `pose`'s moved by (dx, dy), to the right and down, as shares of the image's width.

    Exact in the plane of the isocentre: the camera moves the other way, along its own axes.
    """
    depth = float(pose.camera_from_world(carm, torch.zeros(3))[0, 2, 3])  # of the isocentre, wherever it is [mm]
    down, right = (carm.shape[1] * step * depth / carm.source_to_detector for step in carm.spacing)  # of the width, in its plane [mm]
    twist = torch.tensor([[-dx * right, -dy * down, 0.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    return pose.moved(twist, carm)


def turned(pose: Pose, **change: float) -> Pose:
    """Numbers added by name, as a hand on a slider does."""
    numbers = pose.numbers.clone()
    for name, by in change.items():
        numbers[:, NAMES.index(name)] += by
    return Pose(numbers)


class PoseGestures(Watching):
    """Lets a canvas move a state's pose, while nothing else does. home: what the Home key does."""

    def __init__(self, canvas: Canvas, state: ViewState, home: Callable[[], None]) -> None:
        self._canvas, self._state, self._home = canvas, state, home
        self._press, self._held, self._from = 0, state.pose, (0.0, 0.0)
        self._wheel, self._keys = 0.0, dict[str, int]()
        self._ended = 0  # the drag that no longer counts
        canvas.observe(self._moved, names="gesture")
        self.watch(state, self._interrupted, "running")

    def _moved(self, change: Any) -> None:
        hand = change["new"]
        state = self._state
        pose = state.pose
        if hand["press"] != self._press:
            self._press, self._held, self._from = hand["press"], pose, (0.0, 0.0)
        if state.running:
            self._ended, self._wheel, self._keys = self._press, hand["wheel"], dict(hand["keys"])
            return
        before = change["old"] or {}
        if self._press != self._ended and (hand["press"], hand["dx"], hand["dy"]) != tuple(
            before.get(name, 0) for name in ("press", "dx", "dy")
        ):
            pose = self._dragged(hand)
        dragged = pose
        pose = turned(pose, tz=-_NOTCH * (hand["wheel"] - self._wheel))
        self._wheel = hand["wheel"]
        for name, count in hand["keys"].items():
            times = count - self._keys.get(name, 0)
            if not times:
                continue
            if name == "Home":
                self._keys = dict(hand["keys"])
                self._home()
                self._held, self._from = state.pose, (hand["dx"], hand["dy"])
                return
            if name in _SHIFTS:
                dx, dy = (_KEY_SHIFT * times * step for step in _SHIFTS[name])
                pose = shifted(pose, state.carm, dx, dy)
            else:
                pose = turned(pose, **{number: times * by for number, by in _KEYS.get(name, {}).items()})
        self._keys = dict(hand["keys"])
        if pose != dragged:  # the drag goes on from there
            self._held, self._from = pose, (hand["dx"], hand["dy"])
        state.pose = pose

    def _interrupted(self, _: Any) -> None:
        """A drag does not go on after a computation has moved the pose."""
        self._ended = self._press

    def _dragged(self, hand: dict[str, Any]) -> Pose:
        """From where the drag began, so that no message that was skipped on the way is missed."""
        dx, dy = hand["dx"] - self._from[0], hand["dy"] - self._from[1]
        if hand["turn"]:
            return turned(self._held, ry=_TURN * dx, rx=-_TURN * dy)
        if hand["roll"]:
            return turned(self._held, rz=-_TURN * dx)
        return shifted(self._held, self._state.carm, dx, dy)
