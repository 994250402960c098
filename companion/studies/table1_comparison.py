"""Table 1: Salehi et al. 2018, Grimm et al. 2021 and the paper's network, on plain DRRs of the first patient."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from companion.experiments import prediction, refinement, registration, run
from companion.studies.common.base import Study
from companion.studies.common.figure_parts import FINEST, PAPER, paper_key, success_line
from companion.studies.common.paths import Paths
from companion.studies.common.plan import INCREMENTAL, LABELS, OTHERS, Plan
from companion.studies.common.table_columns import in_order, success_and_error
from companion.studies.common.trainings import model_of
from companion.studies.paper import paper_table
from xrcore.figures import style

READ_OTHERWISE = "the parts read otherwise (transposenet-like)"
# the networks alone, by their part
_ALONE = {"salehi": "Salehi 2018", "grimm": "Grimm 2021, network", "psss": "PSSS, network", "transposenet-like": READ_OTHERWISE}
_ORDER = ("Salehi 2018", "Grimm 2021, network", "Grimm 2021", "PSSS, network", "PSSS")
_COLOURS = (style.ORANGE, style.PURPLE, style.GREEN, style.PALE, style.BLUE)


class ComparisonStudy(Study):
    """One part per method; all networks saw as many images. Grimm's method and PSSS, [A+B+C]* of Table 3, end with a refinement."""

    name: ClassVar[str] = "comparison"

    def parts(self, plan: Plan) -> tuple[str, ...]:
        return ("psss", *OTHERS)

    def trainings(self, plan: Plan, part: str) -> tuple[str, ...]:
        return (f"ablation/{INCREMENTAL}-{plan.ablation.seeds[0]}" if part == "psss" else f"comparison/{part}",)

    def sizes(self, plan: Plan, part: str) -> Any:
        return _ALONE[part], plan.comparison.poses, plan.comparison.refined if part == "grimm" else 0

    def table(self, plan: Plan, paths: Paths, part: str, growing: Path) -> pd.DataFrame:
        model, size = model_of(paths, self.trainings(plan, part)[0]), plan.comparison
        passes = [(prediction(model, _ALONE[part]), size.poses)]
        if part == "psss":
            passes.append((registration(model, "PSSS"), size.poses))
        if part == "grimm":
            passes.append((refinement("grimm", model, "Grimm 2021"), size.refined))
        table = pd.DataFrame()
        for method, poses in passes:
            table = run([method], [plan.subjects[0]], [plan.test_set("plain", "paper", poses)], growing)
        return table


def table1(cases: pd.DataFrame) -> pd.DataFrame:
    """Make Table 1.

    Parameters
    ----------
    cases : DataFrame
        Results of the study `comparison`, one row per case.

    Returns
    -------
    DataFrame
        One row per method: mTRE [mm] (mean, with the bootstrap's interval) and success rate [%] (with Wilson's), the paper's beside. Its
        network alone is in its Table 3.
    """
    paper = paper_table("table1_comparison_drr")
    table = in_order(success_and_error(cases[cases["method"] != READ_OTHERWISE], "method"), _ORDER)
    alone = paper_table("table3_ablation_and_patients").loc[LABELS[INCREMENTAL]]
    table.insert(0, "mtre_paper", paper["mtre_mm"].reindex(table.index))
    table.insert(1, "sr_paper", paper["sr_percent"].reindex(table.index).astype(float))
    table.loc["PSSS, network", ["mtre_paper", "sr_paper"]] = [alone["mtre_mean"], alone["sr_percent"]]
    return table


def readings(cases: pd.DataFrame) -> pd.DataFrame:
    """Put the paper's network beside the one that reads its parts otherwise, both alone.

    Parameters
    ----------
    cases : DataFrame
        Results of the study `comparison`, one row per case.

    Returns
    -------
    DataFrame
        One row each, as of `table1`.
    """
    names = (_ALONE["psss"], READ_OTHERWISE)
    return in_order(success_and_error(cases[cases["method"].isin(names)], "method"), names)


def cumulative_figure(cases: Mapping[str, pd.Series], paper: Mapping[str, float], *, threshold: float = 10.0) -> Figure:
    """Draw the share of cases [%] below each mTRE [mm], one curve per method, this project's last; below, the means beside the paper's.

    Parameters
    ----------
    cases : mapping of str to Series
        Method to mTREs [mm], NaN for no answer, which keeps its curve below 100 %.
    paper : mapping of str to float
        Method to the paper's mean mTRE [mm].
    threshold : float
        Of success [mm].

    Returns
    -------
    Figure
        Made without pyplot.
    """
    figure = style.new_figure(6.0)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3.2, 1.0 + 0.06 * len(cases)))
    for place, ((name, values), colour) in enumerate(zip(cases.items(), _COLOURS[-len(cases) :], strict=True)):
        known = np.maximum(np.sort(values.dropna().to_numpy(float)), FINEST)
        if not len(known):
            continue
        share = 100 * np.arange(1, len(known) + 1) / len(values)
        # from zero at the best case to the right edge after the worst
        above.step(
            [known[0], *known, 1e4], [0, *share, share[-1]], where="post", color=colour, linewidth=2, label=f"{name} ({len(values)})"
        )
        below.plot(known.mean(), place, "o", color=colour, markersize=8)
        if not np.isnan(paper.get(name, np.nan)):
            below.plot(paper[name], place, markersize=7, **PAPER)
    every = np.concatenate([values.dropna().to_numpy(float) for values in cases.values()])
    above.set_xlim(0.8 * max(every.min(), FINEST), 1.3 * max(every.max(), threshold))
    style.style_axes(above, title="Cases below an error", grid="both").set_ylabel("share of cases [%]")
    above.set_ylim(0, 101)
    for axes in (above, below):
        style.log_scale(axes, "x")
        line = success_line(axes, threshold, "x")
    handles = [*above.get_legend_handles_labels()[0], paper_key("the paper's mean"), line]
    figure.legend(handles=handles, frameon=False, fontsize=10, ncols=4, loc="outside upper right")
    style.style_axes(below, title="Mean", grid="both").set_xlabel("mTRE [mm]")
    below.set_yticks(range(len(cases)), list(cases))
    below.set_ylim(len(cases) - 0.4, -0.6)
    return figure
