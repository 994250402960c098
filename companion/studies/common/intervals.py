"""Confidence intervals of a mean over a few training seeds and the test poses that all seeds share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from xrcore import XrcoreError


@dataclass(frozen=True)
class Estimate:
    """A mean and its interval.

    Parameters
    ----------
    mean, low, high : float
        NaN where nothing tells the spread.
    seeds, poses : int
        How many trainings and poses it comes from.
    """

    mean: float
    low: float
    high: float
    seeds: int
    poses: int


def estimate(values: pd.DataFrame, confidence: float = 0.95) -> Estimate:
    """Estimate a mean for trainings and poses yet unseen.

    The variance of the mean is that of the seeds' means over their number plus that of the poses' means over theirs, which counts
    what is left over twice and so errs to the safe side, as the pigeonhole bootstrap does. The interval is Student's, its degrees of
    freedom by Satterthwaite: resampling three seeds cannot tell how far a fourth may lie, Student's distribution can. With one seed it
    holds for that training only.

    Parameters
    ----------
    values : DataFrame
        One row per seed and one column per pose; NaN for what has no answer.
    confidence : float
        Of the interval.

    Returns
    -------
    Estimate
        Mean and interval.

    References
    ----------
    Owen, Ann. Appl. Stat. 1, 2007; Satterthwaite, Biometrics Bull. 2, 1946.
    """
    table = values.dropna(axis=0, how="all").dropna(axis=1, how="all")
    seeds, poses = table.shape
    if seeds == 0:
        return Estimate(np.nan, np.nan, np.nan, 0, 0)
    means = [table.mean(axis=1).to_numpy(float), table.mean(axis=0).to_numpy(float)]
    # (variance of the mean, degrees of freedom), of what there is more than one of
    parts = [(of.var(ddof=1) / len(of), len(of) - 1) for of in means if len(of) > 1]
    mean, variance = float(np.nanmean(table.to_numpy(float))), sum(v for v, _ in parts)
    if not parts:
        return Estimate(mean, np.nan, np.nan, seeds, poses)
    if variance == 0:
        return Estimate(mean, mean, mean, seeds, poses)
    freedom = variance**2 / sum(v**2 / f for v, f in parts)
    reach = float(stdtrit(freedom, 0.5 + confidence / 2)) * float(np.sqrt(variance))
    return Estimate(mean, mean - reach, mean + reach, seeds, poses)


def by_seed_and_case(cases: pd.DataFrame) -> pd.DataFrame:
    """Arrange one method's cases with one row per seed and one column per pose.

    Parameters
    ----------
    cases : DataFrame
        One row per case; columns seed, case and mtre_mm.

    Returns
    -------
    DataFrame
        For `estimate`.

    Raises
    ------
    XrcoreError
        If a case is there twice.
    """
    if cases.duplicated(["seed", "case"]).any():
        raise XrcoreError("by_seed_and_case: a seed has a case twice; choose one method, patient and test set")
    return cases.pivot(index="seed", columns="case", values="mtre_mm").astype(float)


def difference(before: pd.DataFrame, after: pd.DataFrame, confidence: float = 0.95) -> Estimate:
    """Estimate the mean of after - before, paired, so that hard poses and lucky seeds cancel.

    Parameters
    ----------
    before, after : DataFrame
        One row per seed and one column per pose.
    confidence : float
        Of the interval.

    Returns
    -------
    Estimate
        Over the seeds and poses that both have.
    """
    return estimate((after - before).dropna(axis=0, how="all"), confidence)


def conclusion(change: Estimate) -> str:
    """Say what a change of an error means.

    Parameters
    ----------
    change : Estimate
        Of an error.

    Returns
    -------
    str
        "helps" or "hurts" where zero lies outside its interval, else "not decided".
    """
    if change.high < 0:
        return "helps"
    return "hurts" if change.low > 0 else "not decided"
