"""Table 4 and Figure 2: ten X-rays of a patient with a metal ball, simulated as acquired; Table 2 reads the same results."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from companion.experiments import Loaded, Method, TestSet, prediction, refinement, registration, run
from companion.studies.common.base import Study, save_images
from companion.studies.common.paths import Paths
from companion.studies.common.plan import Plan
from companion.studies.common.trainings import model_of
from companion.studies.paper import paper_table
from xrcore import CArm, Pose, PoseRegressor, Volume, Xray, render
from xrcore.figures import attention_overlay, display_image, edge_legend, error_map, show_picture, spread_over, style
from xrcore.geometry import POSE_NAMES
from xrcore.metrics import mpd

NETWORK, OURS = "network", "PSSS, refined by least squares"
ADAM, ADAM_RELEASED, GRIMM, DESCENT = (
    "PSSS, Adam as intended",
    "PSSS, Adam as released",
    "Grimm 2021 refinement",
    "least squares, one descent",
)
_PIXELS = 192  # of the images kept for the figures
_SHOWN = (NETWORK, GRIMM, ADAM, OURS)


class CasesStudy(Study):
    """Every refinement starts from the network's prediction of the case. pd_mm: of the ball's centre, on the detector.

    The .npz holds, as bytes, for each case `fixed`, `mask`, `attention` and the DRRs `moving` at the poses of `methods`; all zero for no
    answer.
    """

    name: ClassVar[str] = "cases"
    scripts: ClassVar[tuple[str, ...]] = (*Study.scripts, "companion.experiments.ball")

    def trainings(self, plan: Plan, part: str) -> tuple[str, ...]:
        return ("cases/ball",)

    def sizes(self, plan: Plan, part: str) -> Any:
        return plan.cases, NETWORK, OURS, DESCENT, ADAM, ADAM_RELEASED, GRIMM

    def table(self, plan: Plan, paths: Paths, part: str, growing: Path) -> pd.DataFrame:
        return run(self._methods(model_of(paths, "cases/ball")), [plan.with_ball], [self._tests(plan)], growing)

    def finish(self, plan: Plan, paths: Paths, table: pd.DataFrame) -> pd.DataFrame:
        subject, tests = Loaded(plan.with_ball), self._tests(plan)
        volume, ball = subject.volume(tests.spacing), plan.with_ball.center[None]
        table["pd_mm"] = [_distance(row, ball, tests.carm, volume) for _, row in table.iterrows()]
        model = model_of(paths, "cases/ball")
        images = [self._images(tests.xray(subject, case), table[table["case"] == case], volume, model) for case in range(tests.poses)]
        kept = {name: np.stack([image[name] for image in images]) for name in images[0]}
        save_images(paths.result(self.name, ".npz"), {"methods": np.array(_SHOWN), **kept})
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
        poses = [_found_pose(rows[rows["method"] == name].iloc[0]) for name in _SHOWN]
        answers = [pose for pose in poses if pose is not None]
        _, attention = model.predict(xray, attention=True)
        with torch.no_grad():
            drawn = iter(render(volume, carm, Pose.cat(answers)) if answers else ())
        small = torch.nn.functional.interpolate(xray.image[None, None], (_PIXELS, _PIXELS), mode="area")[0, 0]
        seen = torch.nn.functional.interpolate(xray.mask[None, None].float(), (_PIXELS, _PIXELS), mode="area")[0, 0] > 0.99
        return {
            "fixed": _bytes(small, seen),
            "mask": seen.numpy(),
            "moving": np.stack([np.zeros(seen.shape, np.uint8) if pose is None else _bytes(next(drawn), seen) for pose in poses]),
            "attention": np.asarray(attention, dtype=np.float16).squeeze(),
        }


def _bytes(image: torch.Tensor, mask: torch.Tensor) -> np.ndarray:
    """0 to 255 between the extremes inside the field of view."""
    inside = image[mask]
    low, high = float(inside.min()), float(inside.max())
    return (((image - low) / max(high - low, 1e-9)).clamp(0, 1) * 255).round().byte().numpy()


def _found_pose(row: pd.Series) -> Pose | None:
    """The pose of a row, truth and error; None where the method has no answer."""
    numbers = [row[f"truth_{name}"] + row[f"error_{name}"] for name in POSE_NAMES]
    return None if any(map(math.isnan, numbers)) else Pose(numbers)


def _distance(row: pd.Series, ball: torch.Tensor, carm: CArm, volume: Volume) -> float:
    found, truth = _found_pose(row), Pose([row[f"truth_{name}"] for name in POSE_NAMES])
    return math.nan if found is None else float(mpd(found, truth, ball, carm, volume.isocenter))


def table4(cases: pd.DataFrame, method: str = OURS) -> pd.DataFrame:
    """Make Table 4.

    Parameters
    ----------
    cases : DataFrame
        Results of the study `cases`, one row per case.
    method : str
        Whose answers.

    Returns
    -------
    DataFrame
        Index (measure, source): PD [mm], NCC, SSIM and CSS of each case, mean and population standard deviation, as the paper has it and
        here.
    """
    paper = paper_table("table4_xray_cases")
    own = cases[cases["method"] == method].sort_values("case").reset_index(drop=True)
    columns = [f"case{number + 1}" for number in range(len(own))]
    rows: dict[tuple[str, str], pd.Series] = {}
    for measure in paper.index:
        values = own[f"{measure.lower()}_mm" if measure == "PD" else measure.lower()]
        rows[measure, "paper"] = paper.loc[measure]
        rows[measure, "here"] = pd.Series([*values, values.mean(), values.std(ddof=0)], [*columns, "mean", "std"])
    table = pd.DataFrame(rows).T
    named = sorted({c for c in table if c.startswith("case")}, key=lambda c: int(re.sub(r"\D", "", c)))
    return table[[*named, "mean", "std"]].rename_axis(["measure", "source"])


def attention_figure(images: Mapping[str, Any], rows: Sequence[tuple[int, str]], *, initial: str, final: str) -> Figure:
    """Draw Fig. 2, one row per case: simulated X-ray, attention over it, error map at the network's pose, error map at the refined one.

    Parameters
    ----------
    images : mapping of str to array
        Of the study `cases`.
    rows : sequence of (int, str)
        Cases, and a remark on each.
    initial, final : str
        The methods' names in `images`; one without an answer to a case leaves its place empty.

    Returns
    -------
    Figure
        Made without pyplot.
    """
    figure = style.new_figure(0.6 + 2.55 * len(rows))
    grid = figure.subplots(len(rows), 4, squeeze=False)
    titles = ("X-ray (simulated)", "attention", "initial: the network", "final: refined")
    for place, (line, (case, remark)) in enumerate(zip(grid, rows, strict=True)):
        fixed, mask = images["fixed"][case], images["mask"][case]
        grey = display_image(fixed, mask)
        looked = attention_overlay(grey, spread_over(images["attention"][case], mask), mask)
        pictures = [grey, looked, *(case_error_map(images, case, name) for name in (initial, final))]
        for axes, shown, title in zip(line, pictures, titles, strict=True):
            show_picture(axes, shown, "" if place else title)
        line[0].set_ylabel(remark, fontsize=10, color=style.DARK)
    edge_legend(figure, "simulated X-ray")
    return figure


def case_error_map(images: Mapping[str, Any], case: int, method: str) -> np.ndarray:
    """Colour the edges of a case's X-ray and of the DRR where a method found it.

    Parameters
    ----------
    images : mapping of str to array
        Of the study `cases`.
    case : int
        Which X-ray.
    method : str
        As `images` names it.

    Returns
    -------
    Float[NDArray, "H W 3"]
        See `xrcore.figures.error_map`; white where the method has no answer.
    """
    moving = images["moving"][case][[str(name) for name in images["methods"]].index(method)]
    if not moving.any():
        return np.ones((*moving.shape, 3))
    return error_map(images["fixed"][case], moving, images["mask"][case])
