"""Throttle: a page is sent no more than it draws."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

pytest.importorskip("anywidget", reason="the widgets need the extra 'notebooks'")

from xrcore.widgets.throttle import Throttle


async def until(true: Callable[[], bool]) -> None:
    for _ in range(1000):
        if true():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it never came")


def test_calls_while_the_page_draws_become_one():
    calls: list[int] = []

    async def main() -> None:
        throttle = Throttle(lambda: calls.append(1))
        for _ in range(6):
            throttle()
        assert len(calls) == 1
        throttle.drawn = throttle.requested
        assert len(calls) == 1  # others have their turn first
        await until(lambda: len(calls) == 2)
        throttle.drawn = throttle.requested
        await asyncio.sleep(0.05)
        assert len(calls) == 2  # nothing new to show
        throttle()
        throttle()
        throttle.drawn = throttle.requested
        throttle.close()
        await asyncio.sleep(0.05)
        assert len(calls) == 3  # a closed one drops what is due

    asyncio.run(main())


def test_a_page_that_does_not_draw_is_not_waited_for():
    calls: list[int] = []

    async def main() -> None:
        throttle = Throttle(lambda: calls.append(1), timeout=0.05)
        throttle()
        throttle()
        await until(lambda: len(calls) == 2)
        throttle.close()

    asyncio.run(main())
