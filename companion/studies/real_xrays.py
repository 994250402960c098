"""Real X-rays: radius and ulna of a wrist, each camera alone and both together."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from companion.datasets.store import Store
from companion.studies.common.base import Study, save_images
from companion.studies.common.paths import Paths
from companion.studies.common.plan import Plan
from companion.studies.wrist import wrist_views
from companion.studies.wrist.simulated_wrist import write_wrist
from xrcore.figures import display_image, edge_legend, overlay, show_picture, style

ENTRY = "wrist-biplane"


class WristStudy(Study):
    """One part per bone and frame; see `wrist_views`. The .npz holds the images for the figures."""

    name: ClassVar[str] = "wrist"
    scripts: ClassVar[tuple[str, ...]] = ("companion.studies.wrist.wrist_views",)

    def parts(self, plan: Plan) -> tuple[str, ...]:
        return tuple(f"{bone}-{frame}" for bone, frame in list(wrist_views.STARTS)[: plan.wrist.cases])

    def entries(self, plan: Plan, part: str) -> tuple[str, ...]:
        return () if plan.wrist.simulated else (ENTRY,)

    def table(self, plan: Plan, paths: Paths, part: str, growing: Path) -> pd.DataFrame:
        bone, _, frame = part.rpartition("-")
        images = paths.growing(self.name, part).with_suffix(".npz")
        folder = growing.with_suffix(".simulated") if plan.wrist.simulated else Store().find(ENTRY)
        if plan.wrist.simulated:
            write_wrist(folder)
        return wrist_views.run(growing, images, folder, seeds=range(plan.wrist.starts), cases=[(bone, int(frame))])

    def finish(self, plan: Plan, paths: Paths, table: pd.DataFrame) -> pd.DataFrame:
        images: dict[str, Any] = {}
        for file in (paths.growing(self.name, part).with_suffix(".npz") for part in self.parts(plan)):
            if not file.exists():  # where parts were gathered before all were measured
                continue
            with np.load(file, allow_pickle=False) as kept:
                images |= {name: _to_bytes(kept[name]) for name in kept.files if _SHOWN.search(name)}
        save_images(paths.result(self.name, ".npz"), images)
        return table


# each camera at its own answer and at that of both, and the answers
_SHOWN = re.compile(r"_(camera1_view1|camera2_view2|biplane_view[12])_(xray|drr)$|_rig_from_ct$")


def _to_bytes(array: np.ndarray) -> np.ndarray:
    """An image as bytes between its percentiles; a matrix as it is."""
    if array.shape == (4, 4):
        return array
    low, high = np.percentile(array, (0.5, 99.5))
    return (255 * np.clip((array - low) / max(high - low, 1e-9), 0, 1)).round().astype(np.uint8)


def wrist_answers(cases: pd.DataFrame) -> pd.DataFrame:
    """Tabulate the similarity of X-rays and DRRs, each camera at its own pose and at that of both, and how many starts ended there.

    Parameters
    ----------
    cases : DataFrame
        Results of the study `wrist`.

    Returns
    -------
    DataFrame
        NCC, SSIM and CSS in each camera. Index: "bone, frame: own" or "bone, frame: both".
    """
    answers = cases[cases["kind"] == "answer"].set_index(["bone", "frame", "method"])
    rows = {}
    for bone, frame in dict.fromkeys((bone, frame) for bone, frame, _ in answers.index):
        one, two, both = (answers.loc[(bone, frame, method)] for method in ("camera 1", "camera 2", "biplane"))
        for name, sources in (("own", (one, two)), ("both", (both, both))):
            row: dict[str, Any] = {}
            for measure in ("ncc", "ssim", "css"):
                row |= {f"{measure.upper()}, camera {c}": source[f"{measure}_{c}"] for c, source in enumerate(sources, 1)}
            starts = sources if name == "own" else sources[:1]
            row["starts that agree"] = " and ".join(f"{int(source['repeats'])} of {int(source['seeds'])}" for source in starts)
            rows[f"{bone}, {frame}: {name}"] = row
    return pd.DataFrame.from_dict(rows, orient="index")


def wrist_between(cases: pd.DataFrame) -> pd.DataFrame:
    """Compare camera 1 alone with camera 2 alone: an error that needs no true pose.

    Parameters
    ----------
    cases : DataFrame
        Results of the study `wrist`.

    Returns
    -------
    DataFrame
        Index: "bone, frame". The last two columns: each camera alone against both together, across that camera's own depth.
    """
    apart = cases[cases["method"] == "camera 1 - camera 2"]
    columns = {
        "out_of_depth_mm": "across both [mm]",
        "depth_1_mm": "along depth 1 [mm]",
        "depth_2_mm": "along depth 2 [mm]",
        "distance_mm": "in all [mm]",
        "angle_deg": "angle [deg]",
        "tilt_deg": "tilt [deg]",
        "shaft_deg": "about the shaft [deg]",
    }
    names = [f"{bone}, {frame}" for bone, frame in zip(apart["bone"], apart["frame"], strict=True)]
    table = apart[list(columns)].rename(columns=columns).set_axis(names)
    for number in (1, 2):
        against = cases[cases["method"] == f"camera {number} - biplane"]
        table[f"camera {number} against both, across its depth [mm]"] = against[f"across_{number}_mm"].to_numpy()
    return table


def wrist_figure(images: Mapping[str, Any], rows: Sequence[tuple[str, int, str]]) -> Figure:
    """Draw one row per bone and frame: for each camera the X-ray, and edges at the pose found from both cameras.

    Parameters
    ----------
    images : mapping of str to array
        Of the study `wrist`.
    rows : sequence of (str, int, str)
        Bone, frame, and a remark.

    Returns
    -------
    Figure
        Made without pyplot.
    """
    figure = style.new_figure(0.6 + 2.5 * len(rows))
    for place, (line, (bone, frame, remark)) in enumerate(zip(figure.subplots(len(rows), 4, squeeze=False), rows, strict=True)):
        for number, pair in ((1, line[:2]), (2, line[2:])):
            xray, drr = (images[f"{bone}_{frame}_biplane_view{number}_{what}"].astype(float) for what in ("xray", "drr"))
            titles = ("", "") if place else (f"camera {number}", "pose from both")
            show_picture(pair[0], display_image(xray), titles[0])
            show_picture(pair[1], overlay(xray, drr), titles[1])
        line[0].set_ylabel(remark, fontsize=10, color=style.DARK)
    edge_legend(figure, "X-ray")
    return figure


def disagreement_figure(between: pd.DataFrame, aims: Mapping[str, float]) -> Figure:
    """Draw how far camera 1 alone and camera 2 alone disagree, one dot per bone and frame, by direction.

    Parameters
    ----------
    between : DataFrame
        Rows of the study's "camera 1 - camera 2".
    aims : mapping of str to float
        Column to its aim [mm, deg], drawn as a line.

    Returns
    -------
    Figure
        Made without pyplot.
    """
    import seaborn as sns  # here, because measuring does without it

    figure = style.new_figure(3.2)
    names = {
        "out_of_depth_mm": "across both\n[mm]",
        "depth_1_mm": "along depth 1\n[mm]",
        "depth_2_mm": "along depth 2\n[mm]",
        "tilt_deg": "tilt\n[deg]",
        "shaft_deg": "about the shaft\n[deg]",
    }
    colours = (style.BLUE, style.ORANGE, style.GREEN)[: between["bone"].nunique()]
    for axes, (column, title) in zip(figure.subplots(1, len(names)), names.items(), strict=True):
        sns.stripplot(between, x="bone", y=column, hue="bone", palette=colours, size=8, jitter=False, ax=axes)
        style.style_axes(axes, title=title, grid="y").set(xlabel="", ylabel="")
        if column in aims:
            axes.axhline(aims[column], color=style.DARK, linewidth=1, linestyle=(0, (4, 3)))
        axes.set_ylim(0, None)
    return figure
