"""X-rays and what was found in them: Fig. 1 and Fig. 2 of the paper, in its red and blue edges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from companion.figures.paper_marks import PAPER, paper_key
from xrcore.figures import attention_overlay, display_image, edge_legend, error_map, show_picture, spread_over, style

_MEASURES = {"ncc": "NCC", "ssim": "SSIM", "css": "CSS"}
_COLOURS = (style.PALE, style.ORANGE, style.GREEN, style.BLUE)


def refinement_figure(images: Mapping[str, Any], case: int, cases: pd.DataFrame, paper: pd.DataFrame, names: Mapping[str, str]) -> Figure:
    """Fig. 1: one case's error maps at the start and after each refinement; below, NCC, SSIM and CSS of every case and their means.

    images: of the study `cases`. case: of the maps. names: method, as `images` and `cases` call it, to title. paper: index title's method,
    columns ncc, ssim, css, for those that the paper has.
    """
    figure = style.new_figure(6.6)
    parts: Any = figure.subfigures(2, 1, height_ratios=(1.35, 1))
    above, below = parts
    kept = [str(name) for name in images["methods"]]
    for axes, (method, title) in zip(above.subplots(1, len(names)), names.items(), strict=True):
        row = cases[(cases["method"] == method) & (cases["case"] == case)].iloc[0]
        show_picture(
            axes,
            error_map(images["fixed"][case], images["moving"][case][kept.index(method)], images["mask"][case]),
            title,
            f"mTRE {row['mtre_mm']:.2f} mm" if np.isfinite(row["mtre_mm"]) else "no answer",
        )
    edge_legend(above, "simulated X-ray")
    for axes, (measure, label) in zip(below.subplots(1, len(_MEASURES)), _MEASURES.items(), strict=True):
        for place, (method, colour) in enumerate(zip(names, _COLOURS, strict=True)):
            values = cases.loc[cases["method"] == method, measure].dropna().to_numpy(float)
            axes.scatter(np.full(len(values), place) + np.linspace(-0.15, 0.15, len(values)), values, s=14, color=colour, alpha=0.6)
            axes.plot([place - 0.28, place + 0.28], [values.mean()] * 2, color=colour, linewidth=3, solid_capstyle="butt")
            if method in paper.index and not np.isnan(paper.loc[method, measure]):
                axes.plot(place + 0.38, paper.loc[method, measure], markersize=6, **PAPER)
        style.style_axes(axes, title=label, grid="y")
        axes.set_xticks(range(len(names)), [title.replace(" ", "\n", 1) for title in names.values()], fontsize=9)
        axes.set_xlim(-0.5, len(names) - 0.3)
    below.legend(handles=[paper_key("the paper, real X-rays of a phantom")], frameon=False, loc="outside lower right", fontsize=9)
    return figure


def attention_figure(images: Mapping[str, Any], rows: Sequence[tuple[int, str]], *, initial: str, final: str) -> Figure:
    """Fig. 2: a row a case: simulated X-ray, attention over it, error map at the network's pose, error map at the refined one.

    images: of the study `cases`. rows: (case, remark). initial, final: the methods' names in `images`.
    """
    figure = style.new_figure(0.6 + 2.55 * len(rows))
    kept = [str(name) for name in images["methods"]]
    grid = figure.subplots(len(rows), 4, squeeze=False)
    titles = ("X-ray (simulated)", "attention", "initial: the network", "final: refined")
    for place, (line, (case, remark)) in enumerate(zip(grid, rows, strict=True)):
        fixed, moving, mask = (images[name][case] for name in ("fixed", "moving", "mask"))
        grey = display_image(fixed, mask)
        looked = attention_overlay(grey, spread_over(images["attention"][case], mask), mask)
        pictures = [grey, looked, *(error_map(fixed, moving[kept.index(name)], mask) for name in (initial, final))]
        for axes, shown, title in zip(line, pictures, titles, strict=True):
            show_picture(axes, shown, "" if place else title)
        line[0].set_ylabel(remark, fontsize=10, color=style.DARK)
    edge_legend(figure, "simulated X-ray")
    return figure
