"""The README's section on the GPU, from results/gpu.json and, where they are, gpu_precision.json, gpu_kernel.json and gpu_launches.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness.gpu import DRY, missing, peer, registering, rendering, training
from harness.gpu.precision import HALVES, KERNEL

from xrcore._util.machine import gpu_in_words

# the others are in results/gpu.csv
SHOWN = (
    rendering.IMAGE, rendering.JACOBIAN, rendering.BATCH, rendering.BATCH_JACOBIAN, rendering.BATCH_CALL, rendering.MEMORY,
    peer.OURS, peer.THEIRS, peer.RATIO, peer.OURS_BOTH, peer.THEIRS_BOTH, peer.RATIO_BOTH, peer.DIFFERENCE,
    registering.WHOLE, registering.ERROR, registering.TRUSTED,
    training.LAPTOP, training.LAPTOP_SHARE, training.PAPER, training.PAPER_SHARE, training.PAPER_MEMORY, training.PAPER_MINUTES,
    *training.TRAINED_ROWS,
)  # fmt: skip
_HEAD = (
    "Kernel times are of CUDA events, medians over several poses in rotation; whole calls by the wall clock, until the GPU has finished."
)


def section(folder: Path) -> list[str]:
    """folder: results. Markdown, a line an entry."""
    times = json.loads((folder / "gpu.json").read_text())
    table = times["table"]
    if times.get("note") == DRY:
        raise SystemExit(f"{folder / 'gpu.json'}: of a dry run, whose figures mean nothing; run python benchmarks/gpu.py")
    empty = len(missing(table)) == len(table)
    lines = [f"**On a GPU** (`make gpu`, or `python benchmarks/gpu.py`). {_HEAD if empty else _machine(times['machine']) + ' ' + _HEAD}\n"]
    if empty:
        lines.append(
            "**Not measured**: no GPU was at hand, and none could be borrowed, so the rows are empty; nothing here is an estimate. `make gpu` on a machine "
            "with one runs the GPU's tests and fills them in, the last row with `GPU=--paper`.\n"
        )
    lines += ["| | median | aim | |", "|---|---:|---:|---|"]
    shown = {row.what for row in SHOWN}
    rows = [row for row in table if row["what"] in shown and (row["aim"] or not empty)]
    lines += [f"| {row['what']} | {_value(row)} | {_aim(row)} | {_remark(row)} |" for row in rows]
    return [*lines, "", *_precision(folder), *_counted(folder)]


def _machine(machine: dict[str, Any]) -> str:
    return f"Machine: {gpu_in_words(machine['gpu'])}; {machine['cpu']}, {machine['cores']} cores."


def _value(row: dict[str, Any]) -> str:
    if row["median"] is None:
        return ""
    value = row["median"]
    return f"{value:,.0f} {row['unit']}" if value >= 1000 else f"{value:.3g} {row['unit']}".strip()


def _aim(row: dict[str, Any]) -> str:
    if not row["aim"]:
        return ""
    return f"{row['aim']} {row['unit']}" + (", **missed**" if row["met"] is False else "")


def _remark(row: dict[str, Any]) -> str:
    return "; ".join(part for part in (row["how"], row["note"]) if part)


def _precision(folder: Path) -> list[str]:
    path = folder / "gpu_precision.json"
    if not path.exists():
        return []
    found = json.loads(path.read_text())
    if found.get("note") == DRY:
        raise SystemExit(f"{path}: of a dry run, whose figures mean nothing; run python benchmarks/gpu.py")
    pixels, voxels = max((row["pixels"], row["voxels"]) for row in found["table"])
    rows = {row["what"]: row for row in found["table"] if (row["pixels"], row["voxels"]) == (pixels, voxels)}
    kernel, halves = rows[KERNEL], rows[HALVES]
    return [
        f"**Precision**: 16-bit counts a material, float32 coordinates and sums. Against the reference in float64 ({pixels} x {pixels} pixels from {voxels}³, "
        f"{kernel['views']} views, two materials and the whole spectrum; norms, relative) the kernel's image differs by {kernel['image, relative']:.0e} and its "
        f"Jacobian by {kernel['Jacobian, relative']:.0e}; float16 densities alone would cost {halves['image, relative']:.0e} and "
        f"{halves['Jacobian, relative']:.0e}. {found.get('note', '')}".rstrip()
    ]


def _counted(folder: Path) -> list[str]:
    """What is known of the kernels without running them."""
    kernel, launches = folder / "gpu_kernel.json", folder / "gpu_launches.json"
    if not (kernel.exists() and launches.exists()):
        return []
    rows = {(row["for"], row["kernel"]): row for row in json.loads(kernel.read_text())["table"]}
    image, both = (rows["sm_90", f"image, 2 materials{more}"] for more in ("", ", Jacobian"))
    most, spilled = (max(row[name] for row in rows.values()) for name in ("registers", "spilled bytes"))
    levels = json.loads(launches.read_text())["table"]
    fewest, many = (extreme(row["in all"] for row in levels) for extreme in (min, max))
    plain = [extreme(row["in all, by torch's own"] for row in levels) for extreme in (min, max)]
    return [
        "",
        f"**Counted, not timed**: compiled for an H100 (`python benchmarks/kernel.py`) a slice of a ray costs {image['instructions a sample']:.0f} instructions, "
        f"its 4 reads and both materials included, and {both['instructions a sample']:.0f} with the Jacobian; no kernel needs more than {most} registers, or spills more than {spilled} bytes. An "
        f"iteration of the refinement asks the GPU for {fewest} to {many} operations, depending on the level (`python benchmarks/launches.py`); with the normal "
        f"equations left to torch's own operations it would be {plain[0]} to {plain[1]}.",
    ]
