"""The archive of a reproduction says what each table and figure was made from, and holds them all."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import pytest

from companion.studies import STUDIES
from companion.studies.common.paths import Paths
from companion.workflow.notebooks import NOTEBOOKS
from xrcore import XrcoreError

rocrate = pytest.importorskip("rocrate.rocrate", reason="the workflow extra is not installed")

from companion.workflow.ro_crate import write_crate  # noqa: E402

ROOT = Path(__file__).parents[3]


@pytest.fixture
def done(tmp_path: Path) -> Paths:
    """A clone whose laptop reproduction is complete: the kept results, and executed notebooks, which are not kept."""
    paths = Paths("laptop", tmp_path)
    for name in ("results/laptop", "figures/laptop", "notebooks", "workflow"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns(".*"))
    shutil.copy(ROOT / "results" / "speed.json", tmp_path / "results")  # the renderer's times, not of a profile
    shutil.copytree(ROOT / "notebooks", paths.build / "notebooks", ignore=shutil.ignore_patterns(".*"))
    return paths


def test_every_table_and_figure_is_there_with_what_it_was_made_from(done, tmp_path):
    archive = write_crate(done)
    with zipfile.ZipFile(archive) as held:
        assert held.testzip() is None
        files = set(held.namelist())
        held.extractall(tmp_path / "crate")
    made = [*done.figures.glob("*.png"), *(done.results / "tables").glob("*.csv")]
    assert {path.relative_to(done.root).as_posix() for path in made} <= files
    crate = rocrate.ROCrate(tmp_path / "crate")
    assert crate.mainEntity.id == "workflow/Snakefile"
    assert crate.root_dataset["license"] == "https://spdx.org/licenses/MIT"
    actions = {action["name"]: action for action in crate.get_by_type("CreateAction")}
    assert set(actions) == {*(f"study {name}" for name in STUDIES), *(f"notebook {name}" for name in NOTEBOOKS)}
    table = actions["notebook 02_table1_comparison"]
    assert table["instrument"].id == "notebooks/02_table1_comparison.ipynb"
    assert [one.id for one in table["object"]] == ["results/laptop/comparison.csv"]
    assert {"figures/laptop/02_table1_comparison.png", "results/laptop/tables/02_table1_comparison.csv"} <= {
        one.id for one in table["result"]
    }
    assert {one.id for one in actions["notebook 06_table4_xray_cases"]["object"]} == {
        "results/laptop/cases.csv",
        "results/laptop/cases.npz",
    }
    assert "results/speed.json" in {one.id for one in actions["notebook 08_speed"]["object"]}
    study = actions["study comparison"]
    origin = json.loads((done.results / "comparison.json").read_text())
    assert origin["commit"] in study["description"]
    assert study["endTime"].startswith(origin["finished"][:10])


def test_an_incomplete_reproduction_has_no_archive(done):
    done.result("cohort").unlink()
    with pytest.raises(XrcoreError, match=r"cohort\.csv: not there yet"):
        write_crate(done)
    assert not list(done.build.glob("*.zip"))
