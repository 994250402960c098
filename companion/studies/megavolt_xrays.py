"""Real megavolt X-rays: a head phantom, each view alone against all together, odd views against even ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from companion.datasets.head_phantom import GANTRY, HeadPhantom
from companion.datasets.store import Store
from companion.studies.common.base import Study, save_images
from companion.studies.common.paths import Paths
from companion.studies.common.plan import Plan
from companion.studies.head import head_views
from companion.studies.head.simulated_head import write_head
from xrcore.figures import display_image, edge_legend, overlay, show_picture, style

ENTRIES = ("rando-head-ct", "rando-head-portal")


class HeadStudy(Study):
    """All in one part; see `head_views`."""

    name: ClassVar[str] = "head"
    scripts: ClassVar[tuple[str, ...]] = ("companion.studies.head.head_views",)

    def entries(self, plan: Plan, part: str) -> tuple[str, ...]:
        return () if plan.head.simulated else ENTRIES

    def table(self, plan: Plan, paths: Paths, part: str, growing: Path) -> pd.DataFrame:
        gantry = GANTRY[:: plan.head.every]
        if plan.head.simulated:
            data, _ = write_head(growing.with_suffix(".simulated"), gantry)
        else:
            data = HeadPhantom(*(Store().find(entry) for entry in ENTRIES))
        table, images = head_views.run(data, gantry)
        save_images(paths.growing(self.name, part).with_suffix(".npz"), images)
        return table

    def finish(self, plan: Plan, paths: Paths, table: pd.DataFrame) -> pd.DataFrame:
        with np.load(paths.growing(self.name, "all").with_suffix(".npz"), allow_pickle=False) as kept:
            images = {name: kept[name] for name in kept.files}
        save_images(paths.result(self.name, ".npz"), {name: _to_bytes(image, images, name) for name, image in images.items()})
        return table


def _to_bytes(image: np.ndarray, images: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    if image.dtype == bool:
        return image
    return (255 * display_image(image, images[f"{name.partition('_')[0]}_mask"])).round().astype(np.uint8)


def head_agreement(cases: pd.DataFrame) -> pd.DataFrame:
    """Tabulate each view alone against all views together, with the verdict.

    Parameters
    ----------
    cases : DataFrame
        Results of the study `head`.

    Returns
    -------
    DataFrame
        Index: the gantry's angle; at the end odd against even views, trusted where both are.
    """
    columns = {
        "across_mm": "in plane [mm]",
        "angle_deg": "angle [deg]",
        "depth_mm": "depth [mm]",
        "depth_sd_mm": "its standard deviation [mm]",
        "confidence": "confidence",
    }
    table = cases[list(columns)].rename(columns=columns)
    single = cases["kind"] == "view"
    table["trusted"] = [{"True": "yes", "False": "no"}.get(str(t), "-") for t in cases["trusted"]]
    names = [f"{angle:+.0f} deg" if one else "odd - even" for angle, one in zip(cases["gantry"], single, strict=True)]
    return table.set_axis(names)


def head_count(cases: pd.DataFrame, *, plane: float, angle: float) -> tuple[int, int, int]:
    """Count views alone that are right, and those that are trusted as well.

    Parameters
    ----------
    cases : DataFrame
        Results of the study `head`.
    plane, angle : float
        Largest error of a right one [mm], [deg].

    Returns
    -------
    right, both, views : int
        Right; right and trusted; all.
    """
    views = cases[cases["kind"] == "view"]
    right = (views["across_mm"] <= plane) & (views["angle_deg"] <= angle)
    return int(right.sum()), int((right & (views["trusted"].astype(str) == "True")).sum()), len(views)


def head_figure(cases: pd.DataFrame, images: Mapping[str, Any]) -> Figure:
    """Draw the middle view's X-ray, then for each view edges at the pose found from it alone.

    Parameters
    ----------
    cases : DataFrame
        Results of the study `head`.
    images : mapping of str to array
        Of the study.

    Returns
    -------
    Figure
        Made without pyplot.
    """
    views = cases[cases["kind"] == "view"]
    columns = 4
    rows = -(-(len(views) + 1) // columns)
    figure = style.new_figure(0.6 + 2.4 * rows)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    angles = [int(angle) for angle in views["gantry"]]
    middle = min(angles, key=abs)
    show_picture(panels[0], display_image(images[f"{middle}_xray"].astype(float), images[f"{middle}_mask"]), f"X-ray at {middle:+d} deg")
    for axes, angle, confidence in zip(panels[1:], angles, views["confidence"], strict=False):
        xray, drr = (images[f"{angle}_{what}"].astype(float) for what in ("xray", "drr"))
        show_picture(axes, overlay(xray, drr, images[f"{angle}_mask"]), f"{angle:+d} deg, {confidence:.2f}")
    for axes in panels[1 + len(views) :]:
        axes.set_axis_off()
    edge_legend(figure, "X-ray")
    return figure
