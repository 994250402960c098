"""How many images per second does a training process, and how does each of its options change that?

Each row is a real training (rendering, domain randomisation, forward, backward, optimiser) with the settings of the laptop's profile but
for the option named, and the median time of its steps, the first ones left out. Rows are measured interleaved, so that a slow minute
of the machine affects all. Measured is CPU time, which other programs hardly touch: images per second of one core.
The wall clock is in the last column; `prefetch` shows only there, and is measured with two threads or more. "torch's layers" are
without this project's kernels and with the optimiser that passes over the weights several times, for comparison; what they gain by
`keep_freed_memory`, which cannot be undone within a process, is seen by running all with `--return-memory`.

A training that begins with small images has two speeds: its row is what the whole of it sees.

    python benchmarks/throughput.py [--steps 12] [--threads 1] [--patient 6#] [--only batch,prefetch] [--return-memory]
        [--out results/throughput]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any
from unittest.mock import patch

import torch
from common.patients import CARM, choose_patients
from common.report import RESULTS, out_path, publish

from xrcore import TrainingSettings, Volume
from xrcore.learning import profile
from xrcore.learning.training import training_steps
from xrcore.learning.training.kept_images import KeptImages
from xrcore.learning.training.schedule import Schedule
from xrcore.learning.training.stream import DrrStream

LAPTOP = profile("laptop").changed(validate_every=10**9, checkpoint_every=10**9, validation=1)
WARM_UP = 2  # steps: compiled, allocated
TORCH = "torch's layers"
OPTIONS: dict[str, dict[str, Any]] = {
    "profile laptop": {},
    "batch=8": {"batch": 8},
    "batch=32": {"batch": 32},
    "batch=64": {"batch": 64},
    "precision=float32": {"precision": "float32"},
    "prefetch=true": {"prefetch": True},
    "coarse_pixels=64": {"coarse_pixels": 64},
    "coarse_pixels=64 batch=32": {"coarse_pixels": 64, "batch": 32},
    TORCH: {},
    "acquired=false": {"acquired": False},
    "acquired=false set_size=16": {"acquired": False, "set_size": 16},
    f"{TORCH}, acquired=false": {"acquired": False},
    "clinical=true": {"clinical": True},
    "clinical=true normalisation=rank": {"clinical": True, "normalisation": "rank"},
    "pixels=64": {"pixels": 64},
    "pixels=96": {"pixels": 96},
    "pixels=192": {"pixels": 192},
    "pixels=256": {"pixels": 256},
}


@contextmanager
def torchs_layers() -> Iterator[None]:
    """Build and train networks, within the block, of torch's own layers alone."""
    with ExitStack() as stack:
        stack.enter_context(patch("xrcore.learning.networks.mobile_block.DepthwiseConvolution", lambda layer: layer))
        for module in ("mobile_block", "batch_norm"):
            stack.enter_context(patch(f"xrcore.learning.networks.{module}.takes_kernels", lambda x: False))
        for kind in ("Adam", "AdamW"):
            plain = getattr(torch.optim, kind)
            stack.enter_context(patch.object(torch.optim, kind, lambda groups, lr, fused, plain=plain: plain(groups, lr=lr, foreach=fused)))
        yield


class Case:
    """Run a training step by step, timing each step and the rendering of its batch alone."""

    def __init__(self, volume: Volume, settings: TrainingSettings, *, kernels: bool = True) -> None:
        self.settings, self.schedule = settings, Schedule(settings)
        self.stream = DrrStream(volume, CARM, settings, pixels=self.schedule.pixels(0))
        self.kept = KeptImages(self.stream, self.schedule)
        self.training = training_steps(volume, CARM, settings)
        self.kernels = kernels
        self.wall: list[float] = []
        self.whole: list[float] = []  # CPU time
        self.rendering: list[float] = []  # likewise

    def step(self) -> None:
        number = len(self.whole)
        with nullcontext() if self.kernels else torchs_layers():
            began, busy = time.perf_counter(), time.process_time()
            next(self.training)
            self.wall.append(time.perf_counter() - began)
            self.whole.append(time.process_time() - busy)
        busy = time.process_time()
        self.kept.render(self.stream.draw(self.schedule.samples(number), [number] * self.settings.batch))
        self.rendering.append(time.process_time() - busy)

    def seconds(self) -> tuple[float, ...]:
        """Seconds per image: CPU time in all, of rendering alone, and wall-clock time."""
        return tuple(statistics.median(times[WARM_UP:]) / self.settings.batch for times in (self.whole, self.rendering, self.wall))


def cases_of(volume: Volume, changes: dict[str, Any], *, kernels: bool) -> list[tuple[float, Case]]:
    """The phases of a training, each with its share of the images."""
    settings = LAPTOP.changed(**changes)
    if settings.coarse_pixels is None:
        return [(1.0, Case(volume, settings, kernels=kernels))]
    full = settings.changed(coarse_pixels=None)
    return [(settings.coarse_share, Case(volume, settings)), (1 - settings.coarse_share, Case(volume, full))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--patient", default="6#")
    parser.add_argument("--only", default="", help="words of the options to measure, beside the profile itself")
    parser.add_argument("--return-memory", action="store_true", help="let the C library return freed memory to the system")
    parser.add_argument("--out", type=out_path, default=RESULTS / "throughput")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.return_memory:
        patch("xrcore.learning.training.loop.keep_freed_memory").start()
    (patient,) = choose_patients(args.patient)
    volume = patient.volume(LAPTOP.spacing)
    words = args.only.split(",")
    wanted = {name: changes for name, changes in OPTIONS.items() if name == "profile laptop" or any(word in name for word in words)}
    if args.threads == 1:
        wanted.pop("prefetch=true", None)  # its thread would run into the turns of other rows
    trainings = {name: cases_of(volume, changes, kernels=TORCH not in name) for name, changes in wanted.items()}
    for _ in range(args.steps + WARM_UP):
        for phases in trainings.values():
            for _, case in phases:
                case.step()
    rows: list[dict[str, Any]] = []
    for name, phases in trainings.items():
        whole, rendering, wall = (sum(share * case.seconds()[i] for share, case in phases) for i in range(3))
        rows.append(
            {
                "option": name,
                "images / s and core": round(1 / whole, 1),
                "ratio": round(1 / whole / (rows[0]["images / s and core"] if rows else 1 / whole), 2),
                "rendering %": round(100 * rendering / whole, 1),
                "ms / image": round(1e3 * whole, 1),
                "rendering ms / image": round(1e3 * rendering, 2),
                "images / s by the wall clock": round(1 / wall, 1),
            }
        )
    publish(args.out, rows, digits=4)


if __name__ == "__main__":
    main()
