"""Format tables for notebooks: rounded texts, the same on every machine."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

import numpy as np
import pandas as pd

from xrcore import XrcoreError

MISSING = "–"
_UNITS = (("h", 3.6e6), ("min", 6e4), ("s", 1e3), ("ms", 1.0))


class TextTable:
    """A table of texts for a notebook's output; it does not depend on pandas' display options.

    Parameters
    ----------
    columns : mapping of str to Series
        Heading to texts, which share an index.
    index : str
        Its heading.
    """

    def __init__(self, columns: Mapping[str, pd.Series], index: str = "") -> None:
        self.frame = pd.DataFrame(dict(columns)).fillna(MISSING).astype(str)
        self.index = index

    def __repr__(self) -> str:
        return self.frame.rename_axis(None).to_string()

    def _repr_html_(self) -> str:
        heads = "".join(f"<th>{escape(text)}</th>" for text in (self.index, *self.frame.columns))
        rows = [
            f"<tr><th>{escape(str(name))}</th>" + "".join(_cell(text) for text in row) + "</tr>"
            for name, row in zip(self.frame.index, self.frame.itertuples(index=False), strict=True)
        ]
        return f'<table class="dataframe">\n<thead><tr>{heads}</tr></thead>\n<tbody>\n' + "\n".join(rows) + "\n</tbody>\n</table>"


def number(values: pd.Series, decimals: int) -> pd.Series:
    """Write numbers with fixed decimals; what they would show as zero, but is not, as "< 0.01".

    Parameters
    ----------
    values : Series
        Of float.
    decimals : int
        How many.


    Returns
    -------
    Series
        Of str.
    """
    return values.map(lambda value: _text(value, decimals))


def duration(values: pd.Series) -> pd.Series:
    """Write times in the unit that reads best.

    Parameters
    ----------
    values : Series
        Of float [ms].


    Returns
    -------
    Series
        Of str.
    """
    return values.map(_duration)


def spread(table: pd.DataFrame, name: str, decimals: int) -> pd.Series:
    """Write mean ± standard deviation.

    Parameters
    ----------
    table : DataFrame
        With columns NAME_mean and NAME_std.
    name : str
        Of the columns.
    decimals : int
        How many.


    Returns
    -------
    Series
        Of str.
    """
    means, stds = table[f"{name}_mean"], table[f"{name}_std"]
    return pd.Series([_joined(mean, decimals, " ± {}", std) for mean, std in zip(means, stds, strict=True)], table.index)


def interval(table: pd.DataFrame, name: str, decimals: int) -> pd.Series:
    """Write a number and its interval.

    Parameters
    ----------
    table : DataFrame
        With columns NAME, NAME_low and NAME_high.
    name : str
        Of the columns.
    decimals : int
        How many.


    Returns
    -------
    Series
        Of str.
    """
    columns = zip(table[name], table[f"{name}_low"], table[f"{name}_high"], strict=True)
    return pd.Series([_joined(mean, decimals, " ({} to {})", low, high) for mean, low, high in columns], table.index)


def between(table: pd.DataFrame, name: str, decimals: int) -> pd.Series:
    """Write an interval.

    Parameters
    ----------
    table : DataFrame
        With columns NAME_low and NAME_high.
    name : str
        Of the columns.
    decimals : int
        How many.


    Returns
    -------
    Series
        Of str.
    """
    lows, highs = (number(table[f"{name}_{end}"], decimals) for end in ("low", "high"))
    return (lows + " to " + highs).where(table[f"{name}_low"].notna(), MISSING)


def with_reasons(table: pd.DataFrame, why: Mapping[str, str]) -> pd.DataFrame:
    """Add a column `why` of words.

    Parameters
    ----------
    table : DataFrame
        Index: names of rows.
    why : mapping of str to str
        Row to its reason.


    Returns
    -------
    DataFrame
        A copy.

    Raises
    ------
    XrcoreError
        If a row has no reason, or a reason no row.
    """
    missing, unknown = [str(row) for row in table.index if row not in why], [key for key in why if key not in table.index]
    if missing or unknown:
        raise XrcoreError(f"with_reasons: rows without a reason: {missing}; reasons without a row: {unknown}")
    return table.assign(why=[why[row] for row in table.index])


def _joined(mean: float, decimals: int, form: str, *others: float) -> str:
    """The mean alone where the others are missing, or as small as it."""
    tiny = 0.5 * 10.0**-decimals
    if any(pd.isna(other) for other in others) or 0 < mean < tiny > max(others):
        return _text(mean, decimals)
    return _fixed(mean, decimals) + form.format(*(_fixed(other, decimals) for other in others))


def _text(value: float, decimals: int) -> str:
    if pd.isna(value):
        return MISSING
    return f"< {10.0**-decimals:.{decimals}f}" if 0 < value < 0.5 * 10.0**-decimals else _fixed(value, decimals)


def _duration(milliseconds: float) -> str:
    if pd.isna(milliseconds):
        return MISSING
    unit, size = next(((unit, size) for unit, size in _UNITS if milliseconds >= size), _UNITS[-1])
    return f"{_fixed(milliseconds / size, 1)} {unit}"


def _fixed(value: float, decimals: int) -> str:
    return f"{np.round(float(value), decimals) + 0.0:.{decimals}f}"  # and no -0.00


def _cell(text: str) -> str:
    aligned = ' style="text-align: left; min-width: 22em"' if len(text) > 40 else ""
    return f"<td{aligned}>{escape(text)}</td>"
