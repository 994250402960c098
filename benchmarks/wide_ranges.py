"""How well are poses far beyond the paper's ranges found: +-30 deg cranial/caudal, +-45 deg LAO/RAO, +-30 deg roll, +-90 mm?

Four ways to the same 60 cases: the default search (made for the paper's ranges), a search over the whole of the wider box, the network
alone, and registration from its prediction.

    python benchmarks/wide_ranges.py [--poses 60] [--patient 6#] [--models models] [--out results/wide_ranges]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from common.patients import choose_patients
from common.report import RESULTS, out_path, publish, scratch_of

import xrcore as xr
from companion import experiments as ex

ROTATION, TRANSLATION = (30.0, 45.0, 30.0), (90.0, 90.0, 90.0)
BOX = xr.SearchBox(rotation=ROTATION, translation=TRANSLATION, candidates=1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--poses", type=int, default=60)
    parser.add_argument("--patient", default="6#")
    parser.add_argument("--models", type=Path, default=RESULTS.parent / "models")
    parser.add_argument("--out", type=out_path, default=RESULTS / "wide_ranges")
    args = parser.parse_args()
    (patient,) = choose_patients(args.patient)
    model = xr.PoseRegressor.load(args.models / f"{patient.name}-wide")
    methods = {
        "search of the default box": ex.search("search"),
        "search of the wide box, 1024 starts": ex.search("wide search", search=BOX),
        "network alone": ex.prediction(model, "network"),
        "network, then registration": ex.registration(model, "network start"),
    }
    tests = ex.TestSet("wide", poses=args.poses, seed=45, rotation=ROTATION, translation=TRANSLATION)
    scratch = scratch_of(args.out)
    table = ex.run(methods.values(), [patient], [tests], scratch)
    table = table[(table["patient"] == patient.number) & (table["case"] < args.poses)]
    lines = []
    for label, method in methods.items():
        part = table[table["method"] == method.name]
        failed = ~(part["mtre_mm"] < 10)
        trusted = part["trusted"].fillna(False).astype(bool)
        lines.append(
            {
                "": label,
                "cases": len(part),
                "SR %": round(xr.metrics.success_rate(part["mtre_mm"].to_numpy()), 1),
                "mTRE median mm": round(float(part["mtre_mm"].median()), 3),
                "mTRE p90 mm": round(float(part["mtre_mm"].quantile(0.9)), 2),
                "trusted %": round(100 * float(trusted.mean()), 1),
                "failures trusted": int((failed & trusted).sum()),
                "seconds median": round(float(part["seconds"].median()), 3),
                "seconds p90": round(float(part["seconds"].quantile(0.9)), 3),
            }
        )
    publish(args.out, lines, rows=table.to_dict("records"), digits=5, scratch=scratch)


if __name__ == "__main__":
    main()
