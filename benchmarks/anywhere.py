"""Does `register(..., search="anywhere")` find an X-ray of which nothing is known: six patients, views from all around, X-rays as acquired?

Views are uniform in LAO/RAO over the whole circle, 40 deg cranial to 40 deg caudal, any roll, and 30 mm of shift along each axis. Nothing
tells the registration where to look. What the search does was chosen on patients 2 to 5; 1 and 6# were not looked at.

    python benchmarks/anywhere.py [--views 30] [--patients 1,6#] [--out results/anywhere]

It goes on where it was stopped: scratch/ beside OUT holds the cases until all are done. More views leave the first as they were.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

import pandas as pd
from common.patients import choose_patients
from common.report import RESULTS, out_path, publish, scratch_of

import xrcore as xr
from companion import experiments as ex
from companion.experiments.seeds import generator

TUNED_ON = ("2", "3", "4", "5")


@dataclass(frozen=True)
class ViewsAllAround(ex.TestSet):
    """Truths whose camera goes around the body by `rotation`'s second number, is inclined by the first, and rolls by the third [deg]."""

    rotation: tuple[float, float, float] = (40.0, 180.0, 180.0)

    def truth(self, patient: ex.Subject, case: int) -> xr.Pose:
        """The true pose of a case."""
        chance = generator("anywhere", self.seed, patient.number, case)
        draw = xr.Pose.random(rotation=self.rotation, translation=self.translation, generator=chance)
        rx, ry, rz, *shift = draw.numbers[0].tolist()
        turn = xr.Pose(ry=ry).matrix() @ xr.Pose(rx=rx).matrix() @ xr.Pose(rz=rz).matrix()
        numbers = xr.Pose.from_matrix(turn).numbers.clone()
        numbers[0, 3:] = numbers.new_tensor(shift)
        return xr.Pose(numbers)


def line(patient: str, chosen: str, cases: pd.DataFrame) -> dict[str, Any]:
    """One line of the table."""
    (row,) = ex.summary(cases, by=()).to_dict("records")
    return {
        "patient": patient,
        "chosen on it": chosen,
        "views": row["cases"],
        "SR %": round(row["success"], 1),
        "mTRE median mm": round(row["mtre_median_mm"], 3),
        "mTRE p95 mm": round(row["mtre_p95_mm"], 3),
        "trusted %": round(row["trusted"], 1),
        "failures trusted": row["failures_trusted"],
        "searches mean": round(float(cases["attempts"].mean()), 2),
        "seconds median": round(row["seconds_median"], 3),
        "seconds p95": round(float(cases["seconds"].quantile(0.95)), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--views", type=int, default=30)
    parser.add_argument("--patients", help="numbers, such as 1,6#; default all six")
    parser.add_argument("--out", type=out_path, default=RESULTS / "anywhere")
    args = parser.parse_args()
    method = ex.Method("anywhere", lambda xray, volume: xr.register(xray, volume, search="anywhere"), "anywhere")
    views = ViewsAllAround("all around", poses=args.views, seed=17)
    scratch = scratch_of(args.out)
    tables: list[pd.DataFrame] = []
    lines: list[dict[str, Any]] = []
    for patient in choose_patients(args.patients):
        every = ex.run([method], [patient], [views], scratch)
        tables.append(every[(every["patient"] == patient.number) & (every["case"] < args.views)])
        lines.append(line(f"{patient.number} {patient.name}", "yes" if patient.number in TUNED_ON else "no", tables[-1]))
        print("  ".join(f"{k} {v}" for k, v in lines[-1].items()), flush=True)
    cases = pd.concat(tables)
    lines.append(line("all", "", cases))
    publish(args.out, lines, rows=cases.to_dict("records"), digits=6, scratch=scratch)


if __name__ == "__main__":
    main()
