"""How benchmarks show and keep what they measured."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

from xrcore._util.devices import triton_installed
from xrcore._util.machine import describe


def needs_triton() -> None:
    """End here, with a line that says why, where Triton is not installed."""
    if not triton_installed():
        raise SystemExit(f"{Path(sys.argv[0]).name}: Triton is not installed; pip install -c constraints.txt -e '.[gpu]'")


def publish(out: Path | None, rows: list[dict[str, Any]], table: list[dict[str, Any]], *, digits: int, note: str = "") -> None:
    """Print `table` as Markdown; with OUT, write every case to OUT.csv, floats rounded, and table and machine to OUT.json.

    None is an empty cell. note: a line under the table, and in OUT.json.
    """
    print("\n| " + " | ".join(table[0]) + " |\n|" + "---|" * len(table[0]))
    for line in table:
        print("| " + " | ".join("" if v is None else str(v) for v in line.values()) + " |")
    if note:
        print(f"\n{note}")
    if out is None:
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    with open(out.with_suffix(".csv"), "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows({k: round(v, digits) if isinstance(v, float) else v for k, v in row.items()} for row in rows)
    kept = {"machine": describe()} | ({"note": note} if note else {}) | {"table": table}
    out.with_suffix(".json").write_text(json.dumps(kept, indent=1) + "\n")
