"""A Markdown file as a page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from xrcore.errors import XrcoreError
from xrcore.site.assets import Assets
from xrcore.site.markdown import Markdown
from xrcore.site.page import Block, Page


def page(path: Path, assets: Assets, pages: Mapping[Path, str]) -> Page:
    """The file at `path`; its first heading becomes the page's title."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise XrcoreError(f"{path}: cannot be read as text; save it as UTF-8") from None
    markdown = Markdown(path, assets, pages)
    html = markdown(text)
    return Page(
        name=path.stem,
        title=markdown.title or path.stem.replace("_", " "),
        kind="document",
        blocks=(Block("prose", html),),
        headings=tuple(markdown.headings),
    )
