"""How exact is a trained network alone on X-rays that xrcore did not make: processed, occluded, collimated, noisy?

The scenes and conditions of robustness.py, from a simulator that shares no code with xrcore; the network's prediction is not refined.
Trainings with `clinical` draw changes of the same kinds with code and ranges of their own, but for CLAHE, motion blur and a histogram
equalised, which none draws.

    python benchmarks/network_conditions.py [--cases 24] [--patients 1,6#] [--models models] [--kinds acquired,clinical] [--out FILE]
"""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from common.image_conditions import CONDITIONS
from common.patients import CARM, choose_patients
from common.report import RESULTS, out_path, publish, say
from network import folder_of
from robustness import NUMBERS, body, landmarks, scene

import xrcore as xr

SUCCESS = 10.0  # [mm] of mTRE
ALL = "all conditions"
NEVER_DRAWN = ("CLAHE", "motion blur", "histogram equalised")


def rows(number: str, models: Mapping[str, xr.PoseRegressor], cases: int) -> list[dict[str, Any]]:
    """The error of each network on each condition of each case."""
    found = []
    for case in range(cases):
        seen, truth = scene(number, case)
        for name, condition in CONDITIONS.items():
            xray = condition(seen, np.random.default_rng([NUMBERS.index(number), case, zlib.crc32(name.encode())]))
            for kind, model in models.items():
                pose = model.predict(xray)
                error = xr.metrics.mtre(pose, truth, landmarks(number), CARM, body(number).isocenter)
                off = xr.metrics.pose_error(pose, truth)[0].tolist()
                numbers = dict(zip(("rx", "ry", "rz", "tx", "ty", "tz"), off, strict=True))
                what = {"patient": number, "model": kind, "condition": name, "case": case}
                found.append(what | {"mtre_mm": float(error), **numbers})
    return found


def line(name: str, cases: pd.DataFrame) -> dict[str, Any]:
    """One line of the table."""
    errors = cases["mtre_mm"]
    return {
        "what was done to the image": name,
        "cases": len(cases),
        "SR %": round(100 * float((errors < SUCCESS).mean()), 1),
        "mTRE mean mm": round(float(errors.mean()), 2),
        "mTRE median mm": round(float(errors.median()), 2),
        "depth median mm": round(float(cases["tz"].abs().median()), 2),
        "over 20 mm %": round(100 * float((errors > 2 * SUCCESS).mean()), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=24, help="of each condition and patient")
    parser.add_argument("--patients", default="1,6#")
    parser.add_argument("--models", type=Path, default=RESULTS.parent / "models")
    parser.add_argument("--kinds", default="acquired,clinical", help="of the models, as in models/README.md")
    parser.add_argument("--out", type=out_path, default=RESULTS / "network_conditions")
    args = parser.parse_args()
    torch.set_num_threads(1)
    table: list[dict[str, Any]] = []
    for patient in choose_patients(args.patients):
        say(f"patient {patient.number}")
        models = {kind: xr.PoseRegressor.load(folder_of(args.models, patient.name, kind)) for kind in args.kinds.split(",")}
        table += rows(patient.number, models, args.cases)
    cases = pd.DataFrame(table)
    undrawn = f"of these {', '.join(NEVER_DRAWN)}: no training draws them"
    lines = [
        {"patient": number, "model": kind} | line(str(name), part)
        for (number, kind), whole in cases.groupby(["patient", "model"], sort=False)
        for name, part in [*whole.groupby("condition", sort=False), (ALL, whole), (undrawn, whole[whole["condition"].isin(NEVER_DRAWN)])]
    ]
    publish(args.out, lines, rows=table, digits=4)


if __name__ == "__main__":
    main()
