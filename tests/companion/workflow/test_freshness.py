"""Results that came with a clone count as made, where settings and code are those of today."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from companion.studies import STUDIES, study
from companion.studies.common.paths import Paths
from companion.studies.common.plan import Plan
from companion.workflow.freshness import take_results
from companion.workflow.progress import progress_in_words
from xrcore import XrcoreError

ROOT = Path(__file__).parents[3]


@pytest.fixture
def clone(tmp_path):
    """A clone with results of every study, and the rows of their parts."""
    shutil.copytree(ROOT / "workflow", tmp_path / "workflow")
    paths = Paths("smoke", tmp_path)
    plan = Plan.read(paths.plan)
    for name in STUDIES:
        one = study(name)
        setups = {part: one.setup(plan, part) for part in one.parts(plan)}
        keep(paths.result(name, ".json"), {"parts": {part: {"setup": setup} for part, setup in setups.items()}})
        paths.result(name).write_text("rows\n")
        for part, setup in setups.items():
            trained = {of: dict.fromkeys(("commit", "uncommitted", "minutes", "seed", "images"), 30) for of in one.trainings(plan, part)}
            record = {"setup": setup, "trainings": trained, "minutes": 1, "commit": "", "uncommitted": False, "machine": {}}
            keep(paths.part(name, part).with_suffix(".json"), record)
            pd.DataFrame({"patient": ["1"], "part": [part]}).to_csv(paths.part(name, part).with_suffix(".csv"), index=False)
    return plan, paths


def keep(path: Path, record: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record))


def stale(plan: Plan, paths: Paths) -> set[str]:
    """Studies with a part that Snakemake takes for older than the file with its setup."""
    found = set()
    for name in STUDIES:
        for part in study(name).parts(plan):
            if paths.setup("parts", f"{name}/{part}").stat().st_mtime >= paths.part(name, part).with_suffix(".json").stat().st_mtime:
                found.add(name)
    return found


def test_results_of_today_are_not_made_again(clone):
    plan, paths = clone
    take_results(plan, paths)
    assert stale(plan, paths) == set()
    for name in STUDIES:
        # in whatever order a clone's files came, results are not older than what they were gathered from
        newest = max(paths.part(name, part).with_suffix(".json").stat().st_mtime for part in study(name).parts(plan))
        assert all(file.stat().st_mtime >= newest for file in (paths.gathered(name), paths.result(name), paths.result(name, ".json")))


def test_what_was_measured_by_other_settings_or_code_is(clone, monkeypatch):
    plan, paths = clone
    take_results(plan, paths)
    more = replace(plan, cohort=replace(plan.cohort, poses=plan.cohort.poses + 1))
    take_results(more, paths)
    assert stale(more, paths) == {"cohort"}
    assert [name for name in STUDIES if not paths.gathered(name).exists()] == ["cohort"]
    monkeypatch.setattr("companion.studies.common.base.code_digest", lambda *_: "other code")
    take_results(plan, paths)
    assert stale(plan, paths) == set(STUDIES)


def test_a_part_depends_on_its_own_sizes_alone():
    plan = Plan.read(ROOT / "workflow" / "smoke.yaml")
    refined = replace(plan, ablation=replace(plan.ablation, refined=9), comparison=replace(plan.comparison, refined=9))
    other = {
        (name, part)
        for name in ("ablation", "comparison")
        for part in study(name).parts(plan)
        if study(name).setup(plan, part) != study(name).setup(refined, part)
    }
    assert other == {("ablation", "ABC-extended-0"), ("comparison", "grimm")}


def test_newly_pulled_results_are_taken(clone):
    plan, paths = clone
    take_results(plan, paths)
    record = json.loads(paths.result("head", ".json").read_text()) | {"commit": "another"}
    keep(paths.result("head", ".json"), record)
    take_results(plan, paths)
    assert json.loads(paths.gathered("head").read_text()) == record


def test_parts_that_are_lacking_or_out_of_date_are_not_gathered(clone):
    plan, paths = clone
    one = study("ablation")
    first, second, *rest = one.parts(plan)
    paths.part("ablation", first).with_suffix(".json").unlink()
    outdated = paths.part("ablation", second).with_suffix(".json")
    keep(outdated, json.loads(outdated.read_text()) | {"setup": "another"})
    with pytest.raises(XrcoreError, match=f"{first}.csv: not measured yet, or with other settings or code"):
        one.gather(plan, paths)
    one.gather(plan, paths, partial=True)
    assert pd.read_csv(paths.result("ablation"))["part"].to_list() == rest
    assert json.loads(paths.result("ablation", ".json").read_text())["lacking"] == [first, second]
    assert not paths.gathered("ablation").exists()


def test_what_is_done_and_left_is_said(clone):
    plan, paths = clone
    take_results(plan, paths)
    count = len(plan.trainings)
    assert f"of {count} networks {count} are evaluated, 0 trained, 0 left" in progress_in_words(plan, paths, 2)
    for suffix in (".csv", ".json"):
        paths.result("cohort", suffix).unlink()
    for part in study("cohort").parts(plan)[-2:]:
        (training,) = study("cohort").trainings(plan, part)
        paths.part("cohort", part).with_suffix(".json").unlink()
        keep(paths.origin(training), {"setup": "another"})
    # a GPU's minutes tell nothing of what is left
    first = paths.part("ablation", study("ablation").parts(plan)[0]).with_suffix(".json")
    record = json.loads(first.read_text())
    keep(first, record | {"trainings": {name: of | {"minutes": 1, "gpu": "Some GPU"} for name, of in record["trainings"].items()}})
    take_results(plan, paths)
    said = progress_in_words(plan, paths, 2)
    assert f"{count - 2} are evaluated, 0 trained, 2 left, about 0.5 h at 30 min each" in said
    # a training and the part that evaluates it may share a name
    marks = {paths.setup("models", name).read_text().strip() for name in plan.trainings}
    assert marks == {training.setup for training in plan.trainings.values()}
    keep(paths.origin(training), {"setup": plan.trainings[training].setup})
    assert "1 trained, 1 left, about 0.5 h" in progress_in_words(plan, paths, 2)
