"""Map pointer and key events on the picture to pose changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from xrcore.geometry import CArm, Pose
from xrcore.geometry.pose import NAMES
from xrcore.widgets.canvas import Canvas
from xrcore.widgets.observer import Observer
from xrcore.widgets.state import PoseState

HINT = (
    "Drag: shift · Shift+drag: rotate · Alt+drag: roll · click, then wheel or + −: depth · "
    "arrows: shift · Shift+arrows: rotate · [ ]: roll · Home: reset"
)
_TURN = 90.0  # [deg] for a drag over the whole width
_NOTCH = 5.0  # [mm] of depth a notch of the wheel
# key -> change of the six numbers; shifts follow the picture instead
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


def shift_pose(pose: Pose, carm: CArm, dx: float, dy: float) -> Pose:
    """Move a pose so that its picture moves, exact in the plane of the isocentre: the camera moves the other way, along its own axes.

    Parameters
    ----------
    pose : Pose
        One pose.
    carm : CArm
        The C-arm that takes the picture.
    dx, dy : float
        Way of the picture to the right and down, as shares of its width.

    Returns
    -------
    Pose
        The moved pose.
    """
    depth = float(pose.camera_from_world(carm, torch.zeros(3))[0, 2, 3])  # of the isocentre, wherever it is [mm]
    down, right = (carm.shape[1] * step for step in carm.spacing_at(depth))  # of the width, in its plane [mm]
    twist = torch.tensor([[-dx * right, -dy * down, 0.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    return pose.moved(twist, carm)


def turn_pose(pose: Pose, **change: float) -> Pose:
    """Add to the numbers of a pose by name, as sliders do.

    Parameters
    ----------
    pose : Pose
        One pose or a batch.
    **change : float
        What is added to rx, ry, rz [deg], tx, ty, tz [mm].

    Returns
    -------
    Pose
        The changed pose.
    """
    numbers = pose.numbers.clone()
    for name, by in change.items():
        numbers[:, NAMES.index(name)] += by
    return Pose(numbers)


class PoseGestures(Observer):
    """Let a canvas change a state's pose, unless a computation does.

    Parameters
    ----------
    canvas : Canvas
        Whose gestures count.
    state : PoseState
        Whose pose changes.
    home : callable
        What the Home key does.
    """

    def __init__(self, canvas: Canvas, state: PoseState, home: Callable[[], None]) -> None:
        self._canvas, self._state, self._home = canvas, state, home
        self._press, self._drag_pose, self._drag_from = 0, state.pose, (0.0, 0.0)
        self._wheel, self._keys = 0.0, dict[str, int]()
        self._ended = 0  # number of the drag that no longer counts
        canvas.observe(self._moved, names="gesture")
        self.observe_until_closed(state, self._interrupted, "running")

    def _moved(self, change: Any) -> None:
        gesture = change["new"]
        state = self._state
        pose = state.pose
        before = change["old"] or {}
        if gesture["press"] != self._press:
            self._press, self._drag_pose, self._drag_from = gesture["press"], pose, (0.0, 0.0)
            before = {}  # a press alone moves nothing, not by a rounding error either
        if state.running:
            self._ended, self._wheel, self._keys = self._press, gesture["wheel"], dict(gesture["keys"])
            return
        if self._press != self._ended and any(gesture[name] != before.get(name, 0) for name in ("dx", "dy")):
            pose = self._dragged(gesture)
        dragged = pose
        pose = turn_pose(pose, tz=-_NOTCH * (gesture["wheel"] - self._wheel))
        self._wheel = gesture["wheel"]
        for name, count in gesture["keys"].items():
            times = count - self._keys.get(name, 0)
            if not times:
                continue
            if name == "Home":
                self._keys = dict(gesture["keys"])
                self._home()
                self._drag_pose, self._drag_from = state.pose, (gesture["dx"], gesture["dy"])
                return
            if name in _SHIFTS:
                dx, dy = (_KEY_SHIFT * times * step for step in _SHIFTS[name])
                pose = shift_pose(pose, state.carm, dx, dy)
            else:
                pose = turn_pose(pose, **{number: times * by for number, by in _KEYS.get(name, {}).items()})
        self._keys = dict(gesture["keys"])
        if pose != dragged:  # the drag goes on from there
            self._drag_pose, self._drag_from = pose, (gesture["dx"], gesture["dy"])
        state.pose = pose

    def _interrupted(self, _: Any) -> None:
        """End a drag when a computation has moved the pose."""
        self._ended = self._press

    def _dragged(self, gesture: dict[str, Any]) -> Pose:
        """Move the pose by the whole drag so far, so that skipped messages do not matter."""
        dx, dy = gesture["dx"] - self._drag_from[0], gesture["dy"] - self._drag_from[1]
        if gesture["turn"]:
            return turn_pose(self._drag_pose, ry=_TURN * dx, rx=-_TURN * dy)
        if gesture["roll"]:
            return turn_pose(self._drag_pose, rz=-_TURN * dx)
        return shift_pose(self._drag_pose, self._state.carm, dx, dy)
