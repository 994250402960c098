"""The DeepFluoro study from end to end, on a small file of the data's layout."""

from __future__ import annotations

import pandas as pd
import pytest
from support.simulated_deepfluoro import POSES, write_deepfluoro

from companion.studies.deepfluoro.__main__ import main
from companion.studies.deepfluoro.fluoroscopies import run, summary
from xrcore import XrcoreError


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("deepfluoro") / "small.h5"
    write_deepfluoro(path)
    return path


def test_simulated_fluoroscopies_are_found_and_a_stopped_run_goes_on(file, tmp_path, capsys):
    out = tmp_path / "results" / "deepfluoro.csv"
    lines: list[str] = []
    run(file, out, every=2, progress=lines.append)
    assert len(lines) == 1
    first = pd.read_csv(out)
    table = run(file, out, progress=lines.append)
    assert [line.split(":")[0] for line in lines] == ["17-1882 000", "17-1882 001"]
    assert first.iloc[0].mtre_mm == pytest.approx(table.iloc[0].mtre_mm, rel=1e-4)
    assert len(table) == len(POSES)
    assert (table["start_mtre_mm"] > 5).all()
    assert (table["mpd_mm"] < 2).all()
    assert (table["mtre_mm"] < 5).all()
    assert len(run(file, out, every=2)) == 1  # what was asked for, of all that is there
    with pytest.raises(XrcoreError, match="holds rows of another spacing or seed; choose another --out"):
        run(file, out, spacing=4.0)
    assert main([str(file), "--out", str(out)]) == 0  # nothing left to do but the table
    assert "gross failures [%]" in capsys.readouterr().out


def test_the_summary_counts_as_the_field_does():
    rows = [("a", 0.5, True), ("a", 3.0, False), ("b", 12.0, True), ("b", 0.9, True)]
    table = pd.DataFrame(
        {"specimen": s, "start_mtre_mm": 30.0, "mtre_mm": e, "mpd_mm": e, "trusted": t, "seconds": 1.0} for s, e, t in rows
    )
    found = summary(table)
    assert list(found.index) == ["a", "b", "all"]
    assert found.loc["all", "below 1 mm [%]"] == 50
    assert found["gross failures [%]"].tolist() == [0, 50, 25]
    assert found["wrong ones trusted"].tolist() == [0, 1, 1]
    assert found.loc["a", "right ones trusted [%]"] == 50


def test_what_is_not_there_is_told_in_one_line(file, tmp_path, capsys):
    with pytest.raises(XrcoreError, match="no specimen '99'; it has 17-1882"):
        run(file, tmp_path / "out.csv", specimens=["99"])
    assert main([str(tmp_path / "absent.h5"), "--out", str(tmp_path / "out.csv")]) == 2
    assert "no such file" in capsys.readouterr().err
