"""How errors are spread over cases: cumulative by method, and patient by patient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from companion.figures.paper_marks import PAPER, paper_key, success_line
from xrcore.figures import style

_COLOURS = (style.ORANGE, style.PURPLE, style.GREEN, style.PALE, style.BLUE)

_FINEST = 1e-5  # [mm], to which results are kept; zero has no place on a style.log_scale scale


def cumulative_figure(cases: Mapping[str, pd.Series], paper: Mapping[str, float], *, threshold: float = 10.0) -> Figure:
    """Share of cases [%] below each mTRE [mm], a curve a method, the last ours; below, the means beside the paper's.

    cases: method to mTREs, NaN for no answer, which keeps its curve below 100 %. threshold: of success [mm].
    """
    figure = style.new_figure(6.0)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3.2, 1.0 + 0.06 * len(cases)))
    for place, ((name, values), colour) in enumerate(zip(cases.items(), _COLOURS[-len(cases) :], strict=True)):
        known = np.maximum(np.sort(values.dropna().to_numpy(float)), _FINEST)
        share = 100 * np.arange(1, len(known) + 1) / len(values)
        # from zero at the best case to the right edge after the worst
        above.step(
            [known[0], *known, 1e4], [0, *share, share[-1]], where="post", color=colour, linewidth=2, label=f"{name} ({len(values)})"
        )
        below.plot(known.mean(), place, "o", color=colour, markersize=8)
        if not np.isnan(paper.get(name, np.nan)):
            below.plot(paper[name], place, markersize=7, **PAPER)
    every = np.concatenate([values.dropna().to_numpy(float) for values in cases.values()])
    above.set_xlim(0.8 * max(every.min(), _FINEST), 1.3 * max(every.max(), threshold))
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


def patients_figure(
    panels: Mapping[str, pd.DataFrame], patients: Sequence[str], paper: Mapping[str, float], *, threshold: float = 10.0
) -> Figure:
    """mTRE [mm, log] of every case, patient by patient, the network alone and refined; a panel a protocol.

    panels: title to cases with columns patient, method ("network", "refined"), mtre_mm. paper: patient to the paper's refined mean.
    """
    figure = style.new_figure(0.6 + 3.3 * len(panels))
    rows = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (title, cases) in zip(rows, panels.items(), strict=True):
        for place, patient in enumerate(patients):
            for method, shift, colour in (("network", -0.2, style.PALE), ("refined", 0.2, style.BLUE)):
                values = cases.loc[(cases["patient"] == patient) & (cases["method"] == method), "mtre_mm"].dropna()
                _cloud(axes, place + shift, values.to_numpy(float), colour)
            if not np.isnan(paper.get(patient, np.nan)):
                axes.plot(place + 0.2, paper[patient], markersize=7, zorder=5, **PAPER)
        line = success_line(axes, threshold, "y")
        style.style_axes(axes, title=title, grid="y").set_ylabel("mTRE [mm]")
        axes.set_xlim(-0.6, len(patients) - 0.4)
        style.log_scale(axes, "y")
    rows[-1].set_xticks(range(len(patients)), [f"patient {name}" for name in patients])
    dots = [
        Line2D([], [], marker="o", linestyle="none", color=c, label=n) for n, c in (("network alone", style.PALE), ("refined", style.BLUE))
    ]
    bar = Line2D([], [], color=style.DARK, linewidth=2, label="median")
    figure.legend(handles=[*dots, bar, paper_key("the paper's mean, refined"), line], frameon=False, ncols=5, loc="outside upper center")
    return figure


def _cloud(axes: Axes, place: float, values: np.ndarray, colour: str) -> None:
    if len(values) == 0:
        return
    # by the golden ratio: spread evenly, and the same each time
    values = np.maximum(values, _FINEST)
    jitter = 0.24 * ((np.arange(len(values)) * 0.6180339887) % 1 - 0.5)
    axes.scatter(place + jitter, values, s=12, color=colour, alpha=0.65, linewidths=0)
    axes.plot([place - 0.16, place + 0.16], [np.median(values)] * 2, color=style.DARK, linewidth=2, solid_capstyle="butt")
