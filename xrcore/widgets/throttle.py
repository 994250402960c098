"""Throttle updates to the rate at which the page draws."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import traitlets

_PAUSE = 2.0  # times as long as the page took to draw: the rest of the page has its turn


class Throttle(anywidget.AnyWidget):
    """Call a function at once, and again only after the page has drawn the result; calls in between become one.

    It goes among a panel's rows and shows nothing. Without it, a computer that draws 3D scenes slowly would be sent more of them than
    it can draw, and nothing else in the page would move.

    Parameters
    ----------
    act : callable
        Called without arguments.
    timeout : float
        A page that has not drawn by then is not open, or was closed [s].
    """

    _esm = Path(__file__).parent / "throttle.js"

    requested = traitlets.Int(0).tag(sync=True)
    drawn = traitlets.Int(0).tag(sync=True)

    def __init__(self, act: Callable[[], None], *, timeout: float = 3.0) -> None:
        super().__init__()
        self.layout.display = "none"
        self._act = act
        self._timeout = timeout
        self._last, self._pending = -timeout, False
        self._timer: asyncio.TimerHandle | None = None
        self.observe(self._page_has_drawn, names="drawn")

    def __call__(self) -> None:
        """Call the function, now or as soon as the page can show it."""
        busy = self._timer is not None or self.requested != self.drawn
        left = self._last + self._timeout - time.monotonic()
        if not busy or left <= 0:
            self._run()
            return
        self._pending = True
        if self._timer is None:
            self._wait(left)

    def close(self) -> None:
        """Drop a call that is due, and close the widget."""
        if "_timer" in self.__dict__:
            self._cancel()
        super().close()

    def _page_has_drawn(self, _: Any) -> None:
        self._wait(_PAUSE * (time.monotonic() - self._last))

    def _wait(self, seconds: float) -> None:
        self._cancel()
        try:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._run_pending)
        except RuntimeError:  # no event loop, so nobody else to wait for
            self._run_pending()

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _run_pending(self) -> None:
        self._timer = None
        if self._pending:
            self._run()

    def _run(self) -> None:
        self._pending = False
        self._act()
        self._last = time.monotonic()
        self.requested += 1
