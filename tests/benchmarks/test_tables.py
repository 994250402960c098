"""README and the docs state the numbers of results/."""

from __future__ import annotations

import json
import re

import pytest
import tables
from common.image_conditions import ALL


@pytest.mark.parametrize("page", tables.pages(), ids=lambda page: page.stem)
def test_a_page_states_the_numbers_of_the_results(page):
    text = page.read_text(encoding="utf-8")
    assert tables.filled(text) == text, "run python benchmarks/tables.py"


def test_every_table_is_shown():
    text = "".join(page.read_text(encoding="utf-8") for page in tables.pages())
    assert [name for name in tables.TABLES if f"<!-- {name} -->\n" not in text] == []


@pytest.mark.parametrize("name", tables.TABLES)
def test_every_table_is_markdown_without_gaps(name):
    head, rule, *rows = tables.TABLES[name]().splitlines()
    assert re.fullmatch(r"\|( -{3}:? \|)+", rule)
    assert rows
    assert {line.count(" |") for line in rows} == {head.count(" |")}
    assert "nan" not in "".join(rows).lower().split()


def test_numbers_are_those_of_the_tables():
    numbers = tables.numbers()
    assert f"| {numbers['registration_seconds']} |" in tables.TABLES["speed"]()
    assert f"| {numbers['registration_mm']} |" in tables.TABLES["accuracy"]()
    assert f"| {numbers['paper_mm']}, 100.0 % |" in tables.headline()


def test_conditions_are_those_whose_cases_are_added_up():
    lines = {line["what was done to the image"]: line["cases"] for line in tables.kept("robustness")["table"]}
    number = int(tables.numbers()["robust_conditions"])
    assert sum(list(lines.values())[:number]) == lines[ALL]


def test_a_gpu_that_was_not_there_leaves_empty_cells_and_one_that_missed_says_so(tmp_path, monkeypatch):
    line = {"what": "image", "median": None, "unit": "ms", "aim": "at most 0.1", "met": None, "how": "kernel", "note": ""}
    memory = line | {"what": "memory", "unit": "MB", "aim": ""}
    monkeypatch.setattr(tables, "RESULTS", tmp_path)

    def shown(*lines: dict) -> str:
        (tmp_path / "gpu.json").write_text(json.dumps({"table": lines}))
        return tables.gpu()

    assert "| image |  | at most 0.1 ms | kernel |" in shown(line, memory)
    assert "memory" not in tables.gpu()
    found = shown(line | {"median": 0.2345, "met": False}, memory | {"median": 15234.0})
    assert "| image | 0.234 ms | at most 0.1 ms, **missed** | kernel |" in found
    assert "| memory | 15,234 MB |  | kernel |" in found


def test_trainings_are_counted_once_and_hours_told_apart_by_where_they_ran(tmp_path, monkeypatch):
    def record(study: str, finished: str, **trainings: dict) -> None:
        kept = {"study": study, "finished": finished, "minutes": 30, "trainings": trainings}
        (tmp_path / tables.PROFILE / f"{study}.json").write_text(json.dumps(kept))

    (tmp_path / tables.PROFILE).mkdir()
    long = {"images": 32_000, "minutes": 90}
    record("cohort", "2026-01-02", shared=long, quick=long | {"minutes": 4, "gpu": "one"})
    record("ablation", "2026-01-01", shared=long | {"minutes": 500}, short=long | {"images": 8_000})
    record("speed", "2026-01-03", quick=long)  # trained anew to be timed
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    assert tables.origin() == {
        "trainings": "3",
        "training_hours": "3.0",
        "gpu_trainings": "1",
        "gpu_minutes": "4",
        "evaluation_hours": "1.5",
        "night_hours": "3",  # half of 3.0, 1.5 for the one of the GPU, and 1.5
        "images_a_training": "8,000 or 32,000",
    }


def test_a_figure_that_does_not_exist_is_refused():
    with pytest.raises(SystemExit, match="no figure 'headlines'"):
        tables.filled("<!-- headlines -->\n<!-- /headlines -->")


_ROW = {"what": "lost", "median": 0, "unit": "", "aim": "at most 0", "met": True, "how": "mTRE above 5 mm", "note": ""}
_PATIENT = {"patient": "all", "views": 180, "SR %": 98.9, "mTRE median mm": 0.3, "mTRE p95 mm": 0.9, "trusted %": 97.2}
OPTIONAL = {
    "tracking": (_ROW, "| lost | 0 | at most 0 | mTRE above 5 mm |"),
    "anywhere": (
        _PATIENT | {"failures trusted": 0, "searches mean": 1.1, "seconds median": 1.234},
        "| all | 180 | 98.9 % | 0.30 mm | 0.90 mm | 97.2 % | 0 | 1.1 | 1.23 s |",
    ),
    "startup": ({"": "import xrcore", "processor s": 0.05, "elapsed s": 1.5}, "| import xrcore | 50 ms | 1.50 s |"),
}


@pytest.mark.parametrize("name", OPTIONAL)
def test_a_table_whose_script_has_not_run_says_so(name, tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    line, shown = OPTIONAL[name]
    assert f"not measured yet: python benchmarks/{name}.py" in tables.TABLES[name]()
    (tmp_path / f"{name}.json").write_text(json.dumps({"table": [line]}))
    assert tables.TABLES[name]().splitlines()[2] == shown
