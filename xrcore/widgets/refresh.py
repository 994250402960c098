"""A draft while the hand moves, the real thing when it rests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

BUDGET = 0.05  # [s] a frame may take and still follow a hand at more than ten a second
_REST = 0.2  # [s] without a change before the sharp picture is drawn


class Refresher:
    """Calls `draw(draft)` so that frames keep within BUDGET: drafts where the sharp picture was too slow, and it once things rest.

    Without a running event loop, as in a script, every picture is sharp.
    """

    def __init__(self, draw: Callable[[bool], None]) -> None:
        self._draw = draw
        self._sharp_seconds = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def __call__(self) -> None:
        self.cancel()
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            loop = None
        if loop is None or self._sharp_seconds < BUDGET:
            self._now(draft=False)
        else:
            self._now(draft=True)
            self._timer = loop.call_later(_REST, self._sharpen)

    def cancel(self) -> None:
        """Forget the sharp picture that is due."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _sharpen(self) -> None:
        self._timer = None
        self._now(draft=False)

    def _now(self, draft: bool) -> None:
        began = time.perf_counter()
        self._draw(draft)
        seconds = time.perf_counter() - began
        if not draft:
            # a first frame that compiled or packed says nothing about the next: trust the faster of it and the running mean
            self._sharp_seconds = min(seconds, 0.5 * (self._sharp_seconds + seconds))
