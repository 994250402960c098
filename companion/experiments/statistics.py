"""Success rates and errors by group of cases, with confidence intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from xrcore import XrcoreError
from xrcore.metrics import success_rate

_RESAMPLES = 4000


def summary(
    table: pd.DataFrame,
    by: Sequence[str] = ("test_set", "method", "patient"),
    *,
    threshold: float = 10.0,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Count successes and average errors for each group of cases.

    Parameters
    ----------
    table : DataFrame
        Of `run`.
    by : sequence of str
        Columns that name the groups; () makes one of all.
    threshold : float
        mTRE [mm] below which a case is a success.
    confidence : float
        Of the intervals.

    Returns
    -------
    Summary
        One row per group, which prints with all its columns. success: share [%] of cases with mTRE below `threshold`, a method that raised
        counting as failure (`raised`: how many did); success_low, success_high: Wilson's interval. mtre_*: over the cases with an answer
        [mm]; std divides by their number; the mean's interval is the percentile bootstrap's. trusted: share [%] of the answers that were
        judged; failures_trusted: how many of those were trusted without being a success.

    Raises
    ------
    XrcoreError
        If `by` names a column that the table does not have.

    References
    ----------
    Wilson, JASA 22, 1927.
    """
    for name in by:
        if name not in table:
            raise XrcoreError(f"summary: the table has no column {name!r}")
    groups = table.groupby(list(by), sort=True) if by else [((), table)]
    rows = [dict(zip(by, key, strict=True)) | _describe(group, threshold, confidence) for key, group in groups if len(group)]
    return Summary(rows)


class Summary(pd.DataFrame):
    """A data frame that prints all of its columns, whatever pandas' options."""

    def __repr__(self) -> str:
        """Give all columns, as many beside each other as fit 120 characters."""
        return self.to_string(index=False, line_width=120, float_format="{:.4g}".format)

    def _repr_html_(self) -> str:
        return self.to_html(index=False, float_format="{:.4g}".format)


def _describe(cases: pd.DataFrame, threshold: float, confidence: float) -> dict[str, Any]:
    from scipy.stats import binomtest  # here, as it takes a while and not all that is imported with this sums up

    cases = cases.reset_index(drop=True)  # of tables put together several rows have the same
    mtre = np.sort(cases["mtre_mm"].to_numpy(float))  # so that the order of the cases does not matter, not even to rounding
    answered = mtre[~np.isnan(mtre)]
    good = int((mtre < threshold).sum())
    interval = binomtest(good, len(mtre)).proportion_ci(confidence, method="wilson")
    low, high = _interval_of_mean(answered, confidence)
    some = len(answered) > 0
    trusted = cases["trusted"].dropna().astype(bool)
    wrong = ~(cases.loc[trusted.index, "mtre_mm"] < threshold)
    return {
        "cases": len(mtre),
        "raised": len(mtre) - len(answered),
        "success": success_rate(mtre, threshold),
        "success_low": 100 * interval.low,
        "success_high": 100 * interval.high,
        "mtre_mean_mm": float(answered.mean()) if some else np.nan,
        "mtre_mean_low_mm": low,
        "mtre_mean_high_mm": high,
        "mtre_median_mm": float(np.median(answered)) if some else np.nan,
        "mtre_std_mm": float(answered.std()) if some else np.nan,
        "mtre_p95_mm": float(np.percentile(answered, 95)) if some else np.nan,
        "mtre_max_mm": float(answered.max()) if some else np.nan,
        "mpd_median_mm": float(cases["mpd_mm"].median()),
        "trusted": 100 * float(trusted.mean()) if len(trusted) else np.nan,
        "failures_trusted": int((trusted & wrong).sum()),
        "seconds_median": float(cases["seconds"].median()),
    }


def _interval_of_mean(values: NDArray[np.float64], confidence: float) -> tuple[float, float]:
    """Percentile bootstrap, the same for the same sorted values; NaN below two of them, which tell no spread."""
    if len(values) < 2:
        return np.nan, np.nan
    draws = np.random.default_rng(0).choice(values, (_RESAMPLES, len(values)))
    tail = 50 * (1 - confidence)
    low, high = np.percentile(draws.mean(1), [tail, 100 - tail])
    return float(low), float(high)
