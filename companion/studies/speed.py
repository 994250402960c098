"""Speed of the renderer and other renderers, as measured by benchmarks/speed.py, and of each refinement."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from timeit import timeit
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from companion.experiments import Loaded, refinement
from companion.studies.common.base import Study
from companion.studies.common.figure_parts import draw_interval, draw_paper, name_rows, paper_key
from companion.studies.common.paths import Paths
from companion.studies.common.plan import Plan
from companion.studies.common.trainings import model_of
from companion.studies.paper import paper_table
from xrcore import XrcoreError, register
from xrcore.figures import style
from xrcore.utilities import read_json

PREDICTION, REGISTRATION = "network's prediction", "registration from the prediction"
_PRESETS = {
    "refinement: least squares, one descent": "gauss-newton",
    "refinement: the paper's Adam": "paper-as-intended",
    "refinement: Grimm 2021": "grimm",
}
_COLUMNS = ("median_ms", "min_ms", "max_ms", "repeats")


class SpeedStudy(Study):
    """Medians of interleaved repeats; a refinement starts from the network's prediction of the first X-ray with the ball."""

    name: ClassVar[str] = "speed"
    exclusive: ClassVar[bool] = True
    scripts: ClassVar[tuple[str, ...]] = ("companion.experiments.methods", "companion.experiments.testset")

    def trainings(self, plan: Plan, part: str) -> tuple[str, ...]:
        return ("cases/ball",)

    def sizes(self, plan: Plan, part: str) -> Any:
        return plan.speed, PREDICTION, REGISTRATION, _PRESETS

    def table(self, plan: Plan, paths: Paths, part: str, growing: Path) -> pd.DataFrame:
        quick = plan.speed.quick
        rows: dict[str, dict[str, float]] = {}
        model, subject, tests = model_of(paths, "cases/ball"), Loaded(plan.with_ball), plan.test_set("first", "acquired", 1)
        xray, volume = tests.xray(subject, 0), subject.volume(tests.spacing)
        start = model.predict(xray)
        quickly = {PREDICTION: lambda: model.predict(xray), REGISTRATION: lambda: register(xray, volume, model)}
        methods = {name: refinement(preset, start) for name, preset in _PRESETS.items()}
        slowly = {name: lambda method=method: method.run(xray, volume) for name, method in methods.items()}
        for tasks, rounds in ((quickly, 2 if quick else 9), (slowly, 1 if quick else 3)):
            rows |= _time_rounds(tasks, rounds)
        return pd.DataFrame([{"what": name, **row} for name, row in rows.items()])


def _time_rounds(tasks: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, dict[str, float]]:
    """Times [ms] of tasks in rounds of all of them, so that a busy spell of the machine meets all alike; a first round does not count."""
    seconds = np.array([[timeit(task, number=1) for task in tasks.values()] for _ in range(rounds + 1)])[1:]
    columns = (np.median(seconds, 0), seconds.min(0), seconds.max(0), np.full(len(tasks), rounds / 1e3))
    return {name: dict(zip(_COLUMNS, 1e3 * row, strict=True)) for name, row in zip(tasks, np.stack(columns, 1), strict=True)}


def renderer_times(root: Path) -> pd.DataFrame:
    """Read the times of the renderer, its peers and a whole registration from results/speed.json.

    Parameters
    ----------
    root : Path
        The repository.

    Returns
    -------
    DataFrame
        Columns as of the study `speed`, one row per task that was timed.

    Raises
    ------
    XrcoreError
        If benchmarks/speed.py has not been run there in full.
    """
    path = root / "results" / "speed.json"
    if not path.is_file():
        raise XrcoreError(f"{path}: is not there; python benchmarks/speed.py --peers makes it")
    record, keys = read_json(path), ("what", "median", "low", "high", "repeats")
    try:
        sized = record["note"].startswith("256 x 256")
        timed = [[line[key] for key in keys] for line in record["table"] if line["unit"] == "ms" and line["median"] is not None]
    except (AttributeError, KeyError, TypeError):
        raise XrcoreError(f"{path}: not a table of times; python benchmarks/speed.py --peers makes it") from None
    if not sized:
        raise XrcoreError(f"{path}: not of 256 x 256 pixels, as the paper's are; python benchmarks/speed.py --peers makes it")
    return pd.DataFrame(timed, columns=["what", *_COLUMNS])


HEADLINES = {"image": "one 256 x 256 image", REGISTRATION: "whole registration", "training": "training"}
# another renderer, and the row of xrcore that does the same work, or more (forward and backward: two materials, the whole spectrum)
PEERS = {
    "RTK Joseph, one material": "image, one material, one energy",
    "nanodrr, one material": "image, one material, one energy",
    "nanodrr, forward and backward": "forward and backward",
    "refinement: the paper's Adam": "refinement: least squares, one descent",
    "refinement: Grimm 2021": "refinement: least squares, one descent",
}


def speed_table(measured: pd.DataFrame, training_minutes: float | None = None) -> pd.DataFrame:
    """Tabulate times beside the paper's and beside those of peers.

    Parameters
    ----------
    measured : DataFrame
        `renderer_times` and results of the study `speed`, one row per task.
    training_minutes : float, optional
        Of the network whose predictions were timed; a row of its own.

    Returns
    -------
    DataFrame
        What was timed [ms], the paper's headline on its GPU where it has one, and peers' times in units of our same work.
    """
    table = measured.set_index("what")[["median_ms", "min_ms", "max_ms", "repeats"]].copy()
    if training_minutes is not None:
        table.loc["training", ["median_ms", "repeats"]] = [training_minutes * 60_000, 1]
    headlines = paper_table("headlines")
    milliseconds = headlines["value"] * headlines["unit"].map({"ms": 1.0, "s": 1e3, "h": 3.6e6})
    said = {what: milliseconds[row] for what, row in HEADLINES.items()}
    table["paper_ms"] = [said.get(what, np.nan) for what in table.index]
    table["of_paper"] = table["median_ms"] / table["paper_ms"]
    medians = table["median_ms"]
    table["times_ours"] = [medians[what] / medians[PEERS[what]] if PEERS.get(what) in medians else np.nan for what in table.index]
    return table.astype({"repeats": int})


def kinds(table: pd.DataFrame) -> dict[str, str]:
    """Group the rows of `speed_table` that a figure shows.

    Parameters
    ----------
    table : DataFrame
        Of `speed_table`.

    Returns
    -------
    dict of str to str
        Row to "image", "registration" or "peer".
    """
    found = {}
    for what in table.index:
        if what.startswith(("RTK", "nanodrr")):
            found[what] = "peer"
        elif what.startswith(("refinement", "registration", "network")):
            found[what] = "registration"
        elif what != "training":
            found[what] = "image"
    return found


def speed_figure(table: pd.DataFrame, groups: dict[str, str]) -> Figure:
    """Draw median and range [ms, log] of what was timed, quickest first in each group, the paper's headline hollow.

    Parameters
    ----------
    table : DataFrame
        Of `speed_table`.
    groups : dict of str to str
        A row of it to "image", "registration" or "peer", which is also the order; others are left out.

    Returns
    -------
    Figure
        Made without pyplot.
    """
    colours = {"image": style.BLUE, "registration": style.GREEN, "peer": style.PALE}
    chosen = table[[row in groups for row in table.index]]
    order = sorted(chosen.index, key=lambda row: (list(colours).index(groups[row]), chosen.loc[row, "median_ms"]))
    figure = style.new_figure(1.3 + 0.36 * len(order))
    axes = figure.subplots()
    for place, name in enumerate(order):
        row = chosen.loc[name]
        draw_interval(axes, place, row["median_ms"], row["min_ms"], row["max_ms"], colours[groups[name]])
        draw_paper(axes, place, row["paper_ms"])
        text = f"{row['median_ms'] / 1000:.2g} s" if row["median_ms"] >= 1000 else f"{row['median_ms']:.3g} ms"
        axes.annotate(text, (1.01, place), xycoords=("axes fraction", "data"), va="center", fontsize=10, color=style.DARK)
    name_rows(axes, order, "Median time, and the range of its repeats [ms]")
    style.log_scale(axes, "x")
    names = {"image": "our images", "registration": "registration and its steps", "peer": "other renderers"}
    shown = {groups[row] for row in order}
    handles = [Line2D([], [], marker="o", color=colours[group], label=names[group]) for group in colours if group in shown]
    figure.legend(handles=[*handles, paper_key("the paper, on an A6000")], frameon=False, ncols=4, loc="outside lower center")
    return figure
