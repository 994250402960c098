"""What an iteration of the refinement puts into a GPU's queue, level by level: kernels of ours and operations of torch's.

Counted, not timed, and without a GPU: the kernels are not launched.

    pip install -c constraints.txt -e '.[gpu]'
    python benchmarks/gpu_launches.py [--out results/gpu_launches]
"""

# ruff: noqa: E402
from __future__ import annotations

import argparse
from pathlib import Path

from tables import needs_triton, publish

needs_triton()

from harness.gpu import queued

RESULTS = Path(__file__).parents[1] / "results" / "gpu_launches"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    rows = queued.table()
    publish(args.out, rows, rows, digits=0)


if __name__ == "__main__":
    main()
