"""A real browser on real notebooks."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import servers
from requests_elsewhere import elsewhere

CHROMIUM = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
_OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]
_PATIENCE = 120_000  # [ms]
_READY = """() => {
  const panel = window.jupyterapp?.shell.currentWidget;
  return panel?.sessionContext?.session?.kernel?.status === 'idle' && panel?.content?.widgets?.length > 0;
}"""
_RUN = "() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }"
_NO_SIDEBAR = "() => { window.jupyterapp.commands.execute('application:toggle-left-area'); }"
_FINISHED = """() => {
  const panel = window.jupyterapp?.shell.currentWidget;
  const cells = panel?.content?.widgets?.filter((cell) => cell.model.type === 'code') ?? [];
  const idle = panel?.sessionContext?.session?.kernel?.status === 'idle';
  return idle && cells.length > 0 && cells.every((cell) => cell.model.executionCount > 0);
}"""


@pytest.fixture(scope="module")  # no longer: while it lives, an event loop runs in this thread, and other tests bring their own
def browser() -> Iterator[Any]:
    pytest.importorskip("nbformat", reason="the notebooks extra is not installed")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    with playwright.sync_playwright() as driver:
        window = driver.chromium.launch(executable_path=CHROMIUM, args=_OPTIONS)
        yield window
        window.close()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that JupyterLab serves; kernels work in it."""
    return tmp_path_factory.mktemp("notebooks")


@pytest.fixture(scope="module")
def lab(browser: Any, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with servers.lab(root, tmp_path_factory.mktemp("lab")) as address:
        yield address


@pytest.fixture(scope="module")
def show(browser: Any, lab: str, root: Path) -> Iterator[Callable[..., Any]]:
    """`show("name", code, ...)`: a notebook of these cells, run; returns its page. Pages close with the module; none asks another host.

    laptop: in a window of 1280 x 800 pixels, in JupyterLab's default layout.
    """
    pages, asked = [], []

    def run(name: str, *cells: str, laptop: bool = False) -> Any:
        if cells:
            write(root / f"{name}.ipynb", *cells)
        page = browser.new_page(viewport={"width": 1280, "height": 800} if laptop else {"width": 1240, "height": 1500})
        page.set_default_timeout(_PATIENCE)
        pages.append(page)
        asked.append(elsewhere(page))
        page.goto(lab.format(workspace=f"page{len(pages)}", notebook=f"{name}.ipynb"))
        page.wait_for_function(_READY)
        if not laptop:
            page.evaluate(_NO_SIDEBAR)
        page.evaluate(_RUN)
        page.wait_for_function(_FINISHED)
        return page

    yield run
    for page in pages:
        page.close()
    assert not any(asked), f"asked for: {asked}"


def write(path: Path, *cells: str) -> None:
    """A notebook of code cells."""
    import nbformat

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    nbformat.write(notebook, path)


@pytest.fixture
def keep(tmp_path: Path) -> Path:
    """Where screenshots go: the folder that XRCORE_SCREENSHOTS names, for those who want to see them."""
    folder = Path(os.environ.get("XRCORE_SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
