"""Table 2 and Figure 1: the paper's, Grimm's and xrcore's refinement from the same predictions, on the X-rays of `table4_xray_cases`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from companion.studies.common.figure_parts import PAPER, paper_key
from companion.studies.common.table_columns import LIKENESS, in_order
from companion.studies.paper import paper_table
from companion.studies.table4_xray_cases import ADAM, ADAM_RELEASED, DESCENT, GRIMM, NETWORK, OURS, case_error_map
from xrcore.figures import edge_legend, show_picture, style

_MEASURES = {"ncc": "NCC", "ssim": "SSIM", "css": "CSS"}
_COLOURS = (style.PALE, style.ORANGE, style.GREEN, style.BLUE)


def table2(cases: pd.DataFrame) -> pd.DataFrame:
    """Make Table 2.

    Parameters
    ----------
    cases : DataFrame
        Results of the study `cases`, one row per case.

    Returns
    -------
    DataFrame
        One row per refinement: mean NCC, SSIM, CSS of X-ray and DRR, mTRE and PD [mm] over the cases with an answer, how many have
        none, and the median seconds. The paper's row PSSS, an Adam,
        stands beside both readings of its step sizes, and beside xrcore's refinement.
    """
    paper = paper_table("table2_refinement_xray")
    groups = cases.groupby("method")
    table = groups[list(LIKENESS)].mean().join(groups[["mtre_mm", "pd_mm"]].mean()).join(groups[["seconds"]].median())
    table = in_order(
        table.join(groups.size().rename("cases")).join(groups["mtre_mm"].apply(lambda of: of.isna().sum()).rename("no_answer")),
        [NETWORK, GRIMM, ADAM, ADAM_RELEASED, DESCENT, OURS],
    )
    rows = {GRIMM: "Grimm 2021 refinement", ADAM: "PSSS", ADAM_RELEASED: "PSSS", OURS: "PSSS"}
    for name in LIKENESS:
        table[f"{name}_paper"] = paper[name].reindex([rows.get(method) for method in table.index]).to_numpy()
    return table


def refinement_figure(images: Mapping[str, Any], case: int, cases: pd.DataFrame, paper: pd.DataFrame, names: Mapping[str, str]) -> Figure:
    """Draw Fig. 1: one case's error maps at the start and after each refinement; below, NCC, SSIM and CSS of every case and their means.

    Parameters
    ----------
    images : mapping of str to array
        Of the study `cases`.
    case : int
        Of the error maps. A method without an answer to it leaves its place empty.
    cases : DataFrame
        Results of the study `cases`, one row per case.
    paper : DataFrame
        Index: titles of the methods that the paper has; columns ncc, ssim, css.
    names : mapping of str to str
        Method, as `images` and `cases` call it, to title.

    Returns
    -------
    Figure
        Made without pyplot.
    """
    import seaborn as sns  # here, because measuring does without it

    figure = style.new_figure(6.6)
    parts: Any = figure.subfigures(2, 1, height_ratios=(1.35, 1))
    above, below = parts
    for axes, (method, title) in zip(above.subplots(1, len(names)), names.items(), strict=True):
        row = cases[(cases["method"] == method) & (cases["case"] == case)].iloc[0]
        remark = f"mTRE {row['mtre_mm']:.2f} mm" if np.isfinite(row["mtre_mm"]) else "no answer"
        show_picture(axes, case_error_map(images, case, method), title, remark)
    edge_legend(above, "simulated X-ray")
    colours = dict(zip(names, _COLOURS, strict=True))
    order = {"order": list(names), "hue_order": list(names), "legend": False}
    for axes, (measure, label) in zip(below.subplots(1, len(_MEASURES)), _MEASURES.items(), strict=True):
        marks = {"data": cases, "x": "method", "y": measure, "hue": "method", "palette": colours, "ax": axes, **order}
        sns.swarmplot(**marks, size=4, alpha=0.6)
        sns.pointplot(**marks, errorbar=None, marker="_", markersize=26, markeredgewidth=3)
        for place, method in enumerate(names):
            if method in paper.index and not np.isnan(paper.loc[method, measure]):
                axes.plot(place + 0.38, paper.loc[method, measure], markersize=6, **PAPER)
        style.style_axes(axes, title=label, grid="y").set(xlabel="", ylabel="")
        axes.set_xticks(range(len(names)), [title.replace(" ", "\n", 1) for title in names.values()], fontsize=9)
        axes.set_xlim(-0.5, len(names) - 0.3)
    below.legend(handles=[paper_key("the paper, real X-rays of a phantom")], frameon=False, loc="outside lower right", fontsize=9)
    return figure
