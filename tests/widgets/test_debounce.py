"""DebouncedDrawing: drafts while the input changes, the full picture once it rests."""

from __future__ import annotations

import asyncio
import time

import pytest

pytest.importorskip("traitlets", reason="the widgets need the extra 'notebooks'")

from xrcore.widgets.debounce import BUDGET, DebouncedDrawing

SLOW = 1.5 * BUDGET


class Drawing:
    """Notes what was asked for; a full picture takes so many seconds."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.frames = seconds, list[str]()

    def __call__(self, draft: bool) -> None:
        self.frames.append("draft" if draft else "full")
        if not draft:
            time.sleep(self.seconds)


def test_without_an_event_loop_all_is_full():
    drawing = Drawing(SLOW)
    redraw = DebouncedDrawing(drawing)
    for _ in range(4):
        redraw()
    assert drawing.frames == ["full"] * 4


def test_what_is_quick_is_full_at_once():
    drawing = Drawing(0.0)

    async def main() -> None:
        redraw = DebouncedDrawing(drawing)
        for _ in range(4):
            redraw()
            await asyncio.sleep(0)
        await asyncio.sleep(0.3)

    asyncio.run(main())
    assert drawing.frames == ["full"] * 4


def test_what_is_slow_is_a_draft_while_it_moves_and_full_once_when_it_rests():
    drawing = Drawing(4 * SLOW)

    async def main() -> None:
        redraw = DebouncedDrawing(drawing)
        for _ in range(5):
            redraw()
            await asyncio.sleep(0)
        moving = drawing.frames.copy()
        assert moving[-3:] == ["draft"] * 3
        await asyncio.sleep(0.5)
        assert drawing.frames == [*moving, "full"]
        redraw()
        redraw.cancel()
        await asyncio.sleep(0.3)
        assert drawing.frames == [*moving, "full", "draft"]

    asyncio.run(main())


def test_one_slow_first_frame_is_forgiven():
    """The first compiles."""
    drawing = Drawing(20 * BUDGET)

    async def main() -> None:
        redraw = DebouncedDrawing(drawing)
        redraw()
        drawing.seconds = 0.0
        redraw()
        await asyncio.sleep(0.3)
        redraw()
        assert drawing.frames == ["full", "draft", "full", "full"]

    asyncio.run(main())
