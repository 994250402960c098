"""Tables 2 and 4, Figures 1 and 2: ten X-rays of a patient with a metal ball, simulated as acquired."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch

from companion.experiments import Method, TestSet, prediction, refinement, registration, run
from companion.experiments.patients import Loaded
from companion.studies.base import Study, save_images
from companion.workflow.paths import Places
from companion.workflow.plan import Plan
from companion.workflow.trainings import model_of
from xrcore.ct.volume import Volume
from xrcore.geometry import CArm, Pose
from xrcore.geometry.pose import NAMES
from xrcore.learning.models import PoseRegressor
from xrcore.metrics import mpd
from xrcore.renderer import render
from xrcore.xray.image import Xray

NETWORK, OURS = "network", "PSSS, refined by least squares"
ADAM, ADAM_RELEASED, GRIMM, DESCENT = (
    "PSSS, Adam as intended",
    "PSSS, Adam as released",
    "Grimm 2021 refinement",
    "least squares, one descent",
)
_PIXELS = 192  # of the images kept for the figures
_SHOWN = (NETWORK, GRIMM, ADAM, OURS)


class Cases(Study):
    """Every refinement starts from the network's prediction of the case. pd_mm: of the ball's centre, on the detector.

    The .npz holds, as bytes, for each case `fixed`, `mask`, `attention` and the DRRs `moving` at the poses of `methods`.
    """

    name: ClassVar[str] = "cases"

    def options(self, plan: Plan) -> Any:
        return plan.cases

    def trainings(self, plan: Plan, part: str) -> tuple[str, ...]:
        return ("cases/ball",)

    def table(self, plan: Plan, places: Places, part: str, growing: Path) -> pd.DataFrame:
        return run(self._methods(model_of(places, "cases/ball")), [plan.with_ball], [self._tests(plan)], growing)

    def finish(self, plan: Plan, places: Places, table: pd.DataFrame) -> pd.DataFrame:
        subject, tests = Loaded(plan.with_ball), self._tests(plan)
        volume, ball = subject.volume(tests.spacing), plan.with_ball.center[None]
        table["pd_mm"] = [_distance(row, ball, tests.carm, volume) for _, row in table.iterrows()]
        model = model_of(places, "cases/ball")
        images = [self._images(tests.xray(subject, case), table[table["case"] == case], volume, model) for case in range(tests.poses)]
        kept = {name: np.stack([image[name] for image in images]) for name in images[0]}
        save_images(places.result(self.name, ".npz"), {"methods": np.array(_SHOWN), **kept})
        return table

    def _tests(self, plan: Plan) -> TestSet:
        return plan.test_set("simulated as acquired", "acquired", plan.cases.poses)

    def _methods(self, model: PoseRegressor) -> list[Method]:
        return [
            prediction(model, NETWORK),
            registration(model, OURS),
            refinement("gauss-newton", model, DESCENT),
            refinement("paper-as-intended", model, ADAM),
            refinement("paper-as-released", model, ADAM_RELEASED),
            refinement("grimm", model, GRIMM),
        ]

    def _images(self, xray: Xray, rows: pd.DataFrame, volume: Volume, model: PoseRegressor) -> dict[str, np.ndarray]:
        carm = xray.carm.resized((_PIXELS, _PIXELS))
        poses = [_found(rows[rows["method"] == name].iloc[0]) for name in _SHOWN]
        _, attention = model.predict(xray, attention=True)
        with torch.no_grad():
            moving = render(volume, carm, Pose.cat(poses))
        small = torch.nn.functional.interpolate(xray.image[None, None], (_PIXELS, _PIXELS), mode="area")[0, 0]
        seen = torch.nn.functional.interpolate(xray.mask[None, None].float(), (_PIXELS, _PIXELS), mode="area")[0, 0] > 0.99
        return {
            "fixed": _bytes(small, seen),
            "mask": seen.numpy(),
            "moving": np.stack([_bytes(image, seen) for image in moving]),
            "attention": np.asarray(attention, dtype=np.float16).squeeze(),
        }


def _bytes(image: torch.Tensor, mask: torch.Tensor) -> np.ndarray:
    """0 to 255 between the extremes inside the field of view."""
    inside = image[mask]
    low, high = float(inside.min()), float(inside.max())
    return (((image - low) / max(high - low, 1e-9)).clamp(0, 1) * 255).round().byte().numpy()


def _found(row: pd.Series) -> Pose:
    """The pose of a row: truth and error."""
    numbers = [row[f"truth_{name}"] + row[f"error_{name}"] for name in NAMES]
    truth = [row[f"truth_{name}"] for name in NAMES]
    return Pose(truth if any(map(math.isnan, numbers)) else numbers)


def _distance(row: pd.Series, ball: torch.Tensor, carm: CArm, volume: Volume) -> float:
    if math.isnan(row["mtre_mm"]):
        return math.nan
    truth = Pose([row[f"truth_{name}"] for name in NAMES])
    return float(mpd(_found(row), truth, ball, carm, volume.isocenter))
