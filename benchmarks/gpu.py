"""The GPU path: times on a GPU, and precision anywhere.

Where torch sees no CUDA GPU, the table of times is written with empty rows (never an estimate), and the kernel's precision is found in
Triton's interpreter, at small sizes. A table that holds figures of a GPU is not overwritten by an empty one.

    pip install -e '.[gpu,peers]'      # Triton, where torch's build did not bring it; nanodrr
    python benchmarks/gpu.py [--paper] [--only times|precision] [--out results/gpu]
    python benchmarks/gpu.py --dry     # every line once, on the CPU, in Triton's interpreter; nothing is kept
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

import torch

GPU = torch.cuda.is_available()
if "--dry" in sys.argv or not GPU:
    os.environ.setdefault("TRITON_INTERPRET", "1")  # before the kernels are imported

from harness import gpu  # noqa: E402
from tables import publish  # noqa: E402

from xrcore._util import machine  # noqa: E402
from xrcore._util.devices import triton_installed  # noqa: E402

RESULTS = Path(__file__).parents[1] / "results" / "gpu"
INTERPRETED = (
    "The kernel ran in Triton's interpreter on the CPU: rounding as on a GPU, but for fused multiply-adds, exponentials and logarithms."
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dry", action="store_true")
    parser.add_argument("--paper", action="store_true", help="train the paper's profile, too")
    parser.add_argument("--only", choices=("times", "precision"))
    parser.add_argument("--out", type=Path, help=f"default {RESULTS.parent.name}/{RESULTS.name}, and nowhere for a dry run")
    args = parser.parse_args()
    if GPU and not args.dry and os.environ.get("TRITON_INTERPRET") == "1":
        sys.exit("TRITON_INTERPRET=1 is set, so the kernels would not run on the GPU; unset it")
    out = args.out or (None if args.dry else RESULTS)
    print(machine.machine_text(machine.describe_machine()))
    if args.only != "precision":
        times(out, dry=args.dry, paper=args.paper)
    if args.only != "times":
        precision(out, dry=args.dry)


def times(out: Path | None, *, dry: bool, paper: bool) -> None:
    clock = gpu.Pretended() if dry else gpu.CudaClock() if GPU else None
    note = gpu.DRY if dry else "" if GPU else gpu.NO_GPU
    table = gpu.measured(clock, gpu.TINY if dry else gpu.FULL, paper=paper or dry, say=say)
    if clock is None and out is not None and holds_figures(out):
        say(f"{gpu.NO_GPU}; {out.with_suffix('.json')} holds figures of a GPU and is left as it is")
        out = None
    publish(out, table, table, digits=6, note=note)
    if clock is not None and (missing := gpu.missing(table)):
        say(f"{len(missing)} of {len(table)} rows are empty; their notes say why")


def precision(out: Path | None, *, dry: bool) -> None:
    if not triton_installed():
        say("precision: Triton is not installed (pip install -e '.[gpu]'): not measured")
        return
    compiled = GPU and not dry
    sizes = [(8, 16)] if dry else [(16, 32), (16, 48), (32, 64)]
    say("precision")
    device = torch.device("cuda" if compiled else "cpu")
    table = gpu.precision(sizes + ([(256, 256)] if compiled else []), device, body=8.0 if dry else 3.0)
    where = out and out.with_name(f"{out.name}_precision")
    publish(where, table, table, digits=12, note=gpu.DRY if dry else "" if compiled else INTERPRETED)


def holds_figures(out: Path) -> bool:
    """Whether OUT.json is a table with any figure in it."""
    try:
        table = json.loads(out.with_suffix(".json").read_text())["table"]
        return len(gpu.missing(table)) < len(table)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def say(text: str) -> None:
    print(f"... {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
