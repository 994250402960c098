"""The drawings are what their scripts draw, and the picture of the packages shows the imports."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


@pytest.fixture
def draw(monkeypatch) -> ModuleType:
    monkeypatch.syspath_prepend(DOCS)
    import draw

    return draw


def test_every_picture_is_drawn_shown_and_kept(draw):
    shown = {
        Path(target).stem for page in DOCS.rglob("*.md") for target in re.findall(r"pictures/(\w+\.png)", page.read_text(encoding="utf-8"))
    }
    assert shown == set(draw.PICTURES) == {path.stem for path in (DOCS / "pictures").glob("*.png")}


def test_under_each_picture_is_a_link_to_what_made_it():
    shown = 0
    for page in [*DOCS.glob("*.md"), *DOCS.glob("guides/*.md")]:
        text = page.read_text(encoding="utf-8")
        for picture in re.finditer(r"(?:!\[[^\]]*\]\(|\{image\} )([\w./]+/(\w+)\.png)", text):
            link = re.search(r"\[How it is made\]\(([\w./]+)\)", text[picture.end() : picture.end() + 1200])
            assert link, f"{page.name}: {picture[1]}"
            maker = page.parent / link[1]
            assert maker.is_file(), f"{page.name}: {link[1]}"
            assert "pictures/" not in picture[1] or f"def {picture[2]}(" in maker.read_text(encoding="utf-8"), picture[1]
            shown += 1
    assert shown >= 12


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "frames",
        "numbers",
        "views",
        "pixels",
        "flips",
        "cones",
        "slot_scans",
        "trusted",
        "not_trusted",
        "drawn",
        "thickness",
        "slicer_scene",
        "method",
    ],
)
def test_a_picture_is_what_the_script_draws_today(draw, one_thread, tmp_path, name):
    paths = draw.draw(name, tmp_path), DOCS / "pictures" / f"{name}.png"
    drawn, kept = (np.asarray(Image.open(path).convert("RGB"), dtype=float) / 255 for path in paths)
    assert drawn.shape == kept.shape
    # letters may be drawn a little differently elsewhere; an arrow that points the other way is more, a patient far more
    assert (np.abs(drawn - kept).max(-1) > 0.3).mean() < 0.002, "run python docs/draw.py, and look"


def test_import_graph_has_the_imports_and_no_type_checking_ones(draw, tmp_path):
    from drawings.packages import import_graph

    for name, text in {
        "xrcore/geometry/__init__.py": "",
        "xrcore/ct/__init__.py": "from xrcore.geometry import CArm\n",
        "xrcore/figures/__init__.py": "def f():\n    from xrcore import ct\n",
        "companion/studies/__init__.py": (
            "from typing import TYPE_CHECKING\nimport xrcore.figures.style\nif TYPE_CHECKING:\n    import xrcore.ct\n"
        ),
    }.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text)
    graph = import_graph(tmp_path)
    assert set(graph.edges) == {("xrcore.ct", "xrcore.geometry"), ("xrcore.figures", "xrcore.ct"), ("companion.studies", "xrcore.figures")}


def test_the_animation_is_small_and_moves():
    path = DOCS / "pictures" / "registration.gif"
    assert path.stat().st_size < 1_500_000
    with Image.open(path) as image:
        assert image.n_frames > 10  # type: ignore[attr-defined]
        first = np.asarray(image.convert("RGB"), dtype=float)
        image.seek(image.n_frames - 1)  # type: ignore[attr-defined]
        assert np.abs(np.asarray(image.convert("RGB"), dtype=float) - first).mean() > 5
