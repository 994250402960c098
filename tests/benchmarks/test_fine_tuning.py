"""The benchmark of start models, on phantoms and in seconds."""

from __future__ import annotations

import fine_tuning
import pytest

from companion.experiments import Phantom
from xrcore import PoseRegressor, train
from xrcore.learning import profile

TINY = profile("smoke").changed(
    pixels=32, bottleneck=16, hidden=32, tokens=16, decoder=16, images=16, batch=8, validation=4, precision="float32"
)


@pytest.mark.slow
def test_rows_of_a_patient_from_scratch_and_from_a_start_model(tmp_path):
    others = [Phantom(1), Phantom(2)]
    start = fine_tuning.start_model(others, tmp_path / "start", TINY, variants=1, phantoms=0)
    assert start.ct.patients == 2
    one = train(Phantom(1).volume(TINY.spacing), fine_tuning.CARM, TINY)
    rows = list(fine_tuning.measure(Phantom(3), start, one, tmp_path / "tuned", [8, 16], [0], TINY))
    assert [(row["begun from"], row["images"]) for row in rows] == [
        ("start model", 0), ("scratch", 8), ("one patient's model", 8), ("start model", 8),
        ("scratch", 16), ("one patient's model", 16), ("start model", 16)
    ]  # fmt: skip
    assert all(row["mTRE mm"] > 0 and 0 <= row["SR %"] <= 100 for row in rows)
    began = PoseRegressor.load(tmp_path / "tuned" / "started-16-0").training["start"]
    assert began == {"images": 16, "patients": 2, "same_patient": False}
    # what is there, without training
    there = fine_tuning.measure(Phantom(3), start, one, tmp_path / "tuned", [16, 24], [0], TINY, ready=True)
    assert [row["images"] for row in there] == [0, 16, 16, 16]
    # trained once
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("model*")}
    assert list(fine_tuning.measure(Phantom(3), start, one, tmp_path / "tuned", [8, 16], [0], TINY)) == rows
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("model*")} == kept


def test_the_table_has_means_over_seeds_and_patients():
    def row(patient: str, begun: str, images: int, mtre: float) -> dict:
        return {"patient": patient, "begun from": begun, "images": images, "mTRE mm": mtre, "SR %": 50.0, "core minutes": None}

    rows = [row("1", "scratch", 8, 10.0), row("1", "scratch", 8, 20.0), row("1", "start model", 8, 4.0), row("1", "start model", 0, 30.0)]
    rows += [row("2", "scratch", 8, 30.0), row("2", "scratch", 8, 40.0), row("2", "start model", 8, 6.0), row("2", "start model", 0, 32.0)]
    table = {(line["patient"], line["begun from"]): line for line in fine_tuning.summary(rows, [8])}
    assert table["1", "scratch"]["8: mTRE mm"] == pytest.approx(15.0)
    assert table["all", "scratch"]["8: mTRE mm"] == pytest.approx(25.0)
    assert table["all", "start model"]["8: mTRE mm"] == pytest.approx(5.0)
    assert table["all", "start model"]["0: mTRE mm"] == pytest.approx(31.0)
    assert table["all", "scratch"]["0: mTRE mm"] is None
    assert ("1", "one patient's model") not in table  # where nothing was begun from it
