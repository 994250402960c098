"""Table 3, upper half: ablation of the network's parts on the first patient, under the paper's protocol."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from companion.experiments import prediction, refinement, registration, run
from companion.studies.common.base import Study
from companion.studies.common.figure_parts import draw_interval, draw_paper, name_rows, paper_key
from companion.studies.common.intervals import by_seed_and_case, conclusion, difference, estimate
from companion.studies.common.paths import Paths
from companion.studies.common.plan import EVERY_NEW, INCREMENTAL, LABELS, VARIANTS, Plan
from companion.studies.common.table_columns import in_columns, in_order
from companion.studies.common.trainings import model_of
from companion.studies.paper import paper_table
from xrcore.figures import style

REFINED, REFINED_BY_ADAM = "[A+B+C]*+D", "[A+B+C]*+D, the paper's Adam"
_BASE, _FULL, _STAR = LABELS["A"], LABELS["ABC"], LABELS[INCREMENTAL]
# what is added, to what, and what that makes; the paper has the first five
STEPS = (
    ("B, the edge decoder", _BASE, LABELS["AB"]),
    ("C, attention", _BASE, LABELS["AC"]),
    ("B and C", _BASE, _FULL),
    ("*, a set that is extended", _FULL, _STAR),
    ("D, refinement", _STAR, REFINED),
    ("every DRR new", _FULL, LABELS[EVERY_NEW]),
    ("our D, not the paper's Adam", REFINED_BY_ADAM, REFINED),
)
_VERDICTS = {"helps": style.BLUE, "hurts": style.ORANGE, "not decided": style.PALE}


class AblationStudy(Study):
    """One part per training; the rows' methods are named as the paper names its rows, and `seed` tells the trainings apart.

    D, the refinement, follows the incremental network's prediction: xrcore's, verified and with further starts, and the paper's,
    one descent of 100 Adam steps.
    """

    name: ClassVar[str] = "ablation"

    def parts(self, plan: Plan) -> tuple[str, ...]:
        return tuple(f"{variant.key}-{seed}" for variant in VARIANTS for seed in plan.seeds_of(variant.key))

    def trainings(self, plan: Plan, part: str) -> tuple[str, ...]:
        return (f"ablation/{part}",)

    def sizes(self, plan: Plan, part: str) -> Any:
        variant, _, seed = part.rpartition("-")
        sizes = plan.ablation
        if variant != INCREMENTAL:
            return LABELS[variant], sizes.poses
        adam = sizes.adam if int(seed) == sizes.seeds[0] else 0
        return LABELS[variant], sizes.poses, REFINED, sizes.refined, REFINED_BY_ADAM, adam

    def table(self, plan: Plan, paths: Paths, part: str, growing: Path) -> pd.DataFrame:
        variant, _, seed = part.rpartition("-")
        model = model_of(paths, f"ablation/{part}")
        passes = [(prediction(model, LABELS[variant]), plan.ablation.poses)]
        if variant == INCREMENTAL:
            passes.append((registration(model, REFINED), plan.ablation.refined))
            if int(seed) == plan.ablation.seeds[0]:
                passes.append((refinement("paper-as-intended", model, REFINED_BY_ADAM), plan.ablation.adam))
        table = pd.DataFrame()
        for method, poses in passes:
            table = run([method], [plan.subjects[0]], [plan.test_set("plain", "paper", poses)], growing)
        return table.assign(seed=int(seed))


def table3_parts(cases: pd.DataFrame) -> pd.DataFrame:
    """Make the upper half of Table 3.

    Parameters
    ----------
    cases : DataFrame
        Results of the study `ablation`, one row per case.

    Returns
    -------
    DataFrame
        A row of the ablation: `in_columns` over all seeds and poses, the interval of the mean mTRE over both, and the paper's columns.
    """
    paper = paper_table("table3_ablation_and_patients")
    order = [v.label for v in VARIANTS if v.label in paper.index] + [REFINED]
    order += [v.label for v in VARIANTS if v.label not in paper.index] + [REFINED_BY_ADAM]
    table = in_order(in_columns(cases, ["method"]), order)
    for method in table.index:
        of = estimate(by_seed_and_case(cases[cases["method"] == method]))
        table.loc[method, ["mtre_low", "mtre_high"]] = [np.maximum(of.low, 0.0), of.high]  # an error is not negative
        table.loc[method, ["seeds", "poses"]] = [of.seeds, of.poses]
    beside = paper.reindex(table.index).add_suffix("_paper").astype(float)
    return table.astype({"seeds": int, "poses": int}).join(beside)


def steps(cases: pd.DataFrame) -> pd.DataFrame:
    """Estimate what each of STEPS changes.

    Parameters
    ----------
    cases : DataFrame
        Results of the study `ablation`, one row per case.

    Returns
    -------
    DataFrame
        Index: the parts whose two rows were measured. The paired difference of mTRE [mm] with its interval, in how many seeds it helps,
        and a verdict. before_mm: the mean mTRE without the part, over the same seeds and poses. percent*: the difference in percent of
        that. The paper has a direction only, no interval.
    """
    paper = paper_table("table3_ablation_and_patients")["mtre_mean"]
    rows, measured = {}, set(cases["method"])
    for name, before, after in STEPS:
        if not {before, after} <= measured:
            continue
        without, with_it = (by_seed_and_case(cases[cases["method"] == method]) for method in (before, after))
        both = (with_it - without).dropna(how="all").dropna(axis=1, how="all")
        change = difference(without, with_it)
        scale = 100 / np.nanmean(without.loc[both.index, both.columns].where(both.notna()).to_numpy()) if both.size else np.nan
        known = before in paper and after in paper
        rows[name] = {
            "before": before,
            "after": after,
            "before_mm": 100 / scale,
            "difference": change.mean,
            "difference_low": change.low,
            "difference_high": change.high,
            "percent": scale * change.mean,
            "percent_low": np.maximum(scale * change.low, -100.0),  # an error does not fall below zero
            "percent_high": scale * change.high,
            "seeds": change.seeds,
            "seeds_helped": int((both.mean(axis=1) < 0).sum()),
            "poses": change.poses,
            "verdict": conclusion(change),
            "difference_paper": paper[after] - paper[before] if known else np.nan,
            "percent_paper": 100 * (paper[after] / paper[before] - 1) if known else np.nan,
        }
        rows[name]["verdict_paper"] = "" if not known else "helps" if paper[after] < paper[before] else "hurts"
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("part")


def ablation_figure(parts: pd.DataFrame, steps: pd.DataFrame) -> Figure:
    """Draw the ablation: left the mean mTRE [mm] of each row, right what each step changes [%], with 95 % intervals, the paper's hollow.

    Parameters
    ----------
    parts : DataFrame
        Of `table3_parts`.
    steps : DataFrame
        Of `steps`.

    Returns
    -------
    Figure
        Made without pyplot.
    """
    figure = style.new_figure(1.4 + 0.42 * max(len(parts), len(steps)))
    left, right = figure.subplots(1, 2, width_ratios=(1.05, 1))
    for place, (_, row) in enumerate(parts.iterrows()):
        draw_interval(left, place, row["mtre_mean"], row["mtre_low"], row["mtre_high"], style.BLUE)
        draw_paper(left, place, row["mtre_mean_paper"])
    name_rows(left, list(parts.index), "Mean mTRE [mm]")
    left.set_xlim(left=min(0.0, left.get_xlim()[0]))
    right.axvline(0, color=style.MUTED, linewidth=1)
    for place, (_, row) in enumerate(steps.iterrows()):
        draw_interval(right, place, row["percent"], row["percent_low"], row["percent_high"], _VERDICTS[row["verdict"]])
        draw_paper(right, place, row["percent_paper"])
    name_rows(right, list(steps.index), "Change of mTRE [%]")
    right.set_xlim(-112.0, max(30.0, min(right.get_xlim()[1], 100.0)))  # an error falls by 100 % at most
    dots = [Line2D([], [], marker="o", color=colour, label=name) for name, colour in _VERDICTS.items()]
    figure.legend(handles=[*dots, paper_key()], frameon=False, ncols=4, loc="outside lower right")
    return figure
