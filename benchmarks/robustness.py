"""Is a registration right, and does it know, on images that xrcore did not make: processed, occluded, changed, or not what they say?

X-rays come from a simulator that shares no code with xrcore (common/independent_simulator.py), then go through what happens to images
elsewhere (common/image_conditions.py). The verdict was set on patients 1, 3 and 4 and the conditions of SET_ON, and on phantoms 0 and 1;
the rest is reported on. Scenes are kept in build/robustness.

    python benchmarks/robustness.py [--cases 4] [--patients 1,6#] [--jobs 2] [--out results/robustness]
"""

from __future__ import annotations

import argparse
import zlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import SimpleITK as sitk
import torch
from common.image_conditions import ALL, CONDITIONS, SET_ON, SET_ON_PATIENTS, UNSEEN, UNSEEN_PATIENTS, Scene, counts_said
from common.independent_simulator import Scan, area_densities, read_image
from common.patients import CARM, PATIENTS, choose_patients
from common.report import RESULTS, out_path, publish, say

import xrcore as xr
from xrcore.geometry.rigid import apply
from xrcore.registration import shrink
from xrcore.utilities import atomic_file

BUILD = Path(__file__).parents[1] / "build" / "robustness"
NUMBERS = [patient.number for patient in PATIENTS]
SMALL = (16, 24, 32, 48, 64, 96)  # pixels
RIGHT = 10.0  # [mm] of mTRE
ELLIPSOID = 12.592  # 95 % of chi squared with six degrees of freedom
OTHER = "X-ray of another patient"
ALIKE = "X-ray of an alike body"  # a phantom that differs from the CT's in its seed alone
PHANTOMS = range(2, 6)  # CTs, others than those that the verdict was set on; each has X-rays of the others among SEEDS
SEEDS = range(10)
BONE_ONLY = "CT of bone only"
_BONE = 250  # [HU] above which a label map keeps a voxel


def scene(number: str, case: int) -> tuple[Scene, xr.Pose]:
    """A patient seen from a random pose of the paper's ranges."""
    generator = torch.Generator().manual_seed(1000 * NUMBERS.index(number) + case)
    pose = xr.Pose.random(1, generator=generator)
    file = BUILD / f"{number}-{case}.npz"
    if not file.exists():
        (patient,) = choose_patients(number)
        scan = Scan.read(patient.file, patient.options.get("background"))
        changed = scan.with_changed_tissue(np.random.default_rng([NUMBERS.index(number), case]))
        numbers = pose.numbers[0].double().numpy()
        with atomic_file(file) as temporary, temporary.open("wb") as stream:
            np.savez_compressed(stream, area=area_densities(scan, CARM, numbers), changed=area_densities(changed, CARM, numbers))
    with np.load(file) as held:
        return Scene(held["area"], held["changed"], CARM), pose


@lru_cache
def body(number: str) -> xr.Volume:
    """The CT as it is registered."""
    (patient,) = choose_patients(number)
    return patient.volume(2.0)


@lru_cache
def landmarks(number: str) -> torch.Tensor:
    """Points on its surface."""
    return body(number).surface_points(64)


@lru_cache
def bones(number: str) -> xr.Volume:
    """The CT of which a threshold keeps the bone, with contrast medium and metal if there are any; the X-rays show all of it."""
    (patient,) = choose_patients(number)
    image = read_image(patient.file)
    return xr.read_ct(
        patient.file, labels=sitk.BinaryMorphologicalClosing(image > _BONE, (2, 2, 2)), keep=[1], spacing=2.0, **patient.options
    )


def row(number: str, condition: str, case: int, xray: xr.Xray, volume: xr.Volume, truth: xr.Pose | None) -> dict[str, Any]:
    """Register, and compare with the truth; without one nothing is right."""
    result = xr.register(xray, volume)
    error, drawn, distance = float("inf"), float("inf"), None
    if truth is not None:
        marks = landmarks(number)
        error = float(xr.metrics.mtre(result.pose, truth, marks, CARM, volume.isocenter))
        there, here = (apply(pose.camera_from_world(CARM, volume.isocenter), marks)[0] for pose in (truth, result.pose))
        drawn = float(((here[:, :2] / here[:, 2:] - there[:, :2] / there[:, 2:]) * there[:, 2:]).norm(dim=1).mean())
        if error < RIGHT and result.covariance is not None and torch.isfinite(result.covariance).all():
            off = (result.pose.numbers - truth.numbers)[0].double()
            distance = float(off @ torch.linalg.solve(result.covariance.double(), off))
    assert result.evidence is not None
    return {
        "patient": number,
        "condition": condition,
        "case": case,
        "mtre_mm": error,
        "drawn_mm": drawn,
        "trusted": result.trusted,
        "confidence": result.confidence,
        "distance": distance,
        **{name: value for name, value in vars(result.evidence).items() if name not in ("placement", "view")},
        "attempts": result.attempts,
        "seconds": result.seconds,
    }


def rows(number: str, cases: int) -> list[dict[str, Any]]:
    """All conditions of one patient; runs in a process of its own."""
    torch.set_num_threads(1)
    return list(_rows(number, cases))


def _rows(number: str, cases: int) -> Iterator[dict[str, Any]]:
    index = NUMBERS.index(number)
    for case in range(cases):
        seen, truth = scene(number, case)
        whole = body(number)
        for name, condition in CONDITIONS.items():
            yield row(number, name, case, condition(seen, np.random.default_rng([index, case, zlib.crc32(name.encode())])), whole, truth)
        other, _ = scene(NUMBERS[(index + 1 + case % (len(NUMBERS) - 1)) % len(NUMBERS)], case)
        for name, condition in list(CONDITIONS.items())[case :: len(CONDITIONS) // 3]:
            yield row(number, OTHER, case, condition(other, np.random.default_rng([index, case, zlib.crc32(name.encode())])), whole, None)
        plain = counts_said(seen, np.random.default_rng([index, case]))
        yield row(number, BONE_ONLY, case, plain, bones(number), truth)
        for pixels in SMALL:
            yield row(number, f"{pixels} pixels", case, shrink(plain, pixels), whole, truth)


@lru_cache
def phantom(seed: int) -> xr.Volume:
    """The built-in patient of a seed."""
    return xr.phantom.pelvis(seed, spacing=2.0)


def alike_rows(seed: int) -> list[dict[str, Any]]:
    """X-rays of phantoms that differ from the CT's in their seed alone; runs in a process of its own."""
    torch.set_num_threads(1)
    found = []
    for other in SEEDS:
        if other != seed:
            pose = xr.Pose.random(1, generator=torch.Generator().manual_seed(100 * other))
            xray = xr.simulate(phantom(other), CARM, pose, seed=other)
            found.append(row(f"phantom {seed}", ALIKE, other, xray, phantom(seed), None))
    return found


def line(name: str, cases: pd.DataFrame) -> dict[str, Any]:
    """One line of the table."""
    right = cases["mtre_mm"] < RIGHT
    trusted = cases["trusted"].astype(bool)
    within = cases["distance"].dropna() < ELLIPSOID
    return {
        "what was done to the image": name,
        "cases": len(cases),
        "SR %": round(100 * right.mean(), 1),
        "median mTRE mm": round(float(cases.loc[right, "mtre_mm"].median()), 2) if right.any() else None,
        "median drawn mm": round(float(cases.loc[right, "drawn_mm"].median()), 2) if right.any() else None,
        "trusted, of the right %": round(100 * trusted[right].mean(), 1) if right.any() else None,
        "trusted and wrong": int((trusted & ~right).sum()),
        "mean confidence": round(float(cases["confidence"].mean()), 3),
        "truth within 95 % ellipsoid, %": round(100 * within.mean(), 1) if len(within) else None,
        "seconds": round(float(cases["seconds"].median()), 2),
    }


def reliability(cases: pd.DataFrame) -> str:
    """The Brier score, and per bin of confidence how many landmarks are drawn within 2 mm."""
    good = cases["drawn_mm"] < 2
    brier = float(((cases["confidence"] - good) ** 2).mean())
    bins = pd.cut(cases["confidence"], [0, 0.2, 0.4, 0.6, 0.8, 0.95, 1.0], include_lowest=True)
    groups = good.groupby(bins, observed=True)
    parts = [f"{max(part.left, 0):.2g} to {part.right:.2g}: {100 * share.mean():.0f} % of {len(share)}" for part, share in groups]
    return f"Brier score {brier:.4f}; drawn within 2 mm by confidence: " + ", ".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=4, help="of each condition and patient")
    parser.add_argument("--patients", help="numbers, such as 1,6#; default all six")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--out", type=out_path, default=RESULTS / "robustness")
    args = parser.parse_args()
    patients = [patient.number for patient in choose_patients(args.patients)]
    table: list[dict[str, Any]] = []
    with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool:
        for number, found in zip(patients, pool.map(rows, patients, [args.cases] * len(patients)), strict=True):
            say(f"patient {number}: {len(found)} registrations")
            table += found
        for seed, found in zip(PHANTOMS, pool.map(alike_rows, PHANTOMS), strict=True):
            say(f"phantom {seed}: {len(found)} registrations")
            table += found
    lines, note = summary(pd.DataFrame(table))
    publish(args.out, lines, rows=table, digits=4, note=note)


def summary(cases: pd.DataFrame) -> tuple[list[dict[str, Any]], str]:
    """A line for each condition and for what the verdict was not set on, and how far its confidence can be believed there."""
    lines = [line(str(name), part) for name, part in cases.groupby("condition", sort=False)]
    processed = cases[cases["condition"].isin(CONDITIONS)]
    unseen = processed[~processed["condition"].isin(SET_ON)]
    lines += [
        line(ALL, processed),
        line(UNSEEN, unseen),
        line(UNSEEN_PATIENTS, unseen[~unseen["patient"].isin(SET_ON_PATIENTS)]),
    ]
    return lines, reliability(pd.concat([unseen, cases[cases["condition"].isin([OTHER, ALIKE])]]))


if __name__ == "__main__":
    main()
