"""Table 3, lower half: every patient, the network alone and refined, under the paper's protocol and as acquired."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from companion.experiments import prediction, registration, run, summary
from companion.studies.common.base import Study
from companion.studies.common.figure_parts import FINEST, PAPER, paper_key, success_line
from companion.studies.common.paths import Paths
from companion.studies.common.plan import PROTOCOLS, Plan, slug
from companion.studies.common.table_columns import SUCCESS_COLUMNS, in_columns
from companion.studies.common.trainings import model_of
from companion.studies.paper import paper_table
from xrcore import XrcoreError
from xrcore.figures import style

CONDITIONS = {
    "refined, as acquired": ("refined", "acquired"),
    "refined, the paper's protocol": ("refined", "paper"),
    "network alone, as acquired": ("network", "acquired"),
    "network alone, the paper's protocol": ("network", "paper"),
}


class CohortStudy(Study):
    """One part per patient and protocol, for which its network was trained."""

    name: ClassVar[str] = "cohort"

    def parts(self, plan: Plan) -> tuple[str, ...]:
        return tuple(f"{slug(subject)}-{protocol}" for subject in plan.subjects for protocol in PROTOCOLS)

    def trainings(self, plan: Plan, part: str) -> tuple[str, ...]:
        patient, _, protocol = part.rpartition("-")
        return (plan.cohort_training(patient, protocol),)

    def table(self, plan: Plan, paths: Paths, part: str, growing: Path) -> pd.DataFrame:
        patient, _, protocol = part.rpartition("-")
        model = model_of(paths, plan.cohort_training(patient, protocol))
        tests = plan.test_set(protocol, protocol, plan.cohort.poses)
        return run([prediction(model, "network"), registration(model, "refined")], [plan.subject(patient)], [tests], growing)


def table3_patients(cases: pd.DataFrame) -> pd.DataFrame:
    """Make the lower half of Table 3.

    Ours are other people than the paper's: first stands beside first, and the one with the implant beside the one with the implant.

    Parameters
    ----------
    cases : DataFrame
        Results of the study `cohort`, one row per case.

    Returns
    -------
    DataFrame
        `in_columns` for each patient and each of CONDITIONS, the paper's row of the patient's place first.
    """
    paper = paper_table("table3_ablation_and_patients")
    blocks = []
    for place, patient in enumerate(dict.fromkeys(sorted(cases["patient"])), 1):
        row = "dataset6#" if patient.endswith("#") else f"dataset{patient if patient.isdigit() else place}"
        own = cases[cases["patient"] == patient]
        parts = [own[(own["method"] == method) & (own["protocol"] == protocol)] for method, protocol in CONDITIONS.values()]
        block = pd.concat([in_columns(part.assign(row=name), ["row"]) for name, part in zip(CONDITIONS, parts, strict=True) if len(part)])
        if row in paper.index:
            block = pd.concat([paper.loc[[row]].rename(index={row: "paper"}), block])
        blocks.append(pd.concat({patient: block.reindex(columns=["cases", *paper.columns])}, names=["patient", "row"]))
    return pd.concat(blocks).astype({"cases": "Int64"})


def patients_overview(cases: pd.DataFrame) -> pd.DataFrame:
    """Summarise all patients for each of CONDITIONS.

    Parameters
    ----------
    cases : DataFrame
        Results of the study `cohort`, one row per case.

    Returns
    -------
    DataFrame
        Mean over the patients' mean mTREs, the worst patient's and the worst case's [mm], mean over their mean mPDs [mm], and the success
        rate [%] with its interval.

    Raises
    ------
    XrcoreError
        If there are no cases of one of CONDITIONS.
    """
    paper = paper_table("table1_comparison_drr").loc["PSSS"]  # its mean over the six patients, rounded as printed
    each = paper_table("table3_ablation_and_patients").filter(like="dataset", axis=0)
    rows = {}
    for name, (method, protocol) in CONDITIONS.items():
        part = cases[(cases["method"] == method) & (cases["protocol"] == protocol)]
        if part.empty:
            raise XrcoreError(f"patients_overview: the results hold no cases of {name!r}")
        means, distances = (part.groupby("patient")[column].mean() for column in ("mtre_mm", "mpd_mm"))
        everyone = summary(part, ()).iloc[0]
        refined = method == "refined"
        rows[name] = {
            "mtre_paper": paper["mtre_mm"] if refined else np.nan,
            "mtre": means.mean(),
            "mtre_worst_patient": means.max(),
            "mtre_worst_case": everyone["mtre_max_mm"],
            "mpd_paper": each["mpd_mean"].mean() if refined else np.nan,
            "mpd": distances.mean(),
            "sr_paper": paper["sr_percent"] if refined else np.nan,
            **{new: everyone[old] for new, old in SUCCESS_COLUMNS.items()},
            "patients": len(means),
            "cases": everyone["cases"],
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("row")


def patients_figure(
    panels: Mapping[str, pd.DataFrame], patients: Sequence[str], paper: Mapping[str, float], *, threshold: float = 10.0
) -> Figure:
    """Draw mTRE [mm, log] of every case, by patient, the network alone and refined; one panel per protocol.

    Parameters
    ----------
    panels : mapping of str to DataFrame
        Title to cases with columns patient, method ("network", "refined"), mtre_mm.
    patients : sequence of str
        Numbers, in the order in which they are shown.
    paper : mapping of str to float
        Patient to the paper's refined mean [mm].
    threshold : float
        Of success [mm].

    Returns
    -------
    Figure
        Made without pyplot.
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
    values = np.maximum(values, FINEST)
    jitter = 0.24 * ((np.arange(len(values)) * 0.6180339887) % 1 - 0.5)
    axes.scatter(place + jitter, values, s=12, color=colour, alpha=0.65, linewidths=0)
    axes.plot([place - 0.16, place + 0.16], [np.median(values)] * 2, color=style.DARK, linewidth=2, solid_capstyle="butt")
