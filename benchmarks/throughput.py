"""How many images a second does a training see on this machine, and what share of its time is rendering, by batch and image size?

Each figure is the median over steps of a real training (rendering, domain randomisation, forward, backward, optimiser), the first
steps left out; rows are visited in turns, so that a slow minute of the machine hits all alike. "plain" has torch's own backward
pass of depthwise convolutions, for comparison.

    python benchmarks/throughput.py [--steps 12] [--patient 6#] [--out results/throughput]
"""

from __future__ import annotations

import argparse
import statistics
import time
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import patch

import torch
from patients import CARM, chosen
from report import RESULTS, publish

from xrcore._util.threads import single_torch_thread
from xrcore.learning.methods import method_named
from xrcore.learning.training import profile
from xrcore.learning.training.optimisation import half_precision
from xrcore.learning.training.stream import DrrStream

CASES = [
    {"pixels": 128, "batch": 8},
    {"pixels": 128, "batch": 16},
    {"pixels": 128, "batch": 32},
    {"pixels": 96, "batch": 16},
    {"pixels": 192, "batch": 16},
    {"pixels": 256, "batch": 16},
]


class Case:
    """A training reduced to its step."""

    def __init__(self, volume, pixels: int, batch: int, acquired: bool, quick: bool) -> None:
        self.label = {
            "pixels": pixels,
            "batch": batch,
            "protocol": "acquired" if acquired else "paper",
            "backward": "ours" if quick else "torch",
        }
        self.settings = profile("laptop").changed(pixels=pixels, batch=batch, acquired=acquired)
        self.stream = DrrStream(volume, CARM, self.settings)
        self.method = method_named("psss")(self.settings)
        with patch("xrcore.learning.networks.blocks.quicken", lambda network: network) if not quick else nullcontext():
            self.network = self.method.network().train()
        self.optimiser = torch.optim.AdamW(self.network.parameters(), lr=1e-3, foreach=True)
        self.half = half_precision("auto", torch.device("cpu"))
        self.rendering: list[float] = []
        self.whole: list[float] = []
        self.steps = 0

    def step(self) -> None:
        began = time.perf_counter()
        first = self.steps * self.settings.batch
        with single_torch_thread():
            batch = self.stream.batch([(0, first + i) for i in range(self.settings.batch)])
        rendered = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=self.half):
            loss, _ = self.method.loss(self.network, batch, 0.0)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.steps += 1
        if self.steps > 2:  # compiled, allocated
            self.rendering.append(rendered - began)
            self.whole.append(time.perf_counter() - began)

    def row(self) -> dict:
        whole, rendering = statistics.median(self.whole), statistics.median(self.rendering)
        return self.label | {
            "images / s": round(self.settings.batch / whole, 1),
            "rendering %": round(100 * rendering / whole, 1),
            "ms / image": round(1e3 * whole / self.settings.batch, 1),
            "rendering ms / image": round(1e3 * rendering / self.settings.batch, 2),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--patient", default="6#")
    parser.add_argument("--out", type=Path, default=RESULTS / "throughput")
    args = parser.parse_args()
    (patient,) = chosen(args.patient)
    volume = patient.volume(profile("laptop").spacing)
    cases = [Case(volume, **case, acquired=True, quick=True) for case in CASES]
    cases += [Case(volume, 128, 16, acquired=False, quick=True), Case(volume, 128, 16, acquired=True, quick=False)]
    for _ in range(args.steps + 2):
        for case in cases:
            case.step()
    rows = [case.row() for case in cases]
    publish(args.out, rows, digits=4)


if __name__ == "__main__":
    main()
