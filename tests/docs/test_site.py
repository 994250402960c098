"""The site: every public name is in its reference; it builds without a warning, works offline, and fits a phone."""

from __future__ import annotations

import os
import re
import shutil
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
    for command in ("demo", "register", "render", "track", "train", "data", "reproduce", "bench"):
        assert f"## xrcore {command}\n" in text
    assert "--carm" in text


def test_launch_buttons_lead_to_the_repository_that_the_citation_names(conf, tmp_path, monkeypatch):
    monkeypatch.setattr(conf, "ROOT", tmp_path)
    (tmp_path / "CITATION.cff").write_text("title: xrcore\n")
    assert "Binder" not in conf.launch("a.ipynb")
    (tmp_path / "CITATION.cff").write_text("repository-code: https://github.com/owner/xrcore\n")
    assert "mybinder.org/v2/gh/owner/xrcore/HEAD?labpath=notebooks/a.ipynb" in conf.launch("a.ipynb")
    assert "colab.research.google.com/github/owner/xrcore/blob/HEAD/notebooks/a.ipynb" in conf.launch("a.ipynb")


def status() -> str:
    return subprocess.run(["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The built site; warnings are errors."""
    out, before = tmp_path_factory.mktemp("site"), status()
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-E", "-b", "html", "-d", out / "doctrees", ROOT / "docs"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([*command, out / "html"], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert status() == before, "the build changed files that git follows"
    return out / "html"


@pytest.mark.slow
def test_the_site_loads_nothing_from_elsewhere(site):
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|img|iframe)[^>]* src=\"(https?:[^\"]+)", text)
        loaded += re.findall(r"<link[^>]* rel=\"stylesheet\"[^>]* href=\"(https?:[^\"]+)", text)
        assert loaded == [], page


@pytest.mark.slow
def test_search_and_narrow_pages_work_from_the_disk(site):
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
        page = browser.new_page(viewport={"width": 390, "height": 800})
        for words, expected in {"lateral": "Conventions", "carm.yaml": "Your own data", "register": "xrcore.register"}.items():
            page.goto(f"file://{site}/search.html?q={words}")
            page.wait_for_selector(f"#search-results li:has-text('{expected}')", timeout=60_000)
        for name in ("index", "guides/your_data", "api/names/xrcore.Pose", "notebooks/04_table3_ablation", "results"):
            page.goto(f"file://{site}/{name}.html")
            assert page.evaluate("document.documentElement.scrollWidth") <= 390, f"{name} is wider than a phone"
        page.goto(f"file://{site}/guides/your_data.html")
        widths = page.evaluate("[...document.querySelectorAll('article img')].map(image => image.clientWidth)")
        assert widths, "no picture"
        assert min(widths) > 600, "panels in a row are too small to see"
        browser.close()
