"""Speed: the renderer, its peers where they are installed, and each way to refine, in one run."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
import torch
from harness.run import run as bench
from harness.timing import interleaved

from companion.experiments.patients import Loaded
from companion.studies.base import Study
from companion.workflow.paths import Places
from companion.workflow.plan import Plan
from companion.workflow.trainings import model_of
from xrcore._util.threads import single_torch_thread
from xrcore.registration.pipeline import register
from xrcore.registration.refinement import refine
from xrcore.registration.settings import settings_for

PREDICTION, REGISTRATION = "network's prediction", "registration from the prediction"
_PRESETS = {
    "refinement: least squares, one descent": "gauss-newton",
    "refinement: the paper's Adam": "paper-as-intended",
    "refinement: Grimm 2021": "grimm",
}
_COLUMNS = ("median_ms", "min_ms", "max_ms", "repeats")


class Speed(Study):
    """Medians of interleaved repeats; a refinement starts from the network's prediction of the first X-ray with the ball."""

    name: ClassVar[str] = "speed"
    exclusive: ClassVar[bool] = True

    def options(self, plan: Plan) -> Any:
        return plan.speed

    def trainings(self, plan: Plan, part: str) -> tuple[str, ...]:
        return ("cases/ball",)

    def table(self, plan: Plan, places: Places, part: str, growing: Path) -> pd.DataFrame:
        quick = plan.speed.quick
        measured = bench(peers=True, quick=quick, out=places.build / "bench")
        rows = {name: row for name, row in measured["rows"].items() if "median_ms" in row}
        model, subject, tests = model_of(places, "cases/ball"), Loaded(plan.with_ball), plan.test_set("first", "acquired", 1)
        xray, volume = tests.xray(subject, 0), subject.volume(tests.spacing)
        start = model.predict(xray)

        def descend(preset: str) -> None:
            with torch.no_grad(), single_torch_thread():
                refine(xray, volume, start, settings_for(preset))

        quickly = {PREDICTION: lambda: model.predict(xray), REGISTRATION: lambda: register(xray, volume, model)}
        slowly = {name: lambda preset=preset: descend(preset) for name, preset in _PRESETS.items()}
        for tasks, rounds in ((quickly, 2 if quick else 9), (slowly, 1 if quick else 3)):
            rows |= {name: timing.to_dict() for name, timing in interleaved(tasks, rounds).items()}
        return pd.DataFrame([{"what": name, **{c: row[c] for c in _COLUMNS}, "pixels": measured["pixels"]} for name, row in rows.items()])
