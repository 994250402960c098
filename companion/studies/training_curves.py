"""The courses of the ablation's trainings: errors on unseen DRRs and on those trained on, whose difference is over-fitting."""

from __future__ import annotations

import math

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from companion.studies.common.plan import EVERY_NEW, INCREMENTAL, LABELS, VARIANTS
from xrcore.figures import style

UNSEEN, SEEN = "validation_mtre_mm", "training_mtre_mm"
_COLUMNS = 3


def gaps(curves: pd.DataFrame) -> pd.DataFrame:
    """Compare the errors at the end of each stage, a quarter of the images.

    Parameters
    ----------
    curves : DataFrame
        Of `Report.curves("ablation")`.

    Returns
    -------
    DataFrame
        Index: rows of the ablation whose DRRs come again. For each stage the mean over the seeds of the error on unseen DRRs minus that on
        DRRs trained on [mm].
    """
    measured = curves.dropna(subset=[UNSEEN, SEEN]).assign(row=_row_of(curves["training"]))
    stage = (4 * measured["images"] / measured.groupby("training")["images"].transform("max")).map(math.ceil)
    ends = measured.assign(stage=stage).groupby(["row", "stage", "training"])[[UNSEEN, SEEN]].last()
    table = (ends[UNSEEN] - ends[SEEN]).groupby(["row", "stage"]).mean().unstack("stage")
    order = [variant.label for variant in VARIANTS if variant.label in table.index]
    return table.loc[order].rename(columns=lambda number: f"stage {number}")


def curves_figure(curves: pd.DataFrame) -> Figure:
    """Draw the errors [mm] of each training against the images seen, a panel for each row of the ablation and a line for each seed.

    Parameters
    ----------
    curves : DataFrame
        Of `Report.curves("ablation")`.

    Returns
    -------
    Figure
        Made without pyplot.
    """
    rows = _row_of(curves["training"])
    labels = [variant.label for variant in VARIANTS if variant.label in set(rows)]
    lines = -(-len(labels) // _COLUMNS)
    figure = style.new_figure(0.5 + 2.7 * lines)
    panels = figure.subplots(lines, min(_COLUMNS, len(labels)), sharex=True, sharey=True, squeeze=False).ravel()
    for axes, label in zip(panels, labels, strict=False):
        for _, one in curves[rows == label].groupby("training"):
            for column, look in ((UNSEEN, {"color": style.BLUE}), (SEEN, {"color": style.ORANGE, "linestyle": "--"})):
                points = one.dropna(subset=[column])
                axes.plot(points["images"] / 1000, points[column], marker="o", markersize=3, linewidth=1.4, **look)
        style.style_axes(axes, title=label, grid="both")
        last = curves["images"].max() / 1000
        axes.set_xticks([last * quarter / 4 for quarter in range(5)], [f"{last * quarter / 4:g}" for quarter in range(5)])
    for unused in panels[len(labels) :]:
        unused.set_visible(False)
    ends = curves.dropna(subset=[UNSEEN]).groupby("training")[UNSEEN].last()
    panels[0].set_ylim(0, min(panels[0].get_ylim()[1], 3 * ends.max()))  # the first errors tell nothing
    figure.supxlabel("thousand images seen; stages end at the marks", fontsize=10, color=style.MUTED)
    figure.supylabel("mean mTRE [mm]", fontsize=10, color=style.MUTED)
    keys = [
        Line2D([], [], color=style.BLUE, marker="o", markersize=3, label="DRRs never seen"),
        Line2D([], [], color=style.ORANGE, marker="o", markersize=3, linestyle="--", label="DRRs trained on"),
    ]
    figure.legend(handles=keys, frameon=False, ncols=2, loc="outside upper right")
    return figure


def gap_in_words(table: pd.DataFrame) -> str:
    """Say what over-fitting the last stage ends with, with and without an extended set.

    Parameters
    ----------
    table : DataFrame
        Of `gaps`.

    Returns
    -------
    str
        One sentence; empty where one of the rows was not trained yet.
    """
    full, extended = LABELS["ABC"], LABELS[INCREMENTAL]
    if not {full, extended} <= set(table.index):
        return ""
    last = table.columns[-1]
    return (
        f"Over-fitting at the end, unseen minus trained on: {full} {table.loc[full, last]:.1f} mm, "
        f"{extended} {table.loc[extended, last]:.1f} mm; where every DRR is new ({LABELS[EVERY_NEW]}) there is none to measure."
    )


def _row_of(trainings: pd.Series) -> pd.Series:
    """The row of the ablation of a training such as "ablation/ABC-extended-0"."""
    return trainings.str.removeprefix("ablation/").str.rpartition("-")[0].map(LABELS)
