"""Six sliders that show and change a pose."""

from __future__ import annotations

from collections import deque
from typing import Any

import ipywidgets as ipw

from xrcore.geometry.pose import NAMES
from xrcore.widgets.observer import Observer
from xrcore.widgets.state import PoseState

# name -> what it means, half-width of the slider
_SLIDERS = {
    "rx": ("head / feet", 90.0),
    "ry": ("left / right", 180.0),
    "rz": ("roll", 180.0),
    "tx": ("left", 150.0),
    "ty": ("feet", 150.0),
    "tz": ("depth", 150.0),
}
_STEP = 0.1  # [deg] or [mm] of a press of an arrow key
# Browsers round what they are sent to the slider's step, and may send that back, late and in this order: a value within half a step of
# one that the slider was sent before is an echo, and nobody moved it.
_SAME = 0.501 * _STEP


class PoseSliders(Observer, ipw.VBox):
    """Show and change the pose of a state; a number beyond its slider widens the slider.

    Sliders have the CSS classes `xr-rx` to `xr-tz`; they move with the mouse, and with the arrow keys once focused.

    Parameters
    ----------
    state : PoseState
        Whose pose is shown and changed.
    """

    def __init__(self, state: PoseState) -> None:
        self._state = state
        self._sent: dict[str, deque[float]] = {name: deque(maxlen=64) for name in NAMES}
        self._sending = False
        self.sliders = {name: self._slider(name) for name in NAMES}
        rows = [ipw.HBox([self.sliders[name], ipw.HTML(f'<span style="color:#666">{_SLIDERS[name][0]}</span>')]) for name in NAMES]
        super().__init__(rows)
        self._show()
        for slider in self.sliders.values():
            slider.observe(self._slid, names="value")
        self.observe_until_closed(state, self._show, "numbers")

    def _slider(self, name: str) -> ipw.FloatSlider:
        _, reach = _SLIDERS[name]
        slider = ipw.FloatSlider(
            description=f"{name} [{'deg' if name[0] == 'r' else 'mm'}]",
            min=-reach,
            max=reach,
            step=_STEP,
            readout_format=".1f",
            continuous_update=True,
            style={"description_width": "62px"},
            layout=ipw.Layout(width="300px"),
        )
        return slider.add_class(f"xr-{name}")

    def _slid(self, change: Any) -> None:
        name = next(name for name, slider in self.sliders.items() if slider is change["owner"])
        number, sent = self._state.numbers[NAMES.index(name)], self._sent[name]
        if self._sending:
            return
        if abs(change["new"] - number) <= _SAME:
            sent.clear()  # it has caught up
            return
        echo = next((value for value in sent if abs(change["new"] - value) <= _SAME), None)
        if echo is not None:
            while sent.popleft() != echo:
                pass
        if echo is not None or self._state.running:
            self._send(name, number)
        else:
            sent.clear()
            self._state.set(**{name: change["new"]})

    def _show(self, _: Any = None) -> None:
        for (name, slider), number in zip(self.sliders.items(), self._state.numbers, strict=True):
            value = round(number, 3)
            reach = max(abs(value), _SLIDERS[name][1])
            if reach > slider.max:
                slider.min, slider.max = -reach, reach
            # the slider that is being dragged must not be sent back to where it was a moment ago, not by a rounding error either
            if abs(slider.value - value) > 1e-6:
                self._send(name, value)

    def _send(self, name: str, value: float) -> None:
        self._sent[name].append(value)
        self._sending = True
        self.sliders[name].value = round(value, 3)
        self._sending = False
