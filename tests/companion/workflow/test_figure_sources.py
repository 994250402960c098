"""A figure knows what it was made from, and a stale one is noticed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from companion.studies.common.paths import Paths
from companion.workflow.figure_sources import changed_sources, record_sources
from companion.workflow.notebooks import NOTEBOOKS, sources
from xrcore import XrcoreError

ROOT = Path(__file__).parents[3]
FIGURES = sorted((ROOT / "figures" / "laptop").glob("*.png"))


@pytest.mark.parametrize("figure", FIGURES, ids=lambda path: path.stem)
def test_no_figure_is_older_than_what_it_shows(figure):
    name = next(name for name in NOTEBOOKS if figure.stem.startswith(name))
    assert changed_sources(figure, ROOT) == [], f"python -m companion.workflow laptop notebook {name}; and look at it"
    with Image.open(figure) as image:
        assert set(json.loads(image.info["Source"])) == {str(path) for path in sources(Paths("laptop"), name)}


@pytest.mark.parametrize("figure", sorted((ROOT / "figures").glob("01_*.png")), ids=lambda path: path.stem)
def test_the_quickstart_s_pictures_are_drawn_by_its_code(figure):
    assert changed_sources(figure, ROOT) == [], "python notebooks/run.py --refresh notebooks/01_quickstart.ipynb; and look at them"


@pytest.fixture
def figure(tmp_path: Path) -> Path:
    """Of a notebook with prose and code, and a table."""
    cells = [{"cell_type": "markdown", "source": ["words"]}, {"cell_type": "code", "source": ["1 + 1"], "outputs": []}]
    (tmp_path / "one.ipynb").write_text(json.dumps({"cells": cells}))
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    path = tmp_path / "one.png"
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(path, dpi=(160, 160))
    record_sources(path, [tmp_path / "one.ipynb", tmp_path / "table.csv"], tmp_path)
    return path


def test_recording_leaves_pixels_and_size_on_paper(figure):
    with Image.open(figure) as image:
        assert np.array_equal(np.asarray(image), np.arange(64).reshape(8, 8))
        assert image.info["dpi"] == pytest.approx((160, 160), abs=0.1)


@pytest.mark.parametrize(
    ("kind", "text", "stale"),
    [("markdown", "other words", []), ("code", "1 + 2", ["one.ipynb"])],
)
def test_code_of_a_notebook_counts_and_prose_does_not(figure, kind, text, stale):
    path = figure.with_suffix(".ipynb")
    notebook = json.loads(path.read_text())
    for cell in notebook["cells"]:
        if cell["cell_type"] == kind:
            cell["source"] = [text]
        if cell["cell_type"] == "code":
            cell["outputs"] = [{"text": "2"}]
    path.write_text(json.dumps(notebook))
    assert changed_sources(figure, figure.parent) == stale


def test_a_table_that_changed_or_is_gone_makes_the_figure_stale(figure):
    assert changed_sources(figure, figure.parent) == []
    table = figure.parent / "table.csv"
    table.write_text("a,b\n1,3\n")
    assert changed_sources(figure, figure.parent) == ["table.csv"]
    table.unlink()
    assert changed_sources(figure, figure.parent) == ["table.csv"]


def test_a_figure_that_says_nothing_of_its_sources_is_told(tmp_path):
    Image.new("L", (4, 4)).save(tmp_path / "bare.png")
    with pytest.raises(XrcoreError, match="does not say what it was made from"):
        changed_sources(tmp_path / "bare.png", tmp_path)
