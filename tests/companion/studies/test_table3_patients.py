"""Table 3, lower half, from made-up results."""

from __future__ import annotations

import numpy as np
import pytest
from support.results import drawn, six_patients

from companion.studies.paper import paper_table
from companion.studies.table3_patients import patients_figure, patients_overview, table3_patients
from xrcore import XrcoreError


def test_each_patient_stands_beside_the_one_of_its_place_and_the_implant_beside_the_implant():
    paper = paper_table("table3_ablation_and_patients")
    table = table3_patients(six_patients())
    for patient in ("1", "2", "6#"):
        assert table.loc[(patient, "paper"), "mtre_mean"] == paper.loc[f"dataset{patient}", "mtre_mean"]
    two = six_patients().query("patient in ('2', '6#')").replace({"patient": {"2": "phantom-0", "6#": "phantom-1#"}})
    table = table3_patients(two)
    assert table.loc[("phantom-0", "paper"), "mtre_mean"] == paper.loc["dataset1", "mtre_mean"]
    assert table.loc[("phantom-1#", "paper"), "mtre_mean"] == paper.loc["dataset6#", "mtre_mean"]


def test_the_overview_weighs_patients_alike():
    overview = patients_overview(six_patients())
    row = overview.loc["refined, as acquired"]
    assert (row["mtre"], row["mtre_worst_patient"], row["patients"], row["cases"]) == (3.5, 6, 6, 24)
    assert row["mtre_paper"] == paper_table("table1_comparison_drr").loc["PSSS", "mtre_mm"]  # as the paper prints it, not averaged again
    assert row["mpd"] == 3.5 / 2  # of every made-up case half the mTRE
    assert row["mpd_paper"] == pytest.approx(3.01, abs=0.005)  # as the paper's text has it
    assert np.isnan(overview.loc["network alone, as acquired", "mtre_paper"])
    with pytest.raises(XrcoreError, match="as acquired"):
        patients_overview(six_patients().query("protocol == 'paper'"))


def test_the_figure_names_the_patients():
    assert "patient 6#" in drawn(patients_figure({"as acquired": six_patients()}, ["1", "2", "6#"], {"1": 2.0}))
