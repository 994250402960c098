"""The pages keep their word: what they tell to run runs, files that they name are there."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from support.ct_files import pelvis_image

import xrcore as xr
from xrcore.geometry.presets import PAPER_CARM

ROOT = Path(__file__).parents[2]
PAGES = [path for path in sorted((ROOT / "docs").rglob("*.md")) if path.parent.name != "generated"] + [ROOT / "README.md"]
FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
RUNNABLE = [page for page in PAGES if re.search(r"^```(python|sh\nxrcore)", page.read_text(encoding="utf-8"), re.MULTILINE)]
MADE = {"xrcore/learning/methods/tiny.py"}  # by the reader
VIEW = xr.Pose(rx=3, ry=12, rz=-2, tx=5, ty=-8, tz=10)


@pytest.fixture(scope="session")
def readers_files(tmp_path_factory) -> Path:
    """A CT and X-rays under the names that the pages use."""
    import SimpleITK as sitk

    folder = tmp_path_factory.mktemp("reader")
    image = pelvis_image(0, 4.0)
    sitk.WriteImage(image, str(folder / "ct.nii.gz"))
    sitk.WriteImage(image > 250, str(folder / "bones.nii.gz"))
    xray = xr.simulate(xr.phantom.pelvis(0, 3.0), PAPER_CARM, VIEW, seed=0)
    xr.write_xray(folder / "fluoro.dcm", xray)
    xr.write_xray(folder / "xray.png", xray.image, PAPER_CARM)
    for name, view in (("ap", VIEW), ("lateral", xr.Pose(rx=2, ry=80, tx=3, tz=6))):
        xr.write_xray(folder / f"{name}.dcm", xr.simulate(xr.phantom.pelvis(0, 3.0), PAPER_CARM, view, seed=0), pose=view)
    (folder / "notes.txt").write_text("not an image\n")
    return folder


@pytest.fixture
def methods(monkeypatch) -> Iterator[Callable[[Path], None]]:
    """Add a file with a method as the page says: a module beside the others, and its entry."""
    from xrcore.learning import methods as registry
    from xrcore.learning.settings import METHODS

    def add(file: Path) -> None:
        monkeypatch.setattr(registry, "__path__", [*registry.__path__, str(file.parent)])
        monkeypatch.setitem(METHODS, file.stem, f"{file.stem}:{file.stem.title()}")

    yield add
    sys.modules.pop("xrcore.learning.methods.tiny", None)


@pytest.mark.slow
@pytest.mark.parametrize("written", RUNNABLE, ids=lambda page: page.stem)
def test_what_a_page_tells_to_run_runs(written, readers_files, tmp_path, monkeypatch, run, methods, one_thread):
    for file in readers_files.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    monkeypatch.chdir(tmp_path)
    module = SimpleNamespace(__name__="page")
    monkeypatch.setitem(sys.modules, "page", module)  # dataclasses look their module up
    ran = 0
    for number, (info, code) in enumerate(FENCE.findall(written.read_text(encoding="utf-8"))):
        language, *file = info.split() or [""]
        if language == "python" and file:
            (tmp_path / file[0]).write_text(code)
            methods(tmp_path / file[0])
        elif language == "python":
            with torch.random.fork_rng(devices=[]):
                exec(compile(code, f"{written.name}, block {number}", "exec"), module.__dict__)
        elif language == "yaml" and code.startswith("# carm.yaml"):
            (tmp_path / "carm.yaml").write_text(code)
            assert xr.read_carm("carm.yaml", (256, 256)).shape == (256, 256)
        elif language == "sh":
            for line in filter(None, code.splitlines()):
                command, _, codes = line.partition("  # exits ")
                program, *arguments = command.split()
                if program == "make":  # test_make_targets_that_a_page_names_exist
                    continue
                assert program == "xrcore", line
                done = run(*arguments)
                expected = {int(c) for c in codes.split(" or ")} if codes else {0}
                assert done.code in expected, f"{line}\n{done.out}{done.err}"
        ran += language in ("python", "sh")
    assert ran > 0


def test_make_targets_that_a_page_names_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for page in PAGES:
        assert set(re.findall(r"\bmake ([a-z-]+)(?=[`\n ]*(?:PROFILE|SNAKEMAKE|  |`|\n))", page.read_text(encoding="utf-8"))) <= targets, (
            page.name
        )


@pytest.mark.parametrize("written", PAGES, ids=lambda page: page.stem)
def test_files_that_a_page_names_exist(written):
    text = written.read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:[\w.-]+/)+[\w.-]+\.(?:py|pyi|md|toml|yaml|yml|json|csv|ipynb|svg|png))`", text))
    assert [name for name in named - MADE if not (ROOT / name).exists()] == []


def test_every_picture_says_what_it_shows():
    for page in PAGES:
        for words in re.findall(r"!\[([^\]]*)\]|:alt: (.*)", page.read_text(encoding="utf-8")):
            assert len("".join(words)) > 20, page.name


@pytest.mark.parametrize("written", [ROOT / "README.md", ROOT / "models" / "README.md"], ids=["README", "models"])
def test_links_of_pages_outside_the_site_lead_somewhere(written):
    text = FENCE.sub("", written.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"https?:|mailto:|#", target):
            assert (written.parent / target.partition("#")[0]).exists(), f"{written.name} links to {target}"
