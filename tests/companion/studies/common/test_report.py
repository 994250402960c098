"""What notebooks read, and where their tables and figures go."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

import xrcore as xr
from companion.studies.common.paths import Paths
from companion.studies.common.report import Report
from companion.workflow.notebooks import NOTEBOOKS, execute

ROOT = Path(__file__).parents[4]


def test_a_notebook_without_results_says_which_command_makes_them(tmp_path):
    shutil.copytree(ROOT / "workflow", tmp_path / "workflow")
    report = Report("mine", "laptop", root=tmp_path)
    for ask in (report.cases, report.images, report.origin):
        with pytest.raises(xr.XrcoreError, match="make reproduce PROFILE=laptop"):
            ask("ablation")
    with pytest.raises(xr.XrcoreError, match="no such profile"):
        Report("mine", "large", root=tmp_path)
    with pytest.raises(xr.XrcoreError, match="no such notebook"):
        execute(Paths("laptop", tmp_path), "mine")


def test_errors_are_one_line_in_a_notebook():
    assert xr.XrcoreError("wrong")._render_traceback_() == ["xrcore: error: wrong"]


def test_results_of_the_laptop_are_in_the_repository_with_where_they_come_from():
    for name in {name for studies in NOTEBOOKS.values() for name in studies}:
        report = Report("any", "laptop", root=ROOT)
        assert len(report.cases(name))
        origin = report.origin(name)
        assert len(origin["commit"]) == 40
        assert not origin["uncommitted"]
        assert {"seed", "machine", "minutes"} <= origin.keys()


def test_a_table_or_figure_that_cannot_be_written_leaves_the_old_one(tmp_path):
    class Unprintable:
        def __str__(self) -> str:
            raise ZeroDivisionError

    class Undrawable(Line2D):
        def draw(self, renderer: object) -> None:
            raise ZeroDivisionError

    shutil.copytree(ROOT / "workflow", tmp_path / "workflow")
    report = Report("mine", "laptop", root=tmp_path)
    report.keep_table(pd.DataFrame({"a": [1.0]}))
    report.keep_figure(Figure())
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(ZeroDivisionError):
        report.keep_table(pd.DataFrame({"a": [Unprintable()]}))
    figure = Figure()
    figure.add_artist(Undrawable([0, 1], [0, 1]))
    with pytest.raises(ZeroDivisionError):
        report.keep_figure(figure)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("keep", [False, True])
def test_only_the_workflow_writes_to_tracked_folders(tmp_path, keep):
    shutil.copytree(ROOT / "workflow", tmp_path / "workflow")
    report = Report("mine", "laptop", keep, root=tmp_path)
    report.keep_table(pd.DataFrame({"a": [1.0]}))
    report.keep_figure(Figure())
    written = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("mine.*")}
    tables, figures = ("results/laptop/tables", "figures/laptop") if keep else ("build/laptop/tables", "build/laptop/figures")
    assert written == {f"{tables}/mine.csv", f"{figures}/mine.png", f"{figures}/mine.pdf"}
