"""Read mutants of files under limits of time and memory, in a process of its own, so that also its death is seen and told."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LONGEST = 1800  # of a worker [s]
Mutation = Callable[[bytes, random.Random], bytes]


@dataclass(frozen=True)
class Found:
    """What a file said: two that are equal hold the same."""

    values: object
    geometry: object = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sample:
    """A file, how it is read, and how it is damaged; others that reading needs lie beside it.

    mutations: after which the file may say something else. contradictions: after which it contradicts itself or is incomplete, so that
    it is refused, remarked upon, or read as before.
    """

    path: Path
    read: Callable[[], Found]
    mutations: Sequence[Mutation]
    contradictions: Sequence[Mutation] = ()


@dataclass
class Report:
    """What became of the mutants, by sample and outcome; and what was wrong."""

    told: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """All outcomes: also what a file without a checksum cannot tell, as "other values" and "other geometry"."""
        total = sum(self.told.values(), Counter())
        return ", ".join(f"{number} {outcome}" for outcome, number in total.most_common())

    @property
    def count(self) -> int:
        return sum(sum(counts.values()) for counts in self.told.values())


def attack(samples: str, count: int, seed: int, only: str = "", keep: Path | None = None) -> Report:
    """Read `count` mutants of what `samples` (a module of this folder) makes of files whose name holds `only`.

    What was wrong with a mutant is in the report; the mutant then goes to the folder `keep`.
    """
    report = Report()
    first, died = 0, True
    while died:
        with tempfile.TemporaryDirectory() as folder:
            died, lines = _run(samples, folder, str(first), str(count), str(seed), only)
            for line in lines:
                report.told[line["sample"]][line["outcome"]] += 1
                if line["wrong"]:
                    report.wrong.append(f"{line['sample']} {line['mutant']}: {line['wrong']}")
                    if keep is not None:
                        shutil.copy(line["kept"], keep / f"{samples}-{line['mutant']}-{Path(line['path']).name}")
            first = lines[-1]["mutant"] + 1 if lines else 0
    return report


def _run(*arguments: str) -> tuple[bool, list[dict[str, Any]]]:
    """Whether the worker died, and what became of each mutant until then."""
    command = [sys.executable, "-X", "faulthandler", "-m", "support.mutants.worker", *arguments]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=LONGEST)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode:
        if not lines or "outcome" in lines[-1]:
            raise RuntimeError(f"the worker ended with {done.returncode} between two mutants: {done.stderr[-2000:]}")
        why = f"the process ended with {done.returncode}: {done.stderr[:2000]}"
        lines[-1] |= {"outcome": "died", "wrong": why, "kept": lines[-1]["path"]}
    return done.returncode != 0, [line for line in lines if "outcome" in line]
