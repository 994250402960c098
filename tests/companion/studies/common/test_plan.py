"""The plan of the reproduction: every training is used, profiles differ in nothing else, mistakes are named in one line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

import xrcore as xr
from companion.studies import STUDIES, study
from companion.studies.common.paths import Paths
from companion.studies.common.plan import PROFILES, VARIANTS, Plan

ROOT = Path(__file__).parents[4]


@pytest.mark.parametrize("profile", PROFILES)
def test_every_study_finds_its_trainings_in_the_plan(profile):
    plan = Plan.read(Paths(profile, ROOT).plan)
    used = {name for s in map(study, STUDIES) for part in s.parts(plan) for name in s.trainings(plan, part)}
    assert used == set(plan.trainings)
    setups = [training.setup for name, training in plan.trainings.items() if name.startswith("ablation/")]
    assert len(set(setups)) == len(setups) == sum(len(plan.seeds_of(variant.key)) for variant in VARIANTS)


@pytest.mark.parametrize("profile", PROFILES)
def test_the_ablation_differs_in_nothing_but_its_parts(profile):
    plan = Plan.read(Paths(profile, ROOT).plan)
    seed = plan.ablation.seeds[0]
    same = {"autoencoder": True, "attention": True, "scheme": "none", "set_size": None}
    settings = {plan.trainings[f"ablation/{variant.key}-{seed}"].settings.changed(**same) for variant in VARIANTS}
    assert len(settings) == 1


def test_the_profile_paper_has_the_papers_sizes():
    plan = Plan.read(Paths("paper", ROOT).plan)
    assert plan.ablation.poses == 3200
    assert {training.settings.architecture.pixels for training in plan.trainings.values() if training.settings.method == "psss"} == {256}
    assert len(plan.subjects) == 6


def broken(tmp_path: Path, text: str) -> str:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(xr.XrcoreError) as caught:
        Plan.read(path)
    message = str(caught.value)
    assert "\n" not in message
    assert "mine.yaml" in message
    return message


def test_a_broken_plan_is_refused_in_one_line(tmp_path):
    good = yaml.safe_load(Paths("smoke", ROOT).plan.read_text())
    assert "not valid YAML" in broken(tmp_path, "a: [1")
    assert "expected names and values" in broken(tmp_path, "- 1")
    assert "ablation: is missing" in broken(tmp_path, yaml.safe_dump({k: v for k, v in good.items() if k != "ablation"}))
    assert "no field 'colour'" in broken(tmp_path, yaml.safe_dump(good | {"colour": 1}))
    assert "no field 'pose'" in broken(tmp_path, yaml.safe_dump(good | {"cohort": {"pose": 1}}))
    assert "'poses'" in broken(tmp_path, yaml.safe_dump(good | {"cohort": {}}))
    assert "patients or phantoms" in broken(tmp_path, yaml.safe_dump(good | {"patients": ["1"]}))
    assert "no patient '7'" in broken(tmp_path, yaml.safe_dump({k: v for k, v in good.items() if k != "phantoms"} | {"patients": ["7"]}))
    wrong = good["comparison"] | {"changes": {"salehy": {}}}
    assert "no method 'salehy'" in broken(tmp_path, yaml.safe_dump(good | {"comparison": wrong}))
    wrong = good["comparison"] | {"changes": {"salehi": None}}
    assert "salehi: expected names and values" in broken(tmp_path, yaml.safe_dump(good | {"comparison": wrong}))
    for section, name, value, expected in (
        ("ablation", "seeds", 0, "a list"), ("ablation", "seeds", ["a"], "a list, each of it a whole number"),
        ("ablation", "seeds", [], "a list, each of it a whole number"), ("ablation", "poses", -3, "a whole number"),
        ("networks", "settings", 5, "names and values"), ("speed", "quick", 1, "true or false"), ("wrist", "cases", 1.5, "a whole number"),
    ):  # fmt: skip
        text = yaml.safe_dump(good | {section: good[section] | {name: value}})
        assert f"{section}: {name}: expected {expected}" in broken(tmp_path, text)
    for name, value, expected in (
        ("phantoms", "two", "a whole number"),
        ("spacing", "4 mm", "a number"),
        ("device", 1, "a text"),
        ("spacing", -1.0, "a number"),
    ):
        assert f"{name}: expected {expected}, got {value!r}" in broken(tmp_path, yaml.safe_dump(good | {name: value}))
    assert "patients: expected a list, each of it a text, got [1, 6]" in broken(tmp_path, yaml.safe_dump(good | {"patients": [1, 6]}))
    assert "threads must be at least 1" in broken(tmp_path, yaml.safe_dump(good | {"threads": 0}))
    with pytest.raises(xr.XrcoreError, match="no such file"):
        Plan.read(tmp_path / "none.yaml")


def test_changes_of_a_method_concern_it_alone(tmp_path):
    values = yaml.safe_load(Paths("smoke", ROOT).plan.read_text())
    values["comparison"]["changes"] = {"salehi": {"learning_rate": 0.25}}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(values))
    changed = [t.name for t in Plan.read(tmp_path / "mine.yaml").trainings.values() if t.settings.learning_rate == 0.25]
    assert changed == ["comparison/salehi"]


def test_other_settings_are_another_setup():
    plan = Plan.read(Paths("smoke", ROOT).plan)
    more = replace(plan, cohort=replace(plan.cohort, poses=plan.cohort.poses + 1))
    for name in STUDIES:
        for part in study(name).parts(plan):
            assert (study(name).setup(plan, part) == study(name).setup(more, part)) == (name != "cohort")
