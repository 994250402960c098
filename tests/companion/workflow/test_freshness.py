"""Results that came with a clone count as made, where settings and code are those of today."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from companion.studies import STUDIES, study
from companion.studies.common.paths import Paths
from companion.studies.common.plan import Plan
from companion.workflow.freshness import take_results
from companion.workflow.progress import progress_in_words

ROOT = Path(__file__).parents[3]


@pytest.fixture
def clone(tmp_path):
    """A clone with results of every study, and the rows of their parts where these are kept."""
    shutil.copytree(ROOT / "workflow", tmp_path / "workflow")
    paths = Paths("smoke", tmp_path)
    plan = Plan.read(paths.plan)
    for name in STUDIES:
        one = study(name)
        setups = {part: one.setup(plan, part) for part in one.parts(plan)}
        keep(paths.result(name, ".json"), {"parts": {part: {"setup": setup} for part, setup in setups.items()}})
        paths.result(name).write_text("rows\n")
        for part, setup in setups.items():
            keep(paths.part(name, part).with_suffix(".json"), {"setup": setup})
    return plan, paths


def keep(path: Path, record: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record))


def test_results_of_today_are_not_made_again(clone):
    plan, paths = clone
    assert take_results(plan, paths) == []
    assert all(paths.gathered(name).exists() for name in STUDIES)


def test_what_was_measured_by_other_settings_or_code_is(clone, monkeypatch):
    plan, paths = clone
    take_results(plan, paths)
    more = replace(plan, cohort=replace(plan.cohort, poses=plan.cohort.poses + 1))
    assert {path.parent.name for path in take_results(more, paths)} == {"cohort"}
    assert [name for name in STUDIES if not paths.gathered(name).exists()] == ["cohort"]
    monkeypatch.setattr("companion.studies.common.base.code_digest", lambda *_: "other code")
    assert {path.parent.name for path in take_results(plan, paths)} == set(STUDIES)


def test_a_study_whose_results_lack_a_part_is_made_from_the_others(clone):
    plan, paths = clone
    lacking = study("ablation").parts(plan)[0]
    record = json.loads(paths.result("ablation", ".json").read_text())
    del record["parts"][lacking]
    keep(paths.result("ablation", ".json"), record)
    paths.part("ablation", lacking).with_suffix(".json").unlink()
    assert take_results(plan, paths) == []  # the rows of the others are good
    assert not paths.gathered("ablation").exists()


def test_what_is_done_and_left_is_said(clone):
    plan, paths = clone
    count = len(plan.trainings)
    assert f"of {count} networks {count} are evaluated, 0 trained, 0 left" in progress_in_words(plan, paths, take_results(plan, paths), 2)
    for suffix in (".csv", ".json"):
        paths.result("cohort", suffix).unlink()
    for part in study("cohort").parts(plan)[-2:]:
        (training,) = study("cohort").trainings(plan, part)
        keep(paths.part("cohort", part).with_suffix(".json"), {"setup": "another", "trainings": {training: {"minutes": 30}}})
    keep(paths.origin(training), {})
    said = progress_in_words(plan, paths, take_results(plan, paths), 2)
    assert f"{count - 2} are evaluated, 1 trained, 1 left, about 0.5 h where trainings take 30 min" in said
