"""How many images does the network of the next patient need, with and without a start model?

For each patient a start model is trained on the other five CTs and on phantoms (`companion.experiments.cohort`); it begins with the
weights of a model of one of those patients, because that takes half the images. Then the patient's own network is trained on few images,
from scratch, from that model of one patient, and from that start model, with the same settings (`xrcore.learning.fine_tuning`), and judged
on 256 DRRs as acquired that none has seen. The row of 0 images is the start model itself, before any training for the patient.

Trainings are kept in build/, gone on with where they were interrupted, and not repeated. The start models take the time, 7 minutes or
more of a core each: --only-start makes them alone, and --ready makes the table of what is trained already. Time is that of
one core, which other programs hardly touch: two cores take about half.

    python benchmarks/fine_tuning.py [--patients 1,6#] [--images 500,1000,2000,4000] [--start-images 16000] [--seeds 0,1]
                                     [--threads 1] [--only-start | --ready] [--out results/fine_tuning]
    python benchmarks/fine_tuning.py --ship models/start    # the start model of all patients
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from common.patients import CARM, choose_patients
from common.report import RESULTS, out_path, publish

from companion.experiments import PATIENTS, Subject, cohort
from xrcore import PoseRegressor, TrainingSettings, train
from xrcore.learning import fine_tuning, profile, train_start
from xrcore.learning.methods import method_named
from xrcore.learning.training.evaluation import Evaluator
from xrcore.learning.training.stream import VALIDATION, DrrStream

BUILD = Path(__file__).parents[1] / "build" / "fine_tuning"
LAPTOP = profile("laptop").changed(validation=256)
START = LAPTOP.changed(coarse_pixels=64, batch=32)  # of the start models
TUNED = fine_tuning(LAPTOP)  # of the patients' own networks
MODELS = Path(__file__).parents[1] / "models"
SCRATCH, ONE, STARTED = "scratch", "one patient's model", "start model"
_FOLDERS = {SCRATCH: "scratch", ONE: "one", STARTED: "started"}


def trained_so(settings: TrainingSettings, folder: Path) -> PoseRegressor | None:
    """The model that was trained with these settings; another one in its place is refused by the training."""
    model = PoseRegressor.load(folder) if PoseRegressor.exists(folder) else None
    return model if model is not None and model.settings == settings else None


def start_model(
    patients: Sequence[Subject], folder: Path, settings: TrainingSettings = START, first: PoseRegressor | None = None, **sizes: int
) -> PoseRegressor:
    """Train a start model, or read the one that was trained so. sizes: of the cohort."""
    if (model := trained_so(settings, folder)) is not None:
        return model
    volumes = cohort(patients, spacing=settings.spacing, **sizes)
    return train_start(volumes, CARM, settings, out=folder, resume=True, start=first)


def model_of_one(patients: Sequence[Subject]) -> PoseRegressor:
    """A model of one of the patients."""
    name = next(one.name for one in patients if one.name in ("abdomen", "pelvis-implant"))
    return PoseRegressor.load(MODELS / f"{name}-acquired")


def untrained(patient: Subject, start: PoseRegressor, settings: TrainingSettings = TUNED) -> dict[str, Any]:
    """The start model itself, on the DRRs that the patient's networks are judged on."""
    volume = patient.volume(settings.spacing)
    judge = Evaluator(method_named(settings.method)(settings), volume, CARM, torch.device("cpu"))
    unseen = DrrStream(volume, CARM, settings, purpose=VALIDATION)
    errors = judge.errors(start.network, judge.rendered(unseen, [(0, i) for i in range(settings.validation)]))
    return _row(patient, STARTED, 0, 0, errors.mtre, errors.median, errors.success, 0.0)


def trained(patient: Subject, begun: str, start: PoseRegressor | None, settings: TrainingSettings, folder: Path) -> dict[str, Any]:
    """The patient's own network, trained or read."""
    kept = folder / "core_seconds.txt"
    if (model := trained_so(settings, folder)) is None:
        before, began = float(kept.read_text(encoding="utf-8")) if kept.exists() else 0.0, time.process_time()
        try:
            model = train(patient.volume(settings.spacing), CARM, settings, out=folder, resume=True, start=start)
        finally:  # of an interrupted one, too
            if folder.is_dir():
                kept.write_text(f"{before + time.process_time() - began:.1f}\n", encoding="utf-8")
    reached = model.training["validation"]
    seconds = float(kept.read_text(encoding="utf-8")) if kept.exists() else None
    return _row(patient, begun, settings.images, settings.seed, reached["mtre"], reached["median"], reached["success"], seconds)


def measure(
    patient: Subject,
    start: PoseRegressor,
    one: PoseRegressor,
    folder: Path,
    budgets: Sequence[int],
    seeds: Sequence[int],
    settings: TrainingSettings = TUNED,
    *,
    ready: bool = False,
) -> Iterator[dict[str, Any]]:
    """Rows of a patient. one: another patient's model. ready: only what is trained already."""
    yield untrained(patient, start, settings)
    for images in budgets:
        for begun, first in ((SCRATCH, None), (ONE, one), (STARTED, start)):
            for seed in seeds:
                place = folder / f"{_FOLDERS[begun]}-{images}-{seed}"
                if not ready or PoseRegressor.exists(place):
                    yield trained(patient, begun, first, settings.changed(images=images, seed=seed), place)


def summary(rows: Sequence[dict[str, Any]], budgets: Sequence[int]) -> list[dict[str, Any]]:
    """Means over seeds of each patient, and over the patients: a line for each beginning, budgets side by side."""
    lines = []
    patients = list(dict.fromkeys(row["patient"] for row in rows))
    for patient in (*patients, *(["all"] if len(patients) > 1 else [])):
        for begun in (SCRATCH, ONE, STARTED):
            line: dict[str, Any] = {"patient": patient, "begun from": begun}
            for images in (0, *budgets):
                some = [r for r in rows if r["begun from"] == begun and r["images"] == images and patient in (r["patient"], "all")]
                for name in ("mTRE mm", "SR %", "core minutes"):
                    values = [row[name] for row in some if row[name] is not None]
                    line[f"{images}: {name}"] = round(sum(values) / len(values), 1) if values else None
            if any(value is not None for name, value in line.items() if name.endswith("mm")):
                lines.append(line)
    return lines


def _row(
    patient: Subject, begun: str, images: int, seed: int, mtre: float | None, median: float | None, success: float, seconds: float | None
) -> dict[str, Any]:
    return {
        "patient": patient.number,
        "begun from": begun,
        "images": images,
        "seed": seed,
        "core minutes": None if seconds is None else round(seconds / 60, 2),
        "mTRE mm": None if mtre is None else round(mtre, 2),  # infinite, or in a model.json None: poses that are nonsense
        "median mm": None if median is None else round(median, 2),
        "SR %": round(success, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", help="default all")
    parser.add_argument("--images", default="500,1000,2000,4000")
    parser.add_argument("--start-images", type=int, default=16_000)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--threads", type=int, default=1)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--only-start", action="store_true", help="train start models only")
    which.add_argument("--ready", action="store_true", help="train nothing: the table of what is there")
    which.add_argument("--ship", type=Path, metavar="DIR", help="train the start model of all patients, into DIR")
    parser.add_argument("--out", type=out_path, default=RESULTS / "fine_tuning")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    settings, folder = START.changed(images=args.start_images), BUILD / f"{args.start_images}"
    if args.ship is not None:
        every = choose_patients(None)
        print(start_model(every, args.ship, settings, model_of_one(every)))
        return
    budgets, seeds = ([int(number) for number in text.split(",")] for text in (args.images, args.seeds))
    rows: list[dict[str, Any]] = []
    for patient in choose_patients(args.patients):
        place = folder / f"without-{patient.name}"
        if args.ready and not PoseRegressor.exists(place):
            continue
        others = [one for one in PATIENTS if one.number != patient.number]
        one = model_of_one(others)
        start = start_model(others, place, settings, one)
        for row in () if args.only_start else measure(patient, start, one, place / "tuned", budgets, seeds, ready=args.ready):
            rows.append(row)
            print("  ".join(f"{k} {v}" for k, v in row.items()), flush=True)
    if rows:
        publish(args.out, summary(rows, [n for n in budgets if any(row["images"] == n for row in rows)]), rows=rows)


if __name__ == "__main__":
    main()
