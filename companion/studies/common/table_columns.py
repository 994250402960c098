"""Shared helpers for tables: columns of errors by group beside the paper's, whose names end in _paper."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from companion.experiments import summary
from xrcore import XrcoreError
from xrcore.geometry import POSE_NAMES
from xrcore.metrics import success_rate

SUCCESS = 10.0  # [mm] of mTRE
ERRORS = ("mtre", "mpd", *POSE_NAMES)
LIKENESS = ("ncc", "ssim", "css")
SUCCESS_COLUMNS = {"sr": "success", "sr_low": "success_low", "sr_high": "success_high"}
_MTRE = {"mtre": "mtre_mean_mm", "mtre_low": "mtre_mean_low_mm", "mtre_high": "mtre_mean_high_mm", "mtre_median": "mtre_median_mm"}


def in_columns(cases: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Put groups of cases into Table 3's columns.

    Parameters
    ----------
    cases : DataFrame
        One row per case.
    by : sequence of str
        Columns that name the groups.

    Returns
    -------
    DataFrame
        One row per group: mean and population standard deviation of mTRE, mPD [mm] and each number's absolute error [deg, mm] over
        the cases with an answer, and the success rate [%], for which no answer is a failure.
    """
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


def success_and_error(cases: pd.DataFrame, by: str) -> pd.DataFrame:
    """Take mean and median mTRE [mm] and success rate [%] with their intervals by group.

    Parameters
    ----------
    cases : DataFrame
        One row per case.
    by : str
        The column that names the groups.

    Returns
    -------
    DataFrame
        One row per group; see `companion.experiments.summary`.
    """
    found = summary(cases, [by]).set_index(by)
    return found.rename(columns={old: new for new, old in {**_MTRE, **SUCCESS_COLUMNS}.items()})[
        [*_MTRE, *SUCCESS_COLUMNS, "cases", "raised"]
    ]


def in_order(table: pd.DataFrame, order: Sequence[str]) -> pd.DataFrame:
    """Put rows into an order; those that were not measured yet are empty.

    Parameters
    ----------
    table : DataFrame
        Index: names.
    order : sequence of str
        Names.

    Returns
    -------
    DataFrame
        The rows in this order.

    Raises
    ------
    XrcoreError
        If a row has no place in it.
    """
    if unknown := [str(name) for name in table.index if name not in order]:
        raise XrcoreError(f"the results hold cases of {', '.join(unknown)}; they are of another version, make them again")
    return table.reindex(list(order))


def of_paper(table: pd.DataFrame) -> pd.DataFrame:
    """Take the paper's columns of a table.

    Parameters
    ----------
    table : DataFrame
        With columns ending in _paper.

    Returns
    -------
    DataFrame
        Those columns, under the names without `_paper`.
    """
    return table.filter(regex="_paper$").rename(columns=lambda name: name.removesuffix("_paper"))


def beside(table: pd.DataFrame) -> pd.DataFrame:
    """Put the paper's row above the measured one, where it has one.

    Parameters
    ----------
    table : DataFrame
        With columns ending in _paper.

    Returns
    -------
    DataFrame
        Index (row, source), the columns that both have.
    """
    paper = of_paper(table)
    both = pd.concat({"paper": paper.dropna(how="all"), "here": table[paper.columns]}, names=["source"]).swaplevel()
    return both.loc[[(row, source) for row in table.index for source in ("paper", "here") if (row, source) in both.index]]


def typical(cases: pd.DataFrame, method: str, count: int = 1) -> list[int]:
    """Choose cases to show by a method's mTRE.

    Parameters
    ----------
    cases : DataFrame
        One row per case.
    method : str
        Whose errors count.
    count : int
        How many.

    Returns
    -------
    list of int
        The median case; or, of several, cases from the best to the worst at even ranks, no answer being the worst.

    Raises
    ------
    XrcoreError
        If there are no cases of the method.
    """
    ranked = cases[cases["method"] == method].sort_values(["mtre_mm", "case"])["case"].to_list()
    if not ranked:
        raise XrcoreError(f"typical: the results hold no cases of {method!r}")
    ranks = [(len(ranked) - 1) // 2] if count == 1 else np.linspace(0, len(ranked) - 1, count).round().astype(int).tolist()
    return [ranked[rank] for rank in dict.fromkeys(ranks)]
