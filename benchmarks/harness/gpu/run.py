"""All parts of the benchmark, each guarded: one that fails leaves a note in its rows, and the others are measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from harness.gpu import peer, registering, rendering, training
from harness.gpu.clock import Clock
from harness.gpu.rows import Figure, Row, as_table
from harness.gpu.scene import Scene
from harness.gpu.sizes import Sizes

NOT_ASKED = "not run (--paper)"


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of the benchmark: yields its rows' figures as it finds them."""

    name: str
    rows: tuple[Row, ...]
    measure: Callable[[Clock, Scene], Iterator[tuple[Row, Figure]]]


PARTS = (
    Part(name="rendering", rows=rendering.ROWS, measure=rendering.measure),
    Part(name="beside nanodrr", rows=peer.ROWS, measure=peer.measure),
    Part(name="registering", rows=registering.ROWS, measure=registering.measure),
    Part(name="training steps", rows=training.ROWS, measure=training.measure),
)
PAPER = Part(name="training the paper's profile", rows=training.TRAINED_ROWS, measure=training.trained)


def measured(
    clock: Clock | None, sizes: Sizes, *, paper: bool = False, say: Callable[[str], None] = lambda _: None
) -> list[dict[str, Any]]:
    """The table. clock: None where there is no GPU: all rows are empty. paper: train its profile, too."""
    found: dict[str, Figure] = {}
    notes: dict[str, str] = {} if paper or clock is None else {row.what: NOT_ASKED for row in PAPER.rows}
    if clock is not None:
        scene = Scene(sizes)
        for part in (*PARTS, PAPER) if paper else PARTS:
            say(part.name)
            note = _guarded(part, clock, scene, found)
            if note:
                say(f"{part.name}: {note}")
            notes |= {row.what: note or "left out by its part" for row in part.rows if row.what not in found}
            clock.free()  # not before the error, whose traceback holds what was allocated, is gone
    return as_table([row for part in (*PARTS, PAPER) for row in part.rows], found, notes, dry=clock is not None and clock.pretended)


def _guarded(part: Part, clock: Clock, scene: Scene, found: dict[str, Figure]) -> str:
    """Measure a part into `found`; why it stopped early, or nothing."""
    try:
        for row, figure in part.measure(clock, scene):
            found[row.what] = figure
    except Exception as error:
        first = next(iter(str(error).splitlines()), "")
        return f"{type(error).__name__}: {first}"
    return ""
