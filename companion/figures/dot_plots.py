"""Dots with their intervals, the paper's hollow beside them: the ablation, and what was timed."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from companion.figures.paper_marks import PAPER, paper_key
from xrcore.figures import style

_VERDICTS = {"helps": style.BLUE, "hurts": style.ORANGE, "not decided": style.PALE}


def ablation_figure(parts: pd.DataFrame, steps: pd.DataFrame) -> Figure:
    """Left: mean mTRE [mm] of each row; right: what each step changes [%]. Both with 95 % intervals, the paper's hollow.

    parts, steps: of `tables.table3_parts` and `tables.steps`.
    """
    figure = style.new_figure(1.4 + 0.42 * max(len(parts), len(steps)))
    left, right = figure.subplots(1, 2, width_ratios=(1.05, 1))
    for place, (_, row) in enumerate(parts.iterrows()):
        _dot(left, place, row["mtre_mean"], row["mtre_low"], row["mtre_high"], style.BLUE)
        _hollow(left, place, row["mtre_mean_paper"])
    _rows(left, list(parts.index), "Mean mTRE [mm]")
    left.set_xlim(left=min(0.0, left.get_xlim()[0]))
    right.axvline(0, color=style.MUTED, linewidth=1)
    for place, (_, row) in enumerate(steps.iterrows()):
        _dot(right, place, row["percent"], row["percent_low"], row["percent_high"], _VERDICTS[row["verdict"]])
        _hollow(right, place, row["percent_paper"])
    _rows(right, list(steps.index), "Change of mTRE [%]")
    right.set_xlim(-112.0, max(30.0, min(right.get_xlim()[1], 100.0)))  # an error falls by 100 % at most
    dots = [Line2D([], [], marker="o", color=colour, label=name) for name, colour in _VERDICTS.items()]
    figure.legend(handles=[*dots, paper_key()], frameon=False, ncols=4, loc="outside lower right")
    return figure


def speed_figure(table: pd.DataFrame, groups: dict[str, str]) -> Figure:
    """Median and range [ms, log] of what was timed, quickest first in each group, the paper's headline hollow.

    table: of `tables.speed`. groups: a row of it to "image", "registration" or "peer", which is also the order; others are left out.
    """
    colours = {"image": style.BLUE, "registration": style.GREEN, "peer": style.PALE}
    chosen = table[[row in groups for row in table.index]]
    order = sorted(chosen.index, key=lambda row: (list(colours).index(groups[row]), chosen.loc[row, "median_ms"]))
    figure = style.new_figure(1.3 + 0.36 * len(order))
    axes = figure.subplots()
    for place, name in enumerate(order):
        row = chosen.loc[name]
        _dot(axes, place, row["median_ms"], row["min_ms"], row["max_ms"], colours[groups[name]])
        _hollow(axes, place, row["paper_ms"])
        text = f"{row['median_ms'] / 1000:.2g} s" if row["median_ms"] >= 1000 else f"{row['median_ms']:.3g} ms"
        axes.annotate(text, (1.01, place), xycoords=("axes fraction", "data"), va="center", fontsize=10, color=style.DARK)
    _rows(axes, order, "Median time, and the range of its repeats [ms]")
    style.log_scale(axes, "x")
    names = {"image": "our images", "registration": "registration and its steps", "peer": "other renderers"}
    shown = {groups[row] for row in order}
    handles = [Line2D([], [], marker="o", color=colours[group], label=names[group]) for group in colours if group in shown]
    figure.legend(handles=[*handles, paper_key("the paper, on an A6000")], frameon=False, ncols=4, loc="outside lower center")
    return figure


def _dot(axes: Axes, place: float, middle: float, low: float, high: float, colour: str) -> None:
    if not np.isnan(low):
        axes.plot([low, high], [place, place], color=colour, linewidth=2.4, solid_capstyle="round", alpha=0.55)
    axes.plot(middle, place, "o", color=colour, markersize=8)


def _hollow(axes: Axes, place: float, value: float) -> None:
    if not np.isnan(value):
        axes.plot(value, place + 0.24, markersize=6, zorder=4, **PAPER)  # below, so that neither hides the other


def _rows(axes: Axes, names: list[str], title: str) -> None:
    style.style_axes(axes, title=title, grid="both")
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
