"""Accuracy from the zero pose without a network: six patients, poses uniform in the paper's ranges, two protocols.

acquired: the X-ray comes from a finer grid, another integrator, another spectrum, with noise, scatter, blur and a circular mask.
paper: noise-free, from the registration's own renderer and volume (the inverse crime, as the paper's simulated test does).

    python benchmarks/accuracy.py [--poses 50] [--patients 1,6#] [--out results/accuracy]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from patients import CARM, chosen
from tables import publish

import xrcore as xr

SPACING, FINE_SPACING = 2.0, 1.25  # [mm] of the registered CT and of the one that the acquired X-rays come from


def cases(patient, poses: int):
    """Per-case rows of both protocols."""
    volume, fine = patient.volume(SPACING), patient.volume(FINE_SPACING)
    landmarks = volume.surface_points(64)
    generator = torch.Generator().manual_seed(1000 + ord(patient.number[0]))
    truths = xr.Pose.random(poses, generator=generator)
    for i in range(poses):
        truth = truths[i]
        xrays = {
            "acquired": xr.simulate(fine, CARM, truth, seed=i),
            "paper": xr.Xray(image=xr.render(volume, CARM, truth)[0], carm=CARM),
        }
        for protocol, xray in xrays.items():
            result = xr.register(xray, volume)
            yield {
                "patient": patient.number,
                "protocol": protocol,
                "case": i,
                "start_mtre_mm": float(xr.metrics.mtre(xr.Pose.zero(), truth, landmarks, CARM, volume.isocenter)),
                "mtre_mm": float(xr.metrics.mtre(result.pose, truth, landmarks, CARM, volume.isocenter)),
                "mpd_mm": float(xr.metrics.mpd(result.pose, truth, landmarks, CARM, volume.isocenter)),
                "trusted": result.trusted,
                "attempts": result.attempts,
                "evaluations": result.evaluations,
                "seconds": result.seconds,
                **{
                    f"error_{n}": float(e)
                    for n, e in zip(("rx", "ry", "rz", "tx", "ty", "tz"), (result.pose.numbers - truth.numbers)[0], strict=True)
                },
                **{f"evidence_{k}": getattr(result.evidence, k) for k in ("zncc", "gradient", "local", "attainable", "disagreement")},
            }


def summary(rows: list[dict]) -> dict:
    """One line of the table."""
    mtre = np.array([r["mtre_mm"] for r in rows])
    trusted = np.array([r["trusted"] for r in rows])
    failed = mtre >= 10
    return {
        "cases": len(rows),
        "SR %": round(100 * float(np.mean(~failed)), 1),
        "mTRE median mm": round(float(np.median(mtre)), 3),
        "mTRE mean mm": round(float(mtre.mean()), 3),
        "mTRE p95 mm": round(float(np.percentile(mtre, 95)), 3),
        "mTRE max mm": round(float(mtre.max()), 2),
        "mPD median mm": round(float(np.median([r["mpd_mm"] for r in rows])), 3),
        "trusted %": round(100 * float(trusted.mean()), 1),
        "failures trusted": int((failed & trusted).sum()),
        "seconds median": round(float(np.median([r["seconds"] for r in rows])), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--poses", type=int, default=50)
    parser.add_argument("--patients", help="numbers, such as 1,6#; default all six")
    parser.add_argument("--out", type=Path, default=Path("results/accuracy"))
    args = parser.parse_args()
    rows: list[dict] = []
    table: list[dict] = []
    for patient in chosen(args.patients):
        rows += cases(patient, args.poses)
        for protocol in ("acquired", "paper"):
            mine = [r for r in rows if r["patient"] == patient.number and r["protocol"] == protocol]
            table.append({"protocol": protocol, "patient": f"{patient.number} {patient.name}", **summary(mine)})
            print("  ".join(f"{k} {v}" for k, v in table[-1].items()), flush=True)
    for protocol in ("acquired", "paper"):
        table.append({"protocol": protocol, "patient": "all", **summary([r for r in rows if r["protocol"] == protocol])})
    table.sort(key=lambda line: line["protocol"])
    publish(args.out, rows, table, digits=6)


if __name__ == "__main__":
    main()
