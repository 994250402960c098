"""The paper's tables from our results, the paper's numbers beside them. Columns ending in _paper are the paper's; mm, degrees, percent."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from companion.experiments.statistics import summary
from companion.paper import paper_table
from companion.studies.ablation import REFINED, REFINED_BY_ADAM
from companion.studies.cases import ADAM, ADAM_RELEASED, DESCENT, GRIMM, NETWORK, OURS
from companion.studies.intervals import by_seed_and_case, difference, estimate, verdict
from companion.studies.speed import REGISTRATION
from companion.workflow.plan import INCREMENTAL, VARIANTS
from xrcore._util.errors import XrcoreError
from xrcore.geometry.pose import NAMES
from xrcore.metrics import success_rate

SUCCESS = 10.0  # [mm] of mTRE
ERRORS = ("mtre", "mpd", *NAMES)
LIKENESS = ("ncc", "ssim", "css")
_LABELS = {variant.key: variant.label for variant in VARIANTS}
_BASE, _FULL, _STAR = _LABELS["A"], _LABELS["ABC"], _LABELS[INCREMENTAL]

# what is added, to what, and what that makes; the paper has the first five
STEPS = (
    ("B, the edge decoder", _BASE, _LABELS["AB"]),
    ("C, attention", _BASE, _LABELS["AC"]),
    ("B and C", _BASE, _FULL),
    ("*, growing set", _FULL, _STAR),
    ("D, refinement", _STAR, REFINED),
    ("fresh sets, not a growing one", _STAR, _LABELS["ABC-fresh"]),
    ("every DRR new", _FULL, _LABELS["ABC-new"]),
    ("our D, not the paper's Adam", REFINED_BY_ADAM, REFINED),
)
CONDITIONS = {
    "refined, as acquired": ("refined", "acquired"),
    "refined, the paper's protocol": ("refined", "paper"),
    "network alone, as acquired": ("network", "acquired"),
    "network alone, the paper's protocol": ("network", "paper"),
}


def in_columns(cases: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Table 3's columns for each group of cases: mean and population std of mTRE, mPD [mm] and each number's absolute error
    [deg, mm] over the cases with an answer, and the success rate [%], for which no answer is a failure."""
    rows: dict[Any, dict[str, float]] = {}
    for key, group in cases.groupby(list(by), sort=False):
        row: dict[str, float] = {"cases": len(group)}
        for name in ERRORS:
            column = f"{name}_mm" if f"{name}_mm" in group else f"error_{name}"
            values = group[column].abs()
            row[f"{name}_mean"], row[f"{name}_std"] = values.mean(), values.std(ddof=0)
        row["sr_percent"] = success_rate(group["mtre_mm"].to_numpy(float), SUCCESS)
        rows[key if len(by) > 1 else key[0]] = row
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.index = pd.MultiIndex.from_tuples(rows, names=list(by)) if len(by) > 1 else pd.Index(list(rows), name=by[0])
    return table.astype({"cases": int})


def table1(cases: pd.DataFrame) -> pd.DataFrame:
    """A row a method: mTRE (mean, with the bootstrap's interval) and SR (with Wilson's). The paper's network alone is in its Table 3."""
    paper = paper_table("table1_comparison_drr")
    table = _in_order(_summary(cases, "method"), ["Salehi 2018", "Grimm 2021, network", "Grimm 2021", "PSSS, network", "PSSS"])
    alone = paper_table("table3_ablation_and_patients").loc[_STAR]
    table.insert(0, "mtre_paper", paper["mtre_mm"].reindex(table.index))
    table.insert(1, "sr_paper", paper["sr_percent"].reindex(table.index).astype(float))
    table.loc["PSSS, network", ["mtre_paper", "sr_paper"]] = [alone["mtre_mean"], alone["sr_percent"]]
    return table


def table2(cases: pd.DataFrame) -> pd.DataFrame:
    """A row a refinement: mean NCC, SSIM, CSS of X-ray and DRR, mTRE and PD [mm], and the median seconds.

    The paper's row PSSS, an Adam, stands beside both readings of its step sizes, and beside ours.
    """
    paper = paper_table("table2_refinement_xray")
    groups = cases.groupby("method")
    table = groups[list(LIKENESS)].mean().join(groups[["mtre_mm", "pd_mm"]].mean()).join(groups[["seconds"]].median())
    table = _in_order(table.join(groups.size().rename("cases")), [NETWORK, GRIMM, ADAM, ADAM_RELEASED, DESCENT, OURS])
    rows = {GRIMM: "Grimm 2021 refinement", ADAM: "PSSS", ADAM_RELEASED: "PSSS", OURS: "PSSS"}
    for name in LIKENESS:
        table[f"{name}_paper"] = paper[name].reindex([rows.get(method) for method in table.index]).to_numpy()
    return table


def table3_parts(cases: pd.DataFrame) -> pd.DataFrame:
    """A row of the ablation: `in_columns` over all seeds and poses, the interval of the mean mTRE over both, and the paper's columns."""
    paper = paper_table("table3_ablation_and_patients")
    order = [v.label for v in VARIANTS if v.label in paper.index] + [REFINED]
    order += [v.label for v in VARIANTS if v.label not in paper.index] + [REFINED_BY_ADAM]
    table = _in_order(in_columns(cases, ["method"]), order)
    for method in table.index:
        of = estimate(by_seed_and_case(cases[cases["method"] == method]))
        table.loc[method, ["mtre_low", "mtre_high"]] = [np.maximum(of.low, 0.0), of.high]  # an error is not negative
        table.loc[method, ["seeds", "poses"]] = [of.seeds, of.poses]
    beside = paper.reindex(table.index).add_suffix("_paper").astype(float)
    return table.astype({"seeds": int, "poses": int}).join(beside)


def of_paper(table: pd.DataFrame) -> pd.DataFrame:
    """The paper's columns of a table, under the names of ours."""
    return table.filter(regex="_paper$").rename(columns=lambda name: name.removesuffix("_paper"))


def beside(table: pd.DataFrame) -> pd.DataFrame:
    """The paper's row above ours, where it has one: index (row, source), the columns that both have."""
    paper = of_paper(table)
    both = pd.concat({"paper": paper.dropna(how="all"), "here": table[paper.columns]}, names=["source"]).swaplevel()
    return both.loc[[(row, source) for row in table.index for source in ("paper", "here") if (row, source) in both.index]]


def steps(cases: pd.DataFrame) -> pd.DataFrame:
    """What each of STEPS changes: the paired difference of mTRE [mm] with its interval, in how many seeds it helps, and a verdict.

    before: the mean mTRE without it, over the same seeds and poses. percent*: the difference in percent of that. The paper has a
    direction only, no interval.
    """
    paper = paper_table("table3_ablation_and_patients")["mtre_mean"]
    rows = {}
    for name, before, after in STEPS:
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
            "verdict": verdict(change),
            "difference_paper": paper[after] - paper[before] if known else np.nan,
            "percent_paper": 100 * (paper[after] / paper[before] - 1) if known else np.nan,
        }
        rows[name]["verdict_paper"] = "" if not known else "helps" if paper[after] < paper[before] else "hurts"
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("part")


def table3_patients(cases: pd.DataFrame) -> pd.DataFrame:
    """`in_columns` for each patient and each of CONDITIONS, the paper's row of the patient's place first.

    Ours are other people than the paper's: first stands beside first, and the one with the implant beside the one with the implant.
    """
    paper = paper_table("table3_ablation_and_patients")
    blocks = []
    for place, patient in enumerate(dict.fromkeys(sorted(cases["patient"])), 1):
        row = "dataset6#" if patient.endswith("#") else f"dataset{place}"
        own = cases[cases["patient"] == patient]
        parts = [own[(own["method"] == method) & (own["protocol"] == protocol)] for method, protocol in CONDITIONS.values()]
        block = pd.concat([in_columns(part.assign(row=name), ["row"]) for name, part in zip(CONDITIONS, parts, strict=True) if len(part)])
        if row in paper.index:
            block = pd.concat([paper.loc[[row]].rename(index={row: "paper"}), block])
        blocks.append(pd.concat({patient: block.reindex(columns=["cases", *paper.columns])}, names=["patient", "row"]))
    return pd.concat(blocks).astype({"cases": "Int64"})


def patients_overview(cases: pd.DataFrame) -> pd.DataFrame:
    """For each of CONDITIONS: mean over the patients' mean mTREs, the worst patient's and the worst case's, and SR with its interval."""
    paper = paper_table("table3_ablation_and_patients")
    paper = paper[paper.index.str.startswith("dataset")]
    rows = {}
    for name, (method, protocol) in CONDITIONS.items():
        part = cases[(cases["method"] == method) & (cases["protocol"] == protocol)]
        if part.empty:
            raise XrcoreError(f"patients_overview: the results hold no cases of {name!r}")
        means = part.groupby("patient")["mtre_mm"].mean()
        everyone = summary(part, ()).iloc[0]
        refined = method == "refined"
        rows[name] = {
            "mtre_paper": paper["mtre_mean"].mean() if refined else np.nan,
            "mtre": means.mean(),
            "mtre_worst_patient": means.max(),
            "mtre_worst_case": everyone["mtre_max_mm"],
            "sr_paper": paper["sr_percent"].mean() if refined else np.nan,
            **{new: everyone[old] for new, old in _SUCCESS.items()},
            "patients": len(means),
            "cases": everyone["cases"],
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("row")


def table4(cases: pd.DataFrame, method: str = OURS) -> pd.DataFrame:
    """PD [mm], NCC, SSIM and CSS of each case, mean and population std, as the paper has it and here: index (measure, source)."""
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


def speed(measured: pd.DataFrame, training_minutes: float | None = None) -> pd.DataFrame:
    """What was timed [ms], the paper's headline on its GPU where it has one, and peers' times in units of our same work.

    training_minutes: of the network whose predictions were timed; a row of its own.
    """
    table = measured.set_index("what")[["median_ms", "min_ms", "max_ms", "repeats"]].copy()
    if training_minutes is not None:
        table.loc["training", ["median_ms", "repeats"]] = [training_minutes * 60_000, 1]
    headlines = paper_table("headlines")
    milliseconds = headlines["value"] * headlines["unit"].map({"ms": 1.0, "s": 1e3, "h": 3.6e6})
    said = {what: milliseconds[row] for what, row in HEADLINES.items()}
    table["paper_ms"] = [said.get(what, np.nan) for what in table.index]
    # the paper's image has 256 x 256 pixels, and only beside such a one is it fair
    fair = [what != "image" or bool((measured["pixels"] == _PIXELS).all()) for what in table.index]
    table["of_paper"] = (table["median_ms"] / table["paper_ms"]).where(fair)
    medians = table["median_ms"]
    table["times_ours"] = [medians[what] / medians[PEERS[what]] if PEERS.get(what) in medians else np.nan for what in table.index]
    return table.astype({"repeats": int})


HEADLINES = {"image": "one 256 x 256 image", REGISTRATION: "whole registration", "training": "training"}
# a peer, and the row of ours that does the same work
PEERS = {
    "RTK Joseph, one material": "image, one material, one energy",
    "nanodrr, one material": "image, one material, one energy",
    "nanodrr, forward and backward": "forward and backward",
    "refinement: the paper's Adam": "refinement: least squares, one descent",
    "refinement: Grimm 2021": "refinement: least squares, one descent",
}


def typical(cases: pd.DataFrame, method: str, count: int = 1) -> list[int]:
    """Cases to show, chosen by a method's mTRE and not by their looks: the median one, or from the best to the worst at even ranks."""
    ranked = cases[cases["method"] == method].sort_values(["mtre_mm", "case"])["case"].to_list()
    if not ranked:
        raise XrcoreError(f"typical: the results hold no cases of {method!r}")
    ranks = [(len(ranked) - 1) // 2] if count == 1 else np.linspace(0, len(ranked) - 1, count).round().astype(int).tolist()
    return [ranked[rank] for rank in dict.fromkeys(ranks)]


def kinds(table: pd.DataFrame) -> dict[str, str]:
    """Of the rows of `speed` that a figure shows: "image", "registration" or "peer"."""
    found = {}
    for what in table.index:
        if what.startswith(("RTK", "nanodrr")):
            found[what] = "peer"
        elif what.startswith(("refinement", "registration", "network")):
            found[what] = "registration"
        elif what != "training":
            found[what] = "image"
    return found


_PIXELS = 256
_SUCCESS = {"sr": "success", "sr_low": "success_low", "sr_high": "success_high"}
_MTRE = {"mtre": "mtre_mean_mm", "mtre_low": "mtre_mean_low_mm", "mtre_high": "mtre_mean_high_mm", "mtre_median": "mtre_median_mm"}


def _summary(cases: pd.DataFrame, by: str) -> pd.DataFrame:
    found = summary(cases, [by]).set_index(by)
    return found.rename(columns={old: new for new, old in {**_MTRE, **_SUCCESS}.items()})[[*_MTRE, *_SUCCESS, "cases", "raised"]]


def _in_order(table: pd.DataFrame, order: Sequence[str]) -> pd.DataFrame:
    """Rows in this order; raises XrcoreError for results that lack one."""
    if missing := [name for name in order if name not in table.index]:
        raise XrcoreError(f"the results hold no cases of {', '.join(missing)}; they are of another version, make them again")
    return table.loc[list(order)]


def wrist_answers(cases: pd.DataFrame) -> pd.DataFrame:
    """Real X-rays: NCC, SSIM and CSS in each camera, at its own answer and at that of both; and how many starts ended there.

    cases: of the study `wrist`. Index: "bone, frame: own" or "bone, frame: both".
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
    """Real X-rays: camera 1 alone against camera 2 alone, the error that needs no label. Index: "bone, frame".

    The last two columns: each camera alone against both together, across that camera's own depth.
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
