"""Experiments: each case measured once, whatever interrupts; the same seed gives the same rows."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from support.experiments import ACQUIRED, CARM, PAPER, PATIENT, QUICK, Model, constant, counted, equal, noisy

import xrcore as xr
from companion.experiments import (
    Perturbation,
    Phantom,
    prediction,
    read_table,
    refinement,
    registration,
    run,
    search,
)

RESULTS = Path(__file__).parents[3] / "results"


def test_same_seed_same_rows_in_any_order_of_methods():
    a = run([noisy(), constant()], [PATIENT], [PAPER, ACQUIRED])
    b = run([constant(), noisy()], [PATIENT], [ACQUIRED, PAPER])
    equal(a, b)
    drawn = a.query("method == 'noisy' and test_set == 'paper'").eval("error_tx + truth_tx")
    assert drawn.between(0, 1).all()
    assert drawn.nunique() == 3


def test_the_callers_random_numbers_are_left_alone():
    torch.manual_seed(5)
    want = torch.rand(3)
    torch.manual_seed(5)
    run([noisy()], [PATIENT], [PAPER])
    assert torch.equal(torch.rand(3), want)


def test_a_file_holds_what_was_returned(tmp_path):
    methods = [noisy(), prediction(Model(xr.Pose(), wrong='so "wrong", indeed'), "NA"), search("None", method=QUICK, retries=0)]
    table = run(methods, [PATIENT], [PAPER], tmp_path / "new" / "table.csv")
    equal(table, run(methods, [PATIENT], [PAPER]))
    pd.testing.assert_frame_equal(read_table(tmp_path / "new" / "table.csv"), table, check_exact=True)
    with open(tmp_path / "new" / "table.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == 9


def test_a_killed_run_goes_on_and_measures_nothing_twice(tmp_path):
    path = tmp_path / "table.csv"
    first, second = [], []
    with pytest.raises(KeyboardInterrupt):
        run([noisy(), counted(first, stop_at=2)], [PATIENT], [PAPER], path)
    assert len(first) == 2
    assert len(read_table(path)) == 5  # the third case's first method is kept too
    table = run([noisy(), counted(second)], [PATIENT], [PAPER], path)
    assert len(second) == 1
    equal(table, run([noisy(), counted([])], [PATIENT], [PAPER]))
    before = path.read_bytes()
    run([noisy(), counted([], stop_at=0)], [PATIENT], [PAPER], path)  # would be interrupted, were it asked
    assert path.read_bytes() == before


def test_a_finished_table_needs_no_data(tmp_path):
    run([constant()], [PATIENT], [PAPER], tmp_path / "t.csv")
    absent = SimpleNamespace(number=PATIENT.number, name="absent")  # has no volume
    assert len(run([constant()], [absent], [PAPER], tmp_path / "t.csv")) == 3


def test_a_torn_last_line_is_measured_again(tmp_path):
    path = tmp_path / "table.csv"
    want = run([noisy()], [PATIENT], [PAPER], path)
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    for cut in (len(whole) - 1, len(whole) - len(lines[-1]) + 1, len(whole) - len(lines[-1]) // 2, len(lines[0]) - 3, 0):
        path.write_bytes(whole[:cut])
        assert len(read_table(path)) == whole[:cut].count(b"\n") - (cut >= len(lines[0]))
        calls: list = []
        equal(run([noisy(), counted(calls)], [PATIENT], [PAPER], path).query("method == 'noisy'").reset_index(drop=True), want)
        assert len(calls) == 3
        assert len(read_table(path)) == 6
        path.write_bytes(whole)
    path.write_bytes(whole + b"\0" * 40 + b"\n")  # as a crash of the machine may leave it
    equal(run([noisy()], [PATIENT], [PAPER], path), want)
    assert path.read_bytes() == whole


def test_more_poses_methods_and_patients_are_added(tmp_path):
    path, calls = tmp_path / "table.csv", []
    run([counted(calls)], [PATIENT], [replace(PAPER, poses=1)], path)
    run([counted(calls)], [PATIENT], [PAPER], path)
    assert len(calls) == 3
    table = run([constant()], [Phantom(seed=4)], [PAPER], path)
    assert table.groupby(["patient", "method"]).size().to_dict() == {("phantom-3", "counted"): 3, ("phantom-4", "zero"): 3}


def test_rows_of_other_settings_are_not_taken_for_these(tmp_path):
    path = tmp_path / "table.csv"
    first = prediction(Model(xr.Pose(rx=1)))
    run([first], [PATIENT], [PAPER], path)
    before = path.read_bytes()
    near = Perturbation()
    for methods, test_set in (
        ([first], replace(PAPER, seed=1)),
        ([first], replace(PAPER, rotation=(1, 1, 1))),
        ([first], replace(PAPER, carm=CARM.resized((30, 30)))),
        ([replace(first, perturbation=near)], PAPER),
        ([registration(Model(xr.Pose(rx=1)), "prediction")], PAPER),
    ):
        with pytest.raises(xr.XrcoreError, match=r"table.csv: its rows of method 'prediction' on test set 'paper', patient phantom-3"):
            run(methods, [PATIENT], [test_set], path)
    assert path.read_bytes() == before


def test_models_are_told_apart_by_their_weights():
    def model(value: float, spread: float = 1.0):
        network = torch.nn.Linear(2, 2)
        torch.nn.init.constant_(network.weight, value)
        torch.nn.init.zeros_(network.bias)
        return SimpleNamespace(network=network, settings="laptop", spread=(spread,) * 6)

    same = prediction(model(1.0)).setup
    assert prediction(model(1.0)).setup == same
    assert prediction(model(1.5)).setup != same
    assert prediction(model(1.0, spread=2.0)).setup != same
    assert search().setup == search("other name").setup != search(retries=0).setup
    assert refinement(QUICK, Perturbation()).setup != refinement(QUICK, xr.Pose.zero()).setup


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "not a table", "method,patient\n"])
def test_a_file_that_is_no_table_is_left_as_it_is(tmp_path, text):
    path = tmp_path / "notes.csv"
    path.write_text(text)
    for call in (lambda: run([constant()], [PATIENT], [PAPER], path), lambda: read_table(path)):
        with pytest.raises(xr.XrcoreError, match=r"notes.csv: is not a table of this version"):
            call()
    assert path.read_text() == text


def test_a_table_with_other_evidence_is_read_without_it_and_does_not_grow(tmp_path):
    path, today = tmp_path / "table.csv", tmp_path / "today.csv"
    table = run([search(method=QUICK, retries=0)], [PATIENT], [PAPER], today)
    before = pd.read_csv(today).drop(columns="confidence").rename(columns={"evidence_agreement": "evidence_zncc"})
    before.to_csv(path, index=False, lineterminator="\n")
    text = path.read_text()
    missing = ["confidence", "evidence_agreement"]
    found = read_table(path)
    assert found[missing].isna().all(axis=None)
    pd.testing.assert_frame_equal(found.drop(columns=missing), table.drop(columns=missing))
    with pytest.raises(xr.XrcoreError, match=r"table.csv: is not a table of this version"):
        run([constant()], [PATIENT], [PAPER], path)
    assert path.read_text() == text


@pytest.mark.parametrize("name", ["accuracy", "network", "wide_ranges"])
def test_kept_results_can_be_read(name):
    found = read_table(RESULTS / f"{name}.csv")
    assert len(found) > 50
    assert found["mtre_mm"].notna().all()


def test_a_broken_line_in_the_middle_is_named(tmp_path):
    path = tmp_path / "table.csv"
    run([constant()], [PATIENT], [PAPER], path)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text(lines[0] + lines[1][: len(lines[1]) // 2] + "\n" + "".join(lines[2:]))
    with pytest.raises(xr.XrcoreError, match=r"table.csv: line 2 is broken"):
        read_table(path)


def test_names_must_tell_apart():
    with pytest.raises(xr.XrcoreError, match="two methods share a name: zero, zero"):
        run([constant(), constant()], [PATIENT], [PAPER])
    with pytest.raises(xr.XrcoreError, match="two test sets share a name"):
        run([constant()], [PATIENT], [PAPER, replace(ACQUIRED, name="paper")])
    with pytest.raises(xr.XrcoreError, match="two patients share a name"):
        run([constant()], [PATIENT, PATIENT], [PAPER])


def test_tables_are_csv(tmp_path):
    for call in (lambda: run([constant()], [PATIENT], [PAPER], tmp_path / "table.xlsx"), lambda: read_table(tmp_path / "t.xlsx")):
        with pytest.raises(xr.XrcoreError, match=r"ends in .csv"):
            call()
    assert not list(tmp_path.iterdir())


def test_progress_names_each_case_once():
    said: list[str] = []
    run([constant(), noisy()], [PATIENT], [PAPER], progress=said.append)
    assert said == [f"patient phantom-3 phantom, paper: case {i} of 3" for i in (1, 2, 3)]
