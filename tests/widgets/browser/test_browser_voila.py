"""The explore notebook as a page of its own, without JupyterLab."""

from __future__ import annotations

import re
import shutil
import urllib.request
from pathlib import Path

import nbformat
import pytest
import servers
from requests_elsewhere import elsewhere

pytest.importorskip("voila", reason="the notebooks extra is not installed")

REPOSITORY = Path(__file__).parents[3]


@pytest.mark.slow
def test_voila_serves_living_instruments(browser, tmp_path, keep):
    (tmp_path / "notebooks").mkdir()
    shutil.copytree(REPOSITORY / "models" / "phantom", tmp_path / "models" / "phantom")
    notebook = shutil.copy(REPOSITORY / "notebooks" / "explore.ipynb", tmp_path / "notebooks" / "explore.ipynb")
    with servers.voila(Path(notebook), tmp_path / "voila") as address:
        page = browser.new_page(viewport={"width": 1360, "height": 1100})
        page.set_default_timeout(180_000)
        asked = elsewhere(page)
        page.goto(address)
        page.wait_for_selector(".xr-explorer .xr-canvas canvas[data-frames]")
        page.wait_for_selector(".xr-panel.xr-attention")
        assert page.locator(".xr-panel").count() >= 5
        picture = "() => document.querySelector('.xr-explorer .xr-canvas canvas').toDataURL()"
        before = page.evaluate(picture)
        page.locator(".xr-explorer .xr-to-lateral").click()
        page.wait_for_function(f"before => ({picture})() !== before", arg=before)
        page.wait_for_timeout(2000)
        page.screenshot(path=keep / "voila.png")
        assert asked == []
        page.close()


@pytest.mark.slow
def test_make_explore_keeps_others_out(tmp_path):
    """Without the token of the address it prints anybody on the machine could drive the page."""
    recipe = (REPOSITORY / "Makefile").read_text(encoding="utf-8").split("\nexplore:")[1].splitlines()[1]
    options = [word for word in recipe.split() if word.startswith("--")]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("print('made' + 'here')")])
    nbformat.write(notebook, tmp_path / "explore.ipynb")
    with servers.voila_as_started(tmp_path / "explore.ipynb", tmp_path / "voila", options) as address:
        without = address.partition("?")[0]
        for stranger in (without, f"{without}?token=1234", f"{without}api/kernels"):
            page = urllib.request.urlopen(stranger, timeout=60)
            assert "/login" in page.url
            assert b"madehere" not in page.read()
        shown = urllib.request.urlopen(address, timeout=120).read()
        assert b"madehere" in shown
        assert re.findall(rb"<(?:link|script|img)[^>]* (?:href|src)=[\"']?(?:https?:)?//", shown) == []  # nothing is fetched from elsewhere
