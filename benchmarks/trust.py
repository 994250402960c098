"""How reliable are confidence and `trusted`: on correct poses, wrong local optima and other patients' X-rays?

right: registered from the zero pose. wrong optimum: one descent from a start far off, kept if it ends more than 10 mm away.
other patient: the full registration, retries included, of an X-ray of the next patient: nothing it finds is right.

    python benchmarks/trust.py [--cases 12] [--patients 1,6#] [--out results/trust]
"""

from __future__ import annotations

import argparse
from dataclasses import fields

import numpy as np
import torch
from common.patients import CARM, PATIENTS, choose_patients
from common.report import RESULTS, out_path, publish

import xrcore as xr
from xrcore.registration.refinement import refine
from xrcore.registration.result import Evidence
from xrcore.registration.verify import confidence, failed_checks, gather_evidence

FAR = torch.tensor([30.0, 30.0, 20.0, 60.0, 60.0, 60.0], dtype=torch.float64)
FIELDS = tuple(field.name for field in fields(Evidence) if field.name not in ("placement", "view"))


def cases(patient, count: int):
    """Per-case rows."""
    volume, fine = patient.volume(2.0), patient.volume(1.25)
    number = [p.number for p in PATIENTS].index(patient.number)
    stranger = PATIENTS[(number + 1) % len(PATIENTS)].volume(1.25)
    landmarks = volume.surface_points(64)
    generator = torch.Generator().manual_seed(77 + number)
    beam = xr.Beam()
    for i in range(count):
        truth = xr.Pose.random(1, generator=generator)
        settings = xr.Acquisition.random(generator, mask="circle", inverted=False)
        xray = xr.simulate(fine, CARM, truth, settings=settings, seed=i)

        def row(kind: str, pose: xr.Pose, evidence, truth=truth) -> dict:
            error = float(xr.metrics.mtre(pose, truth, landmarks, CARM, volume.isocenter))
            return {
                "patient": patient.number,
                "kind": kind,
                "mtre_mm": error,
                **{f: getattr(evidence, f) for f in FIELDS},
                "confidence": confidence(evidence),
                "trusted": not failed_checks(evidence),
            }

        result = xr.register(xray, volume)
        yield row(
            "right" if float(xr.metrics.mtre(result.pose, truth, landmarks, CARM, volume.isocenter)) < 10 else "failed",
            result.pose,
            result.evidence,
        )
        for _ in range(3):
            start = xr.Pose(truth.numbers + (2 * torch.rand(1, 6, generator=generator, dtype=torch.float64) - 1) * FAR)
            pose = refine(xray, volume, start).pose
            if float(xr.metrics.mtre(pose, truth, landmarks, CARM, volume.isocenter)) > 10:
                evidence, _, _ = gather_evidence(xray, volume, pose, beam)
                yield row("wrong optimum", pose, evidence)
        strange = xr.simulate(stranger, CARM, truth, settings=settings, seed=i)
        result = xr.register(strange, volume)
        yield row("other patient", result.pose, result.evidence)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=12)
    parser.add_argument("--patients")
    parser.add_argument("--out", type=out_path, default=RESULTS / "trust")
    args = parser.parse_args()
    rows = []
    for patient in choose_patients(args.patients):
        rows += cases(patient, args.cases)
        print(f"patient {patient.number} {patient.name}: {len(rows)} rows", flush=True)
    table = []
    for kind in ("right", "failed", "wrong optimum", "other patient"):
        mine = [r for r in rows if r["kind"] == kind]
        if mine:
            spread = {f: " / ".join(f"{v:.3g}" for v in np.percentile([r[f] for r in mine], (0, 50, 100))) for f in (*FIELDS, "confidence")}
            table.append({"kind": kind, "cases": len(mine), "trusted": sum(r["trusted"] for r in mine), **spread})
    publish(args.out, table, rows=rows, digits=5)
    print("evidence and confidence: least / median / largest")


if __name__ == "__main__":
    main()
