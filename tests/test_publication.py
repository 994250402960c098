"""What other services read says the same as the project itself: Zenodo, CODECHECK, the forms for issues."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml

import xrcore

ROOT = Path(__file__).parents[1]
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text())


def test_zenodo_says_what_the_citation_says():
    zenodo = json.loads((ROOT / ".zenodo.json").read_text())
    assert zenodo["upload_type"] == CITATION["type"] == "software"
    same = {"title": "title", "version": "version", "license": "license", "keywords": "keywords", "description": "abstract"}
    assert {ours: zenodo[ours] for ours in same} == {ours: CITATION[theirs] for ours, theirs in same.items()}
    assert [one["name"] for one in zenodo["creators"]] == [one["name"] for one in CITATION["authors"]]
    (paper,) = zenodo["related_identifiers"]
    assert paper["identifier"] == CITATION["preferred-citation"]["doi"]


def test_a_check_lists_every_table_and_figure_once_and_they_are_there():
    check = yaml.safe_load((ROOT / "codecheck.yml").read_text())
    listed = [entry["file"] for entry in check["manifest"]]
    assert all(entry["comment"] for entry in check["manifest"])
    made = [*(ROOT / "results/laptop/tables").glob("[0-9]*.csv"), *(ROOT / "figures/laptop").glob("[0-9]*.png")]
    assert sorted(listed) == sorted(str(path.relative_to(ROOT)) for path in made)
    paper = CITATION["preferred-citation"]
    assert check["paper"] == {"title": paper["title"], "reference": paper["url"]}


def test_the_forms_for_issues_ask_for_what_they_name():
    forms = [yaml.safe_load(path.read_text()) for path in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml") if path.stem != "config"]
    assert len(forms) == 3
    for form in forms:
        assert form["name"]
        assert form["description"]
        asked = [one for one in form["body"] if one["type"] != "markdown"]
        assert len({one["id"] for one in asked}) == len(asked)
        assert all(one["attributes"]["label"] for one in asked)
        assert any(one.get("validations", {}).get("required") for one in asked)


def test_the_changelog_knows_this_version():
    assert re.search(rf"^## {re.escape(xrcore.__version__)}\b", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)


def test_the_map_for_contributors_leads_somewhere():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    named = re.findall(r"`((?:xrcore|companion|docs|notebooks|benchmarks|tests|tools)/[\w/.]*)`", text)
    named += [target for target in re.findall(r"\]\(([\w./]+)\)", text) if not target.startswith("..")]
    assert len(named) > 20
    assert [path for path in named if not (ROOT / path).exists()] == []
