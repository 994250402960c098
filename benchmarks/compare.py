"""Compare speed and accuracy of two checkouts, alternating between them.

Both register the same X-rays, which the checkout before simulates. Each ratio is a median over rounds in which both run, so that
a busy spell of the machine affects both.

    python benchmarks/compare.py BEFORE [AFTER] [--rounds 7] [--patients 1,3,6#] [--poses 20] [--out results/compare]

BEFORE, AFTER: roots of checkouts; AFTER is this one by default.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from common.patients import choose_patients
from common.report import RESULTS, out_path, publish, say

TASKS = ("render", "render_with_jacobian", "render, forward and backward", "register", "refine", "register, two views", "train, 8 steps")
SHORT = 5  # repeats in a round, of tasks of less than 0.2 s


class Checkout:
    """A process that runs one checkout's code."""

    def __init__(self, root: Path, shared: Path) -> None:
        paths = os.environ | {"PYTHONPATH": str(root.resolve())}
        command = [sys.executable, str(Path(__file__).parent / "common" / "compare_worker.py"), str(shared)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=paths, cwd=shared)
        imported = Path(self.ask("where")["package"])
        if root.resolve() not in imported.parents:
            raise SystemExit(f"compare.py: {root}: holds no xrcore/; give the folder of a checkout")

    def ask(self, task: str, **given: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"task": task, **given}) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"compare.py: {task} failed; the message of its checkout stands above")
        found: dict[str, Any] = json.loads(answer)
        return found

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def speeds(before: Checkout, after: Checkout, rounds: int) -> list[dict[str, Any]]:
    """One row per task and repeat."""
    rows = []
    for task in TASKS:
        say(task)
        both = (before, after)
        quick = max(checkout.ask(task)["seconds"] for checkout in both) < 2.0 and max(c.ask(task)["seconds"] for c in both) < 0.2
        for repeat in range(rounds * (SHORT if quick else 1)):
            order = both if repeat % 2 else both[::-1]
            seconds = {checkout: checkout.ask(task)["seconds"] for checkout in order}
            rows.append({"what": task, "repeat": repeat, "before": seconds[before], "after": seconds[after]})
    return rows


def accuracies(before: Checkout, after: Checkout, numbers: str, poses: int) -> list[dict[str, Any]]:
    """One row per patient and X-ray as acquired, registered from the zero pose."""
    rows = []
    for patient in choose_patients(numbers):
        say(f"patient {patient.number}")
        given = {"number": patient.number, "file": str(patient.file.resolve()), "options": patient.options}
        truths = before.ask("prepare_patient", **given, poses=poses)["truths"]
        for checkout in (before, after):
            checkout.ask("load_patient", **given)
            checkout.ask("register_case", number=patient.number, case=0, truth=truths[0])  # packs and compiles
        for case, truth in enumerate(truths):
            both = (before, after) if case % 2 else (after, before)
            found = {checkout: checkout.ask("register_case", number=patient.number, case=case, truth=truth) for checkout in both}
            row: dict[str, Any] = {"what": f"patient {patient.number}", "repeat": case}
            for name, of in (("before", found[before]), ("after", found[after])):
                row |= {name: of["mtre_mm"], f"{name} trusted": of["trusted"], f"{name} seconds": of["seconds"]}
            rows.append(row)
    return rows


def summary(times: list[dict[str, Any]], errors: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Medians of both checkouts, the median of the ratios, and for errors also the largest."""
    table = []
    for what in dict.fromkeys(row["what"] for row in times):
        pairs = [(1e3 * row["before"], 1e3 * row["after"]) for row in times if row["what"] == what]
        table.append(line(what, "ms", pairs))
    for what in dict.fromkeys(row["what"] for row in errors):
        rows = [row for row in errors if row["what"] == what]
        pairs = [(row["before"], row["after"]) for row in rows]
        table.append(line(f"{what}: median mTRE", "mm", pairs))
        table.append(line(f"{what}: largest mTRE", "mm", [tuple(map(max, zip(*pairs, strict=True)))]))  # type: ignore[list-item]
        for verb in ("success", "trusted"):
            counted = [
                100 * statistics.mean(row[name] < 10 if verb == "success" else row[f"{name} trusted"] for row in rows)
                for name in ("before", "after")
            ]
            table.append(line(f"{what}: {verb}", "%", [(counted[0], counted[1])]))
        table.append(line(f"{what}: register", "ms", [(1e3 * row["before seconds"], 1e3 * row["after seconds"]) for row in rows]))
    return table


def line(what: str, unit: str, pairs: list[tuple[float, float]]) -> dict[str, Any]:
    before, after = (float(f"{statistics.median(values):.4g}") for values in zip(*pairs, strict=True))
    ratio = statistics.median(b / a for a, b in pairs) if all(a for a, _ in pairs) else None
    return {
        "what": what,
        "unit": unit,
        "before": before,
        "after": after,
        "after / before": ratio and round(ratio, 3),
        "repeats": len(pairs),
    }


def differences(shared: Path) -> str:
    """Largest difference of images and Jacobians between the checkouts, relative to the largest value."""
    with np.load(shared / "before.npz") as one, np.load(shared / "after.npz") as other:
        apart = {name: float(np.abs(one[name] - other[name]).max() / np.abs(one[name]).max()) for name in ("image", "jacobian")}
    return f"Largest difference of three views, of the largest value: images {apart['image']:.1e}, Jacobians {apart['jacobian']:.1e}."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path, nargs="?", default=Path(__file__).parents[1])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--patients", default="1,3,6#", help="numbers; '' for none")
    parser.add_argument("--poses", type=int, default=20)
    parser.add_argument("--out", type=out_path, default=RESULTS / "compare")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="xrcore-compare-") as folder:
        shared = Path(folder)
        before, after = Checkout(args.before, shared), Checkout(args.after, shared)
        before.ask("prepare")
        before.ask("images", name="before")
        after.ask("images", name="after")
        times = speeds(before, after, args.rounds)
        errors = accuracies(before, after, args.patients, args.poses) if args.patients else []
        note = differences(shared)
        for checkout in (before, after):
            checkout.close()
    columns: dict[str, None] = dict.fromkeys(name for row in [*times, *errors] for name in row)
    publish(args.out, summary(times, errors), rows=[dict.fromkeys(columns) | row for row in [*times, *errors]], note=note)


if __name__ == "__main__":
    main()
