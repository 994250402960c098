"""Pulse: how fast the page really draws, so that it is never sent more than it can show."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import traitlets

_SHARE = 2.0  # as long as the page took, times this, belongs to the rest of the page
_PATIENCE = 3.0  # [s]: a page that has not answered by then is not open, or was closed


class Pulse(anywidget.AnyWidget):
    """Calls `act` at once, and again only after the page has drawn what it did and had time for other things: calls in between become one.

    Put it among a panel's rows; it shows nothing. Without it, a computer that draws 3D scenes slowly would be sent more of them than it
    can draw, and nothing else in the page would move.
    """

    _esm = Path(__file__).parent / "pulse.js"

    asked = traitlets.Int(0).tag(sync=True)
    answered = traitlets.Int(0).tag(sync=True)

    def __init__(self, act: Callable[[], None]) -> None:
        super().__init__()
        self.layout.display = "none"
        self._act = act
        self._since, self._due = -_PATIENCE, False
        self._timer: asyncio.TimerHandle | None = None
        self.observe(self._drawn, names="answered")

    def __call__(self) -> None:
        waiting = self._timer is not None or self.asked != self.answered
        left = self._since + _PATIENCE - time.monotonic()
        if not waiting or left <= 0:
            self._now()
            return
        self._due = True
        if self._timer is None:
            self._wait(left)

    def close(self) -> None:
        if "_timer" in self.__dict__:
            self._cancel()
        super().close()

    def _drawn(self, _: Any) -> None:
        self._wait(_SHARE * (time.monotonic() - self._since))

    def _wait(self, seconds: float) -> None:
        self._cancel()
        try:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._rested)
        except RuntimeError:  # no event loop, so nobody else to wait for
            self._rested()

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _rested(self) -> None:
        self._timer = None
        if self._due:
            self._now()

    def _now(self) -> None:
        self._due = False
        self._act()
        self._since = time.monotonic()
        self.asked += 1
