"""The site: every public name is in its reference; it builds without a warning, and stands by itself."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import xrcore

pytest.importorskip("sphinx", reason="the docs extra is not installed")
pytest.importorskip("myst_nb", reason="the docs extra is not installed")

ROOT = Path(__file__).parents[2]


@pytest.fixture
def conf(monkeypatch) -> ModuleType:
    for folder in ("docs", "benchmarks", "tools"):
        monkeypatch.syspath_prepend(ROOT / folder)
    import conf

    return conf


def test_every_public_name_is_in_the_reference(conf, tmp_path):
    conf.write_api(tmp_path)
    pages = {page.stem: page.read_text(encoding="utf-8") for page in (tmp_path / "api").glob("*.rst")}
    listed = set(re.findall(r"^(?:   |\.\. py:data:: )(\w+)$", pages["xrcore"], re.MULTILINE))
    assert {name for name in xrcore.__all__ if not isinstance(getattr(xrcore, name), ModuleType)} <= listed
    for package in ("geometry", "beam", "ct", "xray", "renderer", "simulation", "phantom", "metrics", "figures", "widgets"):
        assert f"xrcore.{package}" in pages
    index = (tmp_path / "generated" / "api.rst").read_text(encoding="utf-8")
    assert all(name in index for name in pages)


def test_help_of_every_command_is_shown(conf, tmp_path):
    conf.write_commands(tmp_path)
    text = (tmp_path / "generated" / "commands.md").read_text(encoding="utf-8")
    for command in ("demo", "register", "render", "train", "data", "reproduce", "bench"):
        assert f"## xrcore {command}\n" in text
    assert "--carm" in text


def test_launch_buttons_lead_to_the_repository_that_the_citation_names(conf, tmp_path, monkeypatch):
    monkeypatch.setattr(conf, "ROOT", tmp_path)
    (tmp_path / "CITATION.cff").write_text("title: xrcore\n")
    assert "Binder" not in conf.launch("a.ipynb")
    (tmp_path / "CITATION.cff").write_text("repository-code: https://github.com/owner/xrcore\n")
    assert "mybinder.org/v2/gh/owner/xrcore/HEAD?labpath=notebooks/a.ipynb" in conf.launch("a.ipynb")
    assert "colab.research.google.com/github/owner/xrcore/blob/HEAD/notebooks/a.ipynb" in conf.launch("a.ipynb")


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_needs_no_network(tmp_path):
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-E", "-b", "html", "-d", tmp_path / "doctrees"]
    before = subprocess.run(["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True).stdout
    done = subprocess.run(
        [*command, ROOT / "docs", tmp_path / "html"], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert subprocess.run(["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True).stdout == before
    for page in (tmp_path / "html").rglob("*.html"):
        loaded = re.findall(r"<(?:script|img|iframe)[^>]* src=\"(https?:[^\"]+)", page.read_text(encoding="utf-8"))
        styles = re.findall(r"<link[^>]* rel=\"stylesheet\"[^>]* href=\"(https?:[^\"]+)", page.read_text(encoding="utf-8"))
        assert loaded + styles == [], page
    index = (tmp_path / "html" / "searchindex.js").read_text(encoding="utf-8")
    assert all(word in index for word in ("lateral", "carm", "yaml", "register"))
