"""Real X-rays of a wrist: what two cameras see of a bone, and where it was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from xrcore.figures import display_image, edge_legend, overlay, show_picture, style


def wrist_figure(images: Mapping[str, Any], rows: Sequence[tuple[str, int, str]]) -> Figure:
    """A row a bone and frame: for each camera the X-ray, and edges at the pose that was found from both cameras.

    images: of the study `wrist`. rows: (bone, frame, remark).
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
    """Camera 1 alone against camera 2 alone, a dot a bone and frame, by direction.

    between: rows of the study's "camera 1 - camera 2". aims: column to its aim, drawn as a line.
    """
    figure = style.new_figure(3.2)
    names = {
        "out_of_depth_mm": "across both\n[mm]",
        "depth_1_mm": "along depth 1\n[mm]",
        "depth_2_mm": "along depth 2\n[mm]",
        "tilt_deg": "tilt\n[deg]",
        "shaft_deg": "about the shaft\n[deg]",
    }
    colours = [style.BLUE, style.ORANGE, style.GREEN][: between["bone"].nunique()]
    for axes, (column, title) in zip(figure.subplots(1, len(names)), names.items(), strict=True):
        sns.stripplot(between, x="bone", y=column, hue="bone", palette=colours, size=8, ax=axes, jitter=False)
        style.style_axes(axes, title=title, grid="y")
        axes.set(xlabel="", ylabel="")
        axes.set_ylim(0, None)
        if column in aims:
            axes.axhline(aims[column], color=style.DARK, linewidth=1, linestyle=(0, (4, 3)))
    return figure
