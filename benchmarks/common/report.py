"""Print a table of figures as Markdown, and keep it in results/NAME.json and results/NAME.csv with the machine that it belongs to."""

from __future__ import annotations

import argparse
import csv
import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xrcore import XrcoreError
from xrcore.utilities import atomic_file, check_writable, describe_machine, triton_installed

RESULTS = Path(__file__).parents[2] / "results"
MACHINE = describe_machine()  # when a script starts, so that its load is that of other programs


def out_path(text: str) -> Path:
    """Type of an option such as --out: a path that can be written to, with .csv and .json too; checked before anything is measured."""
    path = Path(text)
    try:
        check_writable(path.parent, *(path.with_suffix(suffix).name for suffix in {".csv", ".json", path.suffix} - {""}))
    except XrcoreError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return path


def publish(
    out: Path | None,
    table: Sequence[Mapping[str, Any]],
    *,
    rows: Sequence[Mapping[str, Any]] | None = None,
    digits: int = 6,
    note: str = "",
    scratch: Path | None = None,
) -> None:
    """Print `table`, and write it to OUT.json and its rows, or the cases `rows` that it sums up, to OUT.csv.

    None is an empty cell, as is in the JSON what is not finite; floats of the CSV are rounded to `digits` decimals. note: a line under the
    table, and in OUT.json. scratch: rows that an interrupted run goes on with, removed at last: the next may be of other code.
    """
    if not table:
        sys.exit("nothing was measured: are the data there? `xrcore data list` tells")
    print("\n| " + " | ".join(table[0]) + " |\n|" + "---|" * len(table[0]))
    for line in table:
        print("| " + " | ".join("" if v is None else str(v) for v in line.values()) + " |")
    if note:
        print(f"\n{note}")
    if out is None:
        return
    rows = rows or table
    with atomic_file(out.with_suffix(".csv")) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows({k: round(v, digits) if isinstance(v, float) else v for k, v in row.items()} for row in rows)
    lines = [{k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in line.items()} for line in table]
    kept = {"machine": MACHINE} | ({"note": note} if note else {}) | {"table": lines}
    with atomic_file(out.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(kept, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    if scratch is not None:
        scratch.unlink()


def scratch_of(out: Path) -> Path:
    """Where the rows of a run grow, beside its results."""
    return out.parent / "scratch" / f"{out.name}.csv"


def say(text: str) -> None:
    """Print on stderr what is measured now."""
    print(f"... {text}", file=sys.stderr, flush=True)


def needs_triton() -> None:
    """End here, with a line that says why, where Triton is not installed."""
    if not triton_installed():
        raise SystemExit(f"{Path(sys.argv[0]).name}: Triton is not installed; pip install -c constraints.txt -e '.[gpu]'")
