"""How fast are renders (beside nanodrr), registrations and training steps on a GPU?

Where torch sees no CUDA GPU the table is written with empty rows, never an estimate; a table that holds figures of a GPU is not
overwritten by an empty one.

    pip install -e '.[gpu,peers]'      # Triton, where torch's build did not bring it; nanodrr
    python benchmarks/gpu.py [--paper] [--out results/gpu]
    python benchmarks/gpu.py --dry     # every line once, on the CPU, in Triton's interpreter; nothing is kept
"""

# ruff: noqa: E402
from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

GPU = torch.cuda.is_available()
if "--dry" in sys.argv or not GPU:
    os.environ.setdefault("TRITON_INTERPRET", "1")  # before the kernels are imported

from common.report import MACHINE, RESULTS, out_path, publish, say
from common.rows import Figure, Row, as_table, missing
from gpu_parts import beside_nanodrr, registration, rendering, training
from gpu_parts.clock import Clock, CudaClock
from gpu_parts.scene import Scene
from gpu_parts.sizes import FULL, TINY, Sizes

from xrcore import utilities

NO_GPU = "no GPU: not measured"
DRY = "dry run on the CPU: the figure means nothing"
NOT_ASKED = "not run (--paper)"


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of the benchmark: its rows, and a function that yields their figures."""

    name: str
    rows: tuple[Row, ...]
    measure: Callable[[Clock, Scene], Iterator[tuple[Row, Figure]]]


PARTS = (
    Part(name="rendering", rows=rendering.ROWS, measure=rendering.measure),
    Part(name="beside nanodrr", rows=beside_nanodrr.ROWS, measure=beside_nanodrr.measure),
    Part(name="registering", rows=registration.ROWS, measure=registration.measure),
    Part(name="training steps", rows=training.ROWS, measure=training.measure),
)
PAPER = Part(name="training the paper's profile", rows=training.TRAINED_ROWS, measure=training.train_paper_profile)


def measure_parts(clock: Clock | None, sizes: Sizes, *, parts: tuple[Part, ...] = PARTS, paper: bool = False) -> list[dict[str, Any]]:
    """The table; a part that fails leaves a note in its rows, and the others are measured.

    clock: None where there is no GPU: all rows are empty. paper: train its profile, too.
    """
    found: dict[str, Figure] = {}
    notes: dict[str, str] = {} if paper or clock is None else {row.what: NOT_ASKED for row in PAPER.rows}
    if clock is not None:
        scene = Scene(sizes)
        for part in (*parts, PAPER) if paper else parts:
            say(part.name)
            note = _guarded(part, clock, scene, found)
            if note:
                say(f"{part.name}: {note}")
            notes |= {row.what: note or "left out by its part" for row in part.rows if row.what not in found}
            clock.free()  # not before the error, whose traceback holds what was allocated, is gone
    rows = [row for part in (*parts, PAPER) for row in part.rows]
    return as_table(rows, found, notes, dry=DRY if clock is not None and clock.dry else "")


def _guarded(part: Part, clock: Clock, scene: Scene, found: dict[str, Figure]) -> str:
    """Measure a part into `found`; returns why it stopped early, or an empty text."""
    try:
        for row, figure in part.measure(clock, scene):
            found[row.what] = figure
    except Exception as error:
        first = next(iter(str(error).splitlines()), "")
        return f"{type(error).__name__}: {first}"
    return ""


def holds_figures(out: Path) -> bool:
    """Whether OUT.json is a table with any figure in it."""
    try:
        table = utilities.read_json(out.with_suffix(".json"))["table"]
        return len(missing(table)) < len(table)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dry", action="store_true")
    parser.add_argument("--paper", action="store_true", help="train the paper's profile, too")
    parser.add_argument("--out", type=out_path, help="default results/gpu, and nowhere for a dry run")
    args = parser.parse_args()
    if GPU and not args.dry and os.environ.get("TRITON_INTERPRET") == "1":
        sys.exit("TRITON_INTERPRET=1 is set, so the kernels would not run on the GPU; unset it")
    out = args.out or (None if args.dry else RESULTS / "gpu")
    print(utilities.machine_text(MACHINE))
    clock = Clock() if args.dry else CudaClock() if GPU else None
    table = measure_parts(clock, TINY if args.dry else FULL, paper=args.paper or args.dry)
    if clock is None and out is not None and holds_figures(out):
        say(f"{NO_GPU}; {out.with_suffix('.json')} holds figures of a GPU and is left as it is")
        out = None
    publish(out, table, note=DRY if args.dry else "" if GPU else NO_GPU)
    if clock is not None and (empty := missing(table)):
        say(f"{len(empty)} of {len(table)} rows are empty; their notes say why")


if __name__ == "__main__":
    main()
