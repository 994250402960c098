"""`xrcore bench --peers`, with its results where this repository keeps them: results/speed.json, results/speed.csv, figures/scaling.png.

pip install -e ".[peers]"
python benchmarks/speed.py
"""

from __future__ import annotations

import os
from pathlib import Path

from harness import run

ROOT = Path(__file__).parents[1]

if __name__ == "__main__":
    run(peers=True, out=ROOT / "results")
    (ROOT / "figures").mkdir(exist_ok=True)
    os.replace(ROOT / "results" / "scaling.png", ROOT / "figures" / "scaling.png")
