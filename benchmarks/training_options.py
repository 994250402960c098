"""What do the options that make a training faster, and the schemes of incremental learning, do to its accuracy at equal images?

Each training sees as many images, with the settings of the laptop's profile under the paper's protocol but for the options named, and is
judged on 256 DRRs that none has seen. Trainings are kept in build/, gone on with where they were interrupted, and not repeated.

    python benchmarks/training_options.py [--images 24000] [--patient 6#] [--seeds 0,1] [--only schemes] [--out results/training_options]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pandas as pd
from common.patients import CARM, choose_patients
from common.report import RESULTS, out_path, publish

from xrcore import train
from xrcore.learning import profile

BUILD = Path(__file__).parents[1] / "build" / "training_options"
SPEED: dict[str, dict[str, Any]] = {
    "profile laptop": {},
    "batch=32": {"batch": 32},
    "coarse_pixels=64": {"coarse_pixels": 64},
    "coarse_pixels=64 batch=32": {"coarse_pixels": 64, "batch": 32},
    "precision=float32": {"precision": "float32"},
}


def schemes(images: int) -> dict[str, dict[str, Any]]:
    """The readings of incremental learning, with the options of speed that are used.

    One set is an eighth of the images seen, and so is the first of `extended`; `growing` ends with that many, and `fresh` has four sets of
    them.
    """
    first = images // 8
    readings: dict[str, dict[str, Any]] = {
        "one set": {"set_size": first},
        "extended": {"set_size": first, "scheme": "extended"},
        "growing": {"set_size": first, "scheme": "growing"},
        "fresh": {"set_size": 4 * first, "scheme": "fresh"},
    }
    return {name: SPEED["coarse_pixels=64 batch=32"] | changes for name, changes in readings.items()}


def last_training_error(folder: Path) -> float | None:
    """On DRRs of the last stage's set, where the training sees them more than once [mm]."""
    column = pd.read_csv(folder / "log.csv")["training_mtre_mm"].dropna()
    return round(float(column.iloc[-1]), 2) if len(column) else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=24_000)
    parser.add_argument("--patient", default="6#")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--only", choices=("speed", "schemes"), help="default both")
    parser.add_argument("--out", type=out_path, default=RESULTS / "training_options")
    args = parser.parse_args()
    (patient,) = choose_patients(args.patient)
    base = profile("laptop").changed(acquired=False, images=args.images, validation=256)
    volume = patient.volume(base.spacing)
    options = (SPEED if args.only != "schemes" else {}) | (schemes(args.images) if args.only != "speed" else {})
    rows: list[dict[str, Any]] = []
    for seed in map(int, args.seeds.split(",")):
        for name, changes in options.items():
            folder = BUILD / f"{patient.name}-{args.images}-{seed}" / name.replace(" ", "-")
            model = train(volume, CARM, base.changed(**changes, seed=seed), out=folder, resume=True, progress=True)
            reached = model.training["validation"]
            rows.append(
                {
                    "option": name,
                    "seed": seed,
                    "images": model.training["images"],
                    "minutes": round(model.training["seconds"] / 60, 1),
                    "mTRE mm": reached["mtre"],
                    "median mm": reached["median"],
                    "SR %": reached["success"],
                    "mTRE of the training set mm": last_training_error(folder),
                }
            )
            print("  ".join(f"{k} {v}" for k, v in rows[-1].items()), flush=True)
    publish(args.out, rows, digits=3)


if __name__ == "__main__":
    main()
