"""A Markdown file as a page."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from xrcore.errors import XrcoreError
from xrcore.site.assets import Assets
from xrcore.site.markdown import Markdown
from xrcore.site.page import Block, Page, first_paragraph

_ORDER = re.compile(r"<!--\s*order:\s*(\d+)\s*-->")


def page(path: Path, assets: Assets, pages: Mapping[Path, str], codes: Callable[[str], str | None] | None = None) -> Page:
    """The file at `path`; its first heading becomes the page's title, its first paragraph the lead; guide_*.md are guides.

    pages, codes: as for `Markdown`.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise XrcoreError(f"{path}: cannot be read as text; save it as UTF-8") from None
    markdown = Markdown(path, assets, pages, codes=codes)
    html = markdown(text)
    return Page(
        name=path.stem,
        title=markdown.title or path.stem.replace("_", " "),
        kind="guide" if path.stem.startswith("guide_") else "document",
        blocks=(Block("prose", html),),
        headings=tuple(markdown.headings),
        lead=first_paragraph(html),
    )


def ordered(paths: Iterable[Path]) -> list[Path]:
    """By the number in a comment `<!-- order: 2 -->` in their first lines; those without one after them, all else by name."""
    return sorted(paths, key=lambda path: (_order(path), path.name))


def _order(path: Path) -> float:
    try:
        with path.open(encoding="utf-8") as file:
            found = _ORDER.search(file.read(2000))
    except (OSError, UnicodeDecodeError):
        return math.inf
    return float(found[1]) if found else math.inf
