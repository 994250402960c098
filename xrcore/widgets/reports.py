"""A function that reports by callback, as an iterator: a long computation that can be left and taken up again, without a thread.

A notebook's kernel has one event loop. While a computation runs in it, no button is heard; between two of these reports one is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextvars import copy_context
from typing import Any, Generic, TypeVar

import torch
from greenlet import getcurrent, greenlet

Report = TypeVar("Report")
Result = TypeVar("Result")

_DONE = object()


class Reports(Generic[Report, Result]):
    """Iterate over what `work(report)` passes to `report`; afterwards `result` is what it returned.

    The work stands still between two reports. `close`, or the end of a `with` block, ends it where it stands, and its context managers
    exit; what it raises comes out of the iteration. Source of the idea: coroutines by greenlet, as SQLAlchemy bridges to asyncio.
    """

    result: Result

    def __init__(self, work: Callable[[Callable[[Report], None]], Result]) -> None:
        self._work = work
        self._outside = torch.is_grad_enabled()
        self._coroutine = greenlet(self._run)
        self._coroutine.gr_context = copy_context()

    def __iter__(self) -> Iterator[Report]:
        return self

    def __next__(self) -> Report:
        if self._coroutine.dead:
            raise StopIteration
        self._coroutine.parent = getcurrent()
        self._outside = torch.is_grad_enabled()
        report = self._coroutine.switch()
        if report is _DONE:
            raise StopIteration
        return report

    def close(self) -> None:
        """End the work where it stands."""
        if not self._coroutine.dead:
            self._coroutine.parent = getcurrent()
            self._coroutine.throw()  # GreenletExit, which nothing on the way catches

    def __enter__(self) -> Reports[Report, Result]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self) -> Any:
        try:
            self.result = self._work(self._report)
        except StopIteration as error:  # it would look like the end of the iteration
            raise RuntimeError("the work raised StopIteration") from error
        return _DONE

    def _report(self, report: Report) -> None:
        parent = self._coroutine.parent
        # whether gradients are recorded is a setting of the thread: whoever works meanwhile keeps their own
        with torch.set_grad_enabled(self._outside):
            parent.switch(report)
