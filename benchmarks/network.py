"""How exact are the trained models in models/, alone and as the start of a registration, and how long does a prediction take?

Each patient's models, trained with and without domain randomisation, meet X-rays as acquired and under the paper's protocol (noise-free,
from the registration's own renderer), at poses uniform in the paper's ranges that no training has seen. Of the X-rays as acquired,
the models trained on such are also the start of a registration.

    python benchmarks/network.py [--poses 200] [--patients 1,6#] [--models models] [--out results/network]
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import pandas as pd
from common.patients import CARM, choose_patients
from common.report import RESULTS, out_path, publish, scratch_of

import xrcore as xr
from companion import experiments as ex

SEED = 2023


def folder_of(models: Path, patient: str, kind: str) -> Path:
    """Folder of a model, as listed in `models/README.md`."""
    return models / f"{patient}-{kind}"


def predict_ms(model: xr.PoseRegressor) -> float:
    """Median time of `predict` for a 256 x 256 X-ray, resizing and normalising included."""
    import torch

    xray = xr.Xray(image=torch.rand(CARM.shape, generator=torch.Generator().manual_seed(0)), carm=CARM)
    times = []
    for _ in range(65):
        began = time.perf_counter()
        model.predict(xray)
        times.append(time.perf_counter() - began)
    return 1e3 * statistics.median(times[5:])


def register_seconds(model: xr.PoseRegressor, patient: ex.Patient, tests: ex.TestSet) -> float:
    """Median time of a registration from the model's prediction, measured by itself: the table's rows may come from a busy machine."""
    volume, times = patient.volume(tests.spacing), []
    for case in range(15):
        xray = tests.xray(patient, case)
        began = time.perf_counter()
        xr.register(xray, volume, model)
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--poses", type=int, default=200)
    parser.add_argument("--patients", default="1,6#")
    parser.add_argument("--models", type=Path, default=RESULTS.parent / "models")
    parser.add_argument("--out", type=out_path, default=RESULTS / "network")
    args = parser.parse_args()
    sets = [ex.TestSet(name, protocol=name, poses=args.poses, seed=SEED) for name in ("paper", "acquired")]
    scratch = scratch_of(args.out)
    lines: list[dict] = []
    tables: list[pd.DataFrame] = []
    for patient in choose_patients(args.patients):
        methods, trained = [], {}
        for kind in ("paper", "acquired"):
            folder = folder_of(args.models, patient.name, kind)
            if not (folder / "model.json").exists():
                print(f"{folder}: no model here, left out")
                continue
            model = xr.PoseRegressor.load(folder)
            trained[kind] = model
            methods.append(ex.prediction(model, f"network ({kind})"))
            if kind == "acquired":
                methods.append(ex.registration(model, "refined (acquired)"))
        if not methods:
            continue
        plain, acquired = sets
        ex.run([m for m in methods if m.name.startswith("network")], [patient], [plain], scratch)
        table = ex.run(methods, [patient], [acquired], scratch)
        table = table[(table["patient"] == patient.number) & (table["case"] < args.poses)]
        tables.append(table)
        for kind, model in trained.items():
            for tests in sets:
                lines.append(line(patient, kind, tests.name, model, table))
                if kind == "acquired" and tests is acquired:
                    lines[-1]["refined seconds"] = round(register_seconds(model, patient, tests), 3)
                print("  ".join(f"{k} {v}" for k, v in lines[-1].items()), flush=True)
    publish(args.out, lines, rows=pd.concat(tables).to_dict("records"), digits=5, scratch=scratch)


def line(patient: ex.Patient, kind: str, test: str, model: xr.PoseRegressor, table: pd.DataFrame) -> dict[str, Any]:
    """One line of the table: a model, `kind`, on a test set."""
    row: dict[str, Any] = {"patient": f"{patient.number} {patient.name}", "trained on": kind, "tested on": test}
    for stage in ("network", "refined"):
        part = table[(table["method"] == f"{stage} ({kind})") & (table["test_set"] == test)]
        found = part["mtre_mm"].dropna()
        row |= {
            f"{stage} mTRE mean mm": round(float(found.mean()), 3) if len(part) else None,
            f"{stage} median mm": round(float(found.median()), 3) if len(part) else None,
            f"{stage} SR %": round(xr.metrics.success_rate(part["mtre_mm"].to_numpy()), 2) if len(part) else None,
        }
    # what is left in `part` is the refinement's
    return row | {
        "cases": int(((table["method"] == f"network ({kind})") & (table["test_set"] == test)).sum()),
        "refined seconds": None,
        "trusted %": round(100 * float(part["trusted"].mean()), 1) if len(part) else None,
        "predict ms": round(predict_ms(model), 1),
        "images seen": model.training["images"] + model.training.get("start", {}).get("images", 0),
        "minutes": round(model.training["seconds"] / 60, 1),
        "pixels": model.settings.architecture.pixels,
    }


if __name__ == "__main__":
    main()
