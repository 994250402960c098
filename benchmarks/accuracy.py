"""How exact is a registration from the zero pose without a network: six patients, poses uniform in the paper's ranges, two protocols?

acquired: the X-ray comes from a finer grid, another integrator, another spectrum, with noise, scatter, blur and a circular mask.
paper: noise-free, from the registration's own renderer and volume (the inverse crime, as the paper's simulated test does).

    python benchmarks/accuracy.py [--poses 50] [--patients 1,6#] [--out results/accuracy]
"""

from __future__ import annotations

import argparse
from typing import Any

import pandas as pd
from common.patients import choose_patients
from common.report import RESULTS, out_path, publish

from companion.experiments import TestSet, run, search, summary


def line(protocol: str, patient: str, cases: pd.DataFrame) -> dict[str, Any]:
    """One line of the table."""
    (row,) = summary(cases, by=()).to_dict("records")
    return {
        "protocol": protocol,
        "patient": patient,
        "cases": row["cases"],
        "SR %": round(row["success"], 1),
        "mTRE median mm": round(row["mtre_median_mm"], 3),
        "mTRE mean mm": round(row["mtre_mean_mm"], 3),
        "mTRE p95 mm": round(row["mtre_p95_mm"], 3),
        "mTRE max mm": round(row["mtre_max_mm"], 2),
        "mPD median mm": round(row["mpd_median_mm"], 3),
        "trusted %": round(row["trusted"], 1),
        "failures trusted": row["failures_trusted"],
        "seconds median": round(row["seconds_median"], 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--poses", type=int, default=50)
    parser.add_argument("--patients", help="numbers, such as 1,6#; default all six")
    parser.add_argument("--out", type=out_path, default=RESULTS / "accuracy")
    args = parser.parse_args()
    sets = [TestSet(protocol, protocol=protocol, poses=args.poses) for protocol in ("acquired", "paper")]
    tables: list[pd.DataFrame] = []
    lines: list[dict[str, Any]] = []
    for patient in choose_patients(args.patients):
        tables.append(run([search()], [patient], sets))
        for protocol, cases in tables[-1].groupby("protocol"):
            lines.append(line(str(protocol), f"{patient.number} {patient.name}", cases))
            print("  ".join(f"{k} {v}" for k, v in lines[-1].items()), flush=True)
    every = pd.concat(tables)
    lines += [line(str(protocol), "all", cases) for protocol, cases in every.groupby("protocol")]
    lines.sort(key=lambda row: row["protocol"])
    publish(args.out, lines, rows=every.to_dict("records"), digits=6)


if __name__ == "__main__":
    main()
