"""Experiments: the same cases for the same seed, each measured once, whatever interrupts; and statistics that can be checked by hand."""

from __future__ import annotations

import csv
import math
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import norm

import xrcore as xr
from companion.experiments import (
    COLUMNS,
    PATIENTS,
    Method,
    Patient,
    Perturbation,
    Phantom,
    TestSet,
    chosen,
    data_root,
    prediction,
    read_table,
    refinement,
    registration,
    run,
    search,
    summary,
)
from companion.experiments.patients import Loaded
from xrcore.geometry import PAPER_CARM, POSE_NAMES

CARM = PAPER_CARM.resized((32, 32))
PATIENT = Loaded(Phantom(seed=3))
PAPER = TestSet("paper", protocol="paper", poses=3, carm=CARM, spacing=10.0, landmarks=16)
ACQUIRED = TestSet(
    "acquired", poses=2, carm=CARM, spacing=10.0, fine_spacing=8.0, landmarks=16, acquisition=xr.Acquisition(oversample=1, step=4.0)
)
QUICK = xr.GaussNewton(levels=(xr.Level(pixels=32, spacing=10.0, iterations=3),))  # of the same volume: the truth is the optimum
TIMES = ["seconds"]


class Model:
    """Predicts one pose of whatever it is shown, and remembers what that was."""

    spread = (1.0, 1.0, 1.0, 2.0, 2.0, 4.0)
    ranges = (15.0, 15.0, 10.0, 30.0, 30.0, 30.0)

    def __init__(self, pose: xr.Pose, *, wrong: str = "") -> None:
        self.pose, self.wrong = pose, wrong
        self.seen: list[xr.Xray] = []

    def check(self, carm=None, volume=None) -> None:
        if self.wrong:
            raise xr.XrcoreError(self.wrong)

    def predict(self, xray: xr.Xray) -> xr.Pose:
        self.seen.append(xray)
        return self.pose


def constant(name: str = "zero", **numbers: float) -> Method:
    return Method(name, lambda xray, volume: xr.Pose(**numbers))


def noisy(name: str = "noisy") -> Method:
    """Its answer hangs on the X-ray and on torch's generator."""
    return Method(name, lambda xray, volume: xr.Pose(rx=float(xray.image.mean()), tx=float(torch.rand(()))))


def counted(calls: list, name: str = "counted", stop_at: int | None = None) -> Method:
    def run(xray, volume):
        if len(calls) == stop_at:
            raise KeyboardInterrupt
        calls.append(xray)
        return xr.Pose(rx=float(xray.image.mean()))

    return Method(name, run)


def equal(a: pd.DataFrame, b: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(a.drop(columns=TIMES), b.drop(columns=TIMES), check_exact=True)


# test sets


def test_cases_hang_on_seed_and_patient_alone():
    longer = replace(PAPER, poses=9, name="other", protocol="acquired")
    for case in range(3):
        assert longer.truth(PATIENT, case) == PAPER.truth(PATIENT, case)
    assert replace(PAPER, seed=1).truth(PATIENT, 0) != PAPER.truth(PATIENT, 0)
    assert PAPER.truth(Phantom(seed=4), 0) != PAPER.truth(PATIENT, 0)
    assert PAPER.truth(PATIENT, 1) != PAPER.truth(PATIENT, 0)


def test_truths_fill_their_box_and_nothing_else():
    limits = torch.tensor([1.0, 2.0, 0.0, 4.0, 5.0, 6.0], dtype=torch.float64)
    boxed = replace(PAPER, rotation=(1, 2, 0), translation=(4, 5, 6))
    truths = xr.Pose.cat([boxed.truth(PATIENT, i) for i in range(60)]).numbers
    assert (truths.abs() <= limits).all()
    assert (truths.abs().amax(0)[limits > 0] > 0.8 * limits[limits > 0]).all()
    assert (truths.amin(0)[limits > 0] < 0).all()


def test_paper_protocol_is_the_registered_volume_without_noise():
    xray = PAPER.xray(PATIENT, 1)
    assert torch.equal(xray.image, xr.render(PATIENT.volume(10.0), CARM, PAPER.truth(PATIENT, 1))[0])
    assert xray.mask.all()
    assert xray.pose is None


def test_acquired_xrays_repeat_and_differ_from_drrs():
    xray = ACQUIRED.xray(PATIENT, 0)
    assert torch.equal(xray.image, ACQUIRED.xray(PATIENT, 0).image)
    assert not xray.mask.all()
    assert xray.pose is None
    drr = xr.render(PATIENT.volume(10.0), CARM, ACQUIRED.truth(PATIENT, 0))[0]
    assert 0.8 < float(xr.metrics.ncc(xray.image, drr, xray.mask)) < 0.9999


def test_random_acquisition_is_drawn_for_each_case():
    drawn = replace(ACQUIRED, acquisition="random", poses=4)
    voltages = {drawn.xray(PATIENT, i).notes[0].split("kV")[0] for i in range(4)}
    assert len(voltages) > 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"protocol": "real"}, "protocol must be one of acquired, paper, got 'real'"),
        ({"poses": 0}, "poses must be at least 1"),
        ({"rotation": (1, 2)}, "rotation must be three"),
        ({"translation": (1, 2, -3)}, "translation must be three"),
        ({"fine_spacing": 0.0}, "fine_spacing must be positive"),
        ({"acquisition": "any"}, "acquisition must be an Acquisition"),
        ({"protocol": "paper", "acquisition": "random"}, "acquisition must be None for the paper"),
        ({"name": ""}, "name must be given"),
    ],
)
def test_senseless_sets_are_refused(change, message):
    with pytest.raises(xr.XrcoreError, match=message):
        replace(replace(ACQUIRED, acquisition=None), **change)


# rows


def test_the_truth_has_no_error_and_looks_the_same():
    class Oracle(Model):
        def predict(self, xray):
            self.seen.append(xray)
            return PAPER.truth(PATIENT, len(self.seen) - 1)

    table = run([prediction(Oracle(xr.Pose()))], [PATIENT], [PAPER])
    assert list(table.columns) == list(COLUMNS)
    assert len(table) == 3
    assert (table[[f"error_{n}" for n in POSE_NAMES]].abs() == 0).all(axis=None)
    assert (table[["mtre_mm", "mpd_mm"]].abs() < 1e-9).all(axis=None)
    assert np.allclose(table[["ncc", "ssim", "css"]], 1.0, atol=1e-6)
    assert table["trusted"].isna().all()
    assert (table["failure"] == "").all()


def test_errors_are_signed_and_start_and_truth_are_told():
    table = run([constant(rx=20, tz=-50)], [PATIENT], [PAPER])
    volume = PATIENT.volume(10.0)
    for row in table.to_dict("records"):
        truth = PAPER.truth(PATIENT, row["case"])
        assert [row[f"truth_{n}"] for n in POSE_NAMES] == truth.numbers[0].tolist()
        assert row["error_rx"] == pytest.approx(20 - row["truth_rx"])
        assert row["error_tz"] == pytest.approx(-50 - row["truth_tz"])
        scale = (truth, volume.surface_points(16), CARM, volume.isocenter)
        assert row["mtre_mm"] == pytest.approx(float(xr.metrics.mtre(xr.Pose(rx=20, tz=-50), *scale)))
        assert row["start_mtre_mm"] == pytest.approx(float(xr.metrics.mtre(xr.Pose.zero(), *scale)))
        assert row["ncc"] < 0.999
    assert (table["error_rx"] > 0).all()
    assert (table["error_tz"] < 0).all()


def test_angles_go_the_short_way_round():
    row = run([constant(rz=359.0)], [PATIENT], [replace(PAPER, poses=1, rotation=(0, 0, 0))]).iloc[0]
    assert row["error_rz"] == pytest.approx(-1.0)


def test_likeness_is_of_what_the_mask_shows():
    def spoilt(xray, volume):
        assert not xray.mask.all()
        xray.image[~xray.mask] = 1e6
        return xr.Pose.zero()

    a = run([Method("m", spoilt)], [PATIENT], [ACQUIRED])
    b = run([constant("m")], [PATIENT], [ACQUIRED])
    equal(a, b)


def test_an_answer_is_compared_with_the_xray_as_registered():
    truth = PAPER.truth(PATIENT, 0)
    answers = [
        Method("as is", lambda xray, volume: SimpleNamespace(pose=truth)),
        Method("turned", lambda xray, volume: SimpleNamespace(pose=truth, xray=xray.negative())),
    ]
    table = run(answers, [PATIENT], [replace(PAPER, poses=1)]).set_index("method")
    assert table.loc["as is", "ncc"] == pytest.approx(1.0)
    assert table.loc["turned", "ncc"] == pytest.approx(-1.0)


def test_a_registration_tells_its_verdict_and_a_bare_refinement_has_none():
    model = Model(PAPER.truth(PATIENT, 0))
    one = replace(PAPER, poses=1)
    table = run([registration(model, method=QUICK, retries=0), refinement(QUICK, model, "refined"), search(method=QUICK)], [PATIENT], [one])
    table = table.set_index("method")
    assert table.loc["registration", "trusted"] in (True, False)
    assert table.loc["registration", "attempts"] == 1
    assert math.isfinite(table.loc["registration", "evidence_local"])
    assert table.loc["registration", "start_mtre_mm"] == pytest.approx(0.0, abs=1e-9)
    assert table.loc["search", "start_mtre_mm"] > 5
    assert 0 < table.loc["search", "mtre_mm"] < table.loc["search", "start_mtre_mm"]
    assert pd.isna(table.loc["refined", "trusted"])
    assert pd.isna(table.loc["refined", "evidence_local"])
    assert table.loc["refined", "mtre_mm"] < 1.0
    assert (table["evaluations"] > 0).all()
    assert (table["seconds"] > 0).all()


def test_a_method_that_raises_gives_a_row_and_the_others_go_on():
    model = Model(xr.Pose.zero(), wrong="not the CT,\nsaid the model")
    assert set(run([refinement(QUICK, model)], [PATIENT], [PAPER])["failure"]) == {"not the CT, said the model"}
    broken = prediction(model, "broken")
    table = run([broken, constant()], [PATIENT], [PAPER])
    bad, good = (table[table["method"] == name] for name in ("broken", "zero"))
    assert (bad["failure"] == "not the CT, said the model").all()
    assert bad[[f"error_{n}" for n in POSE_NAMES] + ["mtre_mm", "mpd_mm", "ncc", "ssim", "css"]].isna().all(axis=None)
    assert bad["truth_rx"].notna().all()
    assert good["mtre_mm"].notna().all()
    assert len(good) == len(bad) == 3


@pytest.mark.parametrize(("answer", "message"), [(None, "NoneType, not a pose"), (xr.Pose.zero(2), "2 poses, not one")])
def test_an_answer_that_is_no_pose_is_a_failure(answer, message):
    (text,) = run([Method("m", lambda xray, volume: answer)], [PATIENT], [replace(PAPER, poses=1)])["failure"]
    assert message in text


def test_other_exceptions_are_not_hidden():
    def bug(xray, volume):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run([Method("bug", bug)], [PATIENT], [PAPER])


# perturbations


def test_perturbed_starts_are_near_the_truth_and_shared_by_methods():
    starts: dict[str, list[xr.Pose]] = {"a": [], "b": []}
    near = Perturbation(rotation=(2, 2, 2), translation=(3, 3, 3))

    def keep(name):
        def run(xray, volume):
            starts[name].append(xray.pose)
            return xray.pose

        return Method(name, run, perturbation=near)

    table = run([keep("a"), keep("b")], [PATIENT], [PAPER])
    assert starts["a"] == starts["b"]
    assert (table["start_mtre_mm"] == table["mtre_mm"]).all()
    assert table["mtre_mm"].between(0.1, 25).all()
    # a rigid motion of at most these angles and lengths, whatever the truth
    for case, start in enumerate(starts["a"]):
        motion = xr.Pose.from_matrix(torch.linalg.inv(PAPER.truth(PATIENT, case).matrix()) @ start.matrix()).numbers[0]
        assert (motion.abs() <= torch.tensor([2, 2, 2, 3, 3, 3]) + 1e-9).all()
    assert len({tuple(s.numbers[0].tolist()) for s in starts["a"]}) == 3


def test_refinement_comes_closer_than_it_starts():
    near = Perturbation(rotation=(3, 3, 3), translation=(6, 6, 6))
    table = run([refinement(replace(QUICK, levels=(Level(pixels=32, spacing=10.0, iterations=12),)), near, "gn")], [PATIENT], [PAPER])
    assert (table["mtre_mm"] < 0.5 * table["start_mtre_mm"]).all()
    assert refinement("paper-as-intended", near).name == "paper-as-intended"


def test_refinement_from_one_pose_starts_there():
    truth = PAPER.truth(PATIENT, 0)
    table = run([refinement(QUICK, truth)], [PATIENT], [replace(PAPER, poses=1)])
    assert table["start_mtre_mm"].item() == pytest.approx(0.0, abs=1e-9)
    assert table["method"].item() == "gauss-newton"


# determinism and resuming


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


# patients


def test_patients_by_number(tmp_path):
    assert [p.number for p in chosen(root=tmp_path)] == ["1", "2", "3", "4", "5", "6#"]
    implant, abdomen = chosen("6#, 1", tmp_path)
    assert implant.name == "pelvis-implant"
    assert abdomen.file == tmp_path / "ct/cort_abdomen_dicom"
    with pytest.raises(xr.XrcoreError, match=r"no patient '7'; choose from 1, 2, 3, 4, 5, 6#"):
        chosen("7", tmp_path)


def test_the_data_are_where_the_argument_or_the_variable_says(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    monkeypatch.setenv("XRCORE_DATA_MIRROR", str(tmp_path / "a"))
    assert data_root() == tmp_path / "a"
    assert data_root(tmp_path) == tmp_path
    assert PATIENTS[0].file == tmp_path / "a" / PATIENTS[0].path
    monkeypatch.setenv("XRCORE_DATA_MIRROR", str(tmp_path / "b"))
    with pytest.raises(xr.XrcoreError, match=r"b: the CTs were not found; set XRCORE_DATA_MIRROR"):
        chosen()


def test_a_patient_reads_its_ct_with_its_options(tmp_path, monkeypatch):
    asked = {}
    monkeypatch.setattr("companion.experiments.patients.read_ct", lambda path, **options: asked.update(path=path, **options))
    Patient("9", "some", "ct/some.nii.gz", {"background": 0}, tmp_path).volume(3.0)
    assert asked == {"path": tmp_path / "ct/some.nii.gz", "spacing": 3.0, "background": 0}


def test_the_six_cts_are_there(shared_data):
    assert all(patient.file.exists() for patient in chosen(root=shared_data))


# statistics


def results(mtre: list[float], **columns: object) -> pd.DataFrame:
    frame = pd.DataFrame(
        {"method": "m", "mtre_mm": mtre, "mpd_mm": mtre, "seconds": 1.0, "trusted": pd.array([True] * len(mtre), "boolean")}
    )
    return frame.assign(**columns)


def one(frame: pd.DataFrame, **options) -> dict:
    (row,) = summary(frame, by=(), **options).to_dict("records")
    return row


def test_summary_by_hand():
    row = one(results([1.0, 2.0, 3.0, 14.0, math.nan]))
    assert (row["cases"], row["raised"], row["success"]) == (5, 1, pytest.approx(60.0))
    assert row["mtre_mean_mm"] == pytest.approx(5.0)
    assert row["mtre_median_mm"] == pytest.approx(2.5)
    assert row["mtre_std_mm"] == pytest.approx(math.sqrt((16 + 9 + 4 + 81) / 4))  # of the population
    assert row["mtre_p95_mm"] == pytest.approx(3 + 0.85 * 11)
    assert row["mtre_max_mm"] == 14.0
    assert row["trusted"] == 100.0
    assert row["failures_trusted"] == 2


@pytest.mark.parametrize(("good", "bad"), [(7, 3), (10, 0), (0, 4), (290, 10)])
@pytest.mark.parametrize("confidence", [0.95, 0.8])
def test_wilsons_interval_solves_its_equation(good, bad, confidence):
    row = one(results([1.0] * good + [99.0] * bad), confidence=confidence)
    n, z = good + bad, norm.ppf(0.5 + confidence / 2)
    for end in (row["success_low"] / 100, row["success_high"] / 100):
        assert (good / n - end) ** 2 == pytest.approx(z**2 * end * (1 - end) / n, abs=1e-9)
    assert row["success_low"] < row["success_high"]


def test_interval_of_the_mean_covers_it_as_often_as_promised():
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        row = one(results(list(rng.uniform(0, 2, 40))))
        covered += row["mtre_mean_low_mm"] < 1.0 < row["mtre_mean_high_mm"]
    assert 0.88 <= covered / 200 <= 0.99


def test_interval_of_the_mean_does_not_hang_on_order():
    values = list(np.random.default_rng(2).uniform(0, 9, 30))
    assert one(results(values)) == one(results(values[::-1]))


def test_threshold_decides_success():
    assert one(results([1.0, 3.0]), threshold=2.0)["success"] == 50.0
    assert one(results([10.0, 9.9]))["success"] == 50.0


def test_groups_and_what_nobody_judged():
    frame = pd.concat(
        [results([1.0, 2.0]), results([3.0], method="k", trusted=pd.array([None], "boolean")), results([math.nan], method="bad")]
    )
    table = summary(frame, by=["method"]).set_index("method")
    assert table["cases"].to_dict() == {"m": 2, "k": 1, "bad": 1}
    assert math.isnan(table.loc["k", "trusted"])
    assert table.loc["k", "failures_trusted"] == 0
    assert table.loc["bad", "success"] == 0
    assert math.isnan(table.loc["bad", "mtre_max_mm"])
    assert math.isnan(table.loc["k", "mtre_mean_low_mm"])  # one value tells no spread
    with pytest.raises(xr.XrcoreError, match="no column 'metod'"):
        summary(frame, by=["metod"])


def test_summary_of_an_experiment_has_a_row_a_group():
    table = summary(run([constant(), noisy()], [PATIENT, Phantom(seed=4)], [PAPER, ACQUIRED]))
    assert len(table) == 8
    assert set(table.columns) >= {"test_set", "method", "patient", "cases", "success", "seconds_median"}
    assert re.fullmatch(r"(2|3)+", "".join(map(str, table["cases"])))


def test_a_printed_summary_shows_every_column():
    table = summary(run([constant(), noisy()], [PATIENT], [PAPER]))
    text = str(table)
    assert "..." not in text
    for name in table.columns:
        assert name in text, name
    assert all(name in table._repr_html_() for name in table.columns)
