"""Notebooks: how they are kept, and that they run with other parameters. Their stored outputs are compared by nbval (`make test`)."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.ct_files import write_pelvis

import xrcore as xr
from companion.studies.common.paths import Paths
from companion.studies.paper import TABLES, paper_table
from companion.workflow.notebooks import execute

nbformat = pytest.importorskip("nbformat", reason="the notebooks extra is not installed")
pytest.importorskip("papermill", reason="the notebooks extra is not installed")

FOLDER = Path(__file__).parents[3] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
OF_RESULTS = [path for path in NOTEBOOKS if re.match("0[2-8]_", path.stem)]
QUICKSTART = FOLDER / "01_quickstart.ipynb"


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(FOLDER / "run.py"), *map(str, arguments)], capture_output=True, text=True)


def printed(notebook: Path) -> str:
    cells = nbformat.read(notebook, as_version=4).cells
    return "".join(output.get("text", "") for cell in cells if cell.cell_type == "code" for output in cell.outputs)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_one_cell_of_commented_literals_holds_the_parameters(path):
    cells = nbformat.read(path, as_version=4).cells
    (parameters,) = (cell for cell in cells if "parameters" in cell.metadata.get("tags", ()))
    lines = parameters.source.splitlines()
    statements = ast.parse(parameters.source).body
    assert len(statements) == len(lines)
    for line, statement in zip(lines, statements, strict=True):
        assert isinstance(statement, ast.Assign)
        ast.literal_eval(statement.value)
        assert "  # " in line
    first_code = next(cell for cell in cells if cell.cell_type == "code")
    assert first_code is parameters


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_only_checked_outputs_are_kept(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    checked = 0
    for cell in notebook.cells:
        assert set(cell.metadata) <= {"tags"}
        if cell.cell_type == "code":
            kept = "nbval-check-output" in cell.metadata.get("tags", ())
            assert bool(cell.outputs) == kept
            assert (cell.execution_count is not None) == kept  # nbval refuses outputs of a cell that was not run
            checked += kept
    assert checked, "nothing in it is compared"
    assert path.stat().st_size < 50_000


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_pictures_that_a_notebook_shows_are_there(path):
    text = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown")
    for picture in re.findall(r"!\[[^]]*\]\(([^)]+)\)", text):
        assert (path.parent / picture).is_file()


def test_the_quickstart_shows_its_conclusion_before_any_code():
    title, conclusion, *_ = nbformat.read(QUICKSTART, as_version=4).cells
    assert title.cell_type == conclusion.cell_type == "markdown"
    assert conclusion.source.startswith("## What to see")
    assert conclusion.source.count("](../figures/01_quickstart") == 2  # trusted, and another patient's CT


@pytest.mark.slow
def test_quickstart_runs_with_other_parameters(tmp_path):
    given = (f"ct={write_pelvis(tmp_path / 'ct.nrrd', 6, 3.0)}", "seed=4", "pose=[-5, 9, -3, -12, 8, -10]", "photons=50000", "pixels=128")
    done = run(QUICKSTART, tmp_path / "out.ipynb", *given)
    assert done.returncode == 0, done.stderr
    text = printed(tmp_path / "out.ipynb")
    assert "trusted: True" in text
    assert text.count("in the end: True") == 2
    assert "rx [deg]      -5.00" in text


def test_an_unknown_parameter_is_refused(tmp_path):
    done = run(QUICKSTART, tmp_path / "out.ipynb", "sed=4")
    assert done.returncode != 0
    assert "no parameter sed; it has ct, seed, pose, photons, pixels" in done.stderr
    assert not (tmp_path / "out.ipynb").exists()


def test_a_kernel_that_dies_is_told_in_one_line(tmp_path):
    paths = Paths("smoke", tmp_path)
    source = tmp_path / "notebooks" / "08_speed.ipynb"
    source.parent.mkdir()
    cell = nbformat.v4.new_code_cell("profile = 'smoke'\nkeep = False", metadata={"tags": ["parameters"]})
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}, "language_info": {"name": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=[cell, nbformat.v4.new_code_cell("import os; os._exit(1)")], metadata=kernel), source)
    with pytest.raises(xr.XrcoreError, match=r"08_speed\.ipynb: Kernel died, perhaps for want of memory"):
        execute(paths, "08_speed")
    assert not (paths.build / "notebooks" / "08_speed.ipynb").exists()


@pytest.mark.parametrize("path", OF_RESULTS, ids=lambda path: path.stem)
def test_a_notebook_of_results_takes_a_profile_and_whether_to_keep(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    (parameters,) = (cell for cell in cells if "parameters" in cell["metadata"].get("tags", ()))
    values = {s.targets[0].id: ast.literal_eval(s.value) for s in ast.parse("".join(parameters["source"])).body}  # type: ignore[attr-defined]
    assert values == {"profile": "laptop", "keep": False}  # run by anybody else than the workflow, it changes no tracked file


@pytest.mark.parametrize("path", OF_RESULTS, ids=lambda path: path.stem)
def test_no_value_of_the_paper_is_written_in_a_notebook(path):
    """But round ones, which mean other things too."""
    told = {f"{value:g}" for name in TABLES for value in paper_table(name).select_dtypes("number").to_numpy().ravel()}
    told = {value for value in told if "." in value}
    sources = ["".join(cell["source"]) for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]]
    written = {f"{float(number):g}" for source in sources for number in re.findall(r"\d+\.\d+", source)}
    assert len(told) > 50
    assert not written & told


@pytest.mark.parametrize("path", OF_RESULTS, ids=lambda path: path.stem)
def test_a_notebook_keeps_its_table_and_figure_and_names_where_they_come_from(path):
    source = "\n".join("".join(cell["source"]) for cell in json.loads(path.read_text(encoding="utf-8"))["cells"])
    assert f'Report("{path.stem}", profile, keep)' in source
    for call in ("report.keep_table(", "report.keep_figure(", "report.origin_in_words(", "report.smoke"):
        assert call in source
