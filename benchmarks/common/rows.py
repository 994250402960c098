"""Rows of a benchmark table: what is measured, its unit and aim, and the measured figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from common.timing import Timing


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of a table. aim: at most this, or at least if `least`. how: what the figure is of."""

    what: str
    unit: str
    how: str = ""
    aim: float | None = None
    least: bool = False

    def met(self, value: float) -> bool | None:
        """Whether a value meets the aim; None without an aim."""
        if self.aim is None:
            return None
        return value >= self.aim if self.least else value <= self.aim


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A measured figure. value: the median where there are repeats. low, high: extremes of the repeats."""

    value: float
    low: float | None = None
    high: float | None = None
    repeats: int = 1
    note: str = ""


def milliseconds(timing: Timing, note: str = "") -> Figure:
    seconds = timing.seconds
    return Figure(value=1e3 * timing.median, low=1e3 * min(seconds), high=1e3 * max(seconds), repeats=len(seconds), note=note)


def images_a_second(timing: Timing, images: int, note: str = "") -> Figure:
    """Convert the timing of `images` rendered at once."""
    low, high = images / max(timing.seconds), images / min(timing.seconds)
    return Figure(value=images / timing.median, low=low, high=high, repeats=len(timing.seconds), note=note)


def as_table(rows: Sequence[Row], found: Mapping[str, Figure], notes: Mapping[str, str], *, dry: str = "") -> list[dict[str, Any]]:
    """One dict per row, all with the same fields; empty where nothing was measured.

    notes: by row, why not. dry: said of all figures, none of which meets an aim.
    """
    table = []
    for row in rows:
        figure = found.get(row.what)
        aim = "" if row.aim is None else f"{'at least' if row.least else 'at most'} {row.aim:,g}"
        line: dict[str, Any] = {"what": row.what, "median": None, "unit": row.unit, "low": None, "high": None, "repeats": None}
        line |= {"aim": aim, "met": None, "how": row.how, "note": notes.get(row.what, "")}
        if figure is not None:
            line |= {"median": _short(figure.value), "low": _short(figure.low), "high": _short(figure.high), "repeats": figure.repeats}
            line |= {"met": None if dry else row.met(figure.value), "note": dry or figure.note}
        table.append(line)
    return table


def missing(table: Sequence[Mapping[str, Any]]) -> list[str]:
    """Rows without a figure."""
    return [row["what"] for row in table if row["median"] is None]


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
