"""Markdown -> HTML: headings get anchors, code gets colours, links between sources become links between pages."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from html import escape, unescape
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import mistune

from xrcore.errors import XrcoreError
from xrcore.site.assets import Assets
from xrcore.site.highlight import highlight
from xrcore.site.page import Heading

_PLUGINS = ["table", "strikethrough", "footnotes"]


class Markdown:
    """Turns the Markdown of one source file into HTML and gathers its headings.

    pages: which file becomes which page, by resolved path. kept: links count from the source's folder or, of what is not there, from
    this one: where an executed notebook was before it ran. codes: the address of what a code span names, None where it has none.
    """

    def __init__(
        self,
        source: Path,
        assets: Assets,
        pages: Mapping[Path, str],
        kept: Path | None = None,
        codes: Callable[[str], str | None] | None = None,
    ) -> None:
        self.title = ""
        self.headings: list[Heading] = []
        self._taken: set[str] = set()
        self._convert: Callable[[str], Any] = mistune.create_markdown(
            renderer=_Renderer(self, source, assets, pages, kept, codes), plugins=_PLUGINS
        )

    def __call__(self, text: str) -> str:
        return str(self._convert(text))

    def heading(self, html: str, level: int) -> str:
        text = unescape(re.sub(r"<[^>]+>", "", html))
        anchor = base = re.sub(r"[\W_]+", "-", text.lower()).strip("-") or "section"
        number = 1
        while anchor in self._taken:
            number += 1
            anchor = f"{base}-{number}"
        self._taken.add(anchor)
        if level == 1 and not self.title:
            self.title = text  # the page shows it; here it would be there twice
            return ""
        if level <= 2:
            self.headings.append(Heading(anchor, text))
        return f'<h{max(level, 2)} id="{anchor}">{html}</h{max(level, 2)}>\n'


class _Renderer(mistune.HTMLRenderer):
    def __init__(
        self,
        markdown: Markdown,
        source: Path,
        assets: Assets,
        pages: Mapping[Path, str],
        kept: Path | None,
        codes: Callable[[str], str | None] | None,
    ) -> None:
        super().__init__(escape=True)
        self._codes = codes or (lambda _: None)
        self._markdown, self._source, self._assets, self._pages = markdown, source, assets, pages
        self._folders = (source.parent, kept or source.parent)

    def heading(self, text: str, level: int, **attrs: Any) -> str:
        return self._markdown.heading(_unlinked(text), level)

    def codespan(self, text: str) -> str:
        address = self._codes(unescape(text))
        code = super().codespan(text)
        return f'<a class="name" href="{escape(address)}">{code}</a>' if address else code

    def block_code(self, code: str, info: str | None = None) -> str:
        return highlight(code, (info or "text").split()[0])

    def link(self, text: str, url: str, title: str | None = None) -> str:
        return f'<a href="{escape(self._address(url))}">{_unlinked(text)}</a>'

    def image(self, text: str, url: str, title: str | None = None) -> str:
        if urlsplit(url).scheme or url.startswith("//"):
            return self.link(text or escape(url), url)  # a site that works offline loads nothing from elsewhere
        return f'<img src="{escape(self._assets.copy(self._find(unquote(url))))}" alt="{escape(text)}" loading="lazy">'

    def block_html(self, html: str) -> str:
        return "" if html.lstrip().startswith("<!--") else super().block_html(html)

    def table(self, text: str) -> str:
        return f'<div class="scroll"><table>\n{text}</table></div>\n'

    def _address(self, url: str) -> str:
        """Another page, a copy of a local file, or what was there: anchors and external links."""
        parts = urlsplit(url)
        if parts.scheme in ("http", "https", "mailto") or (not parts.path and not parts.netloc):
            return url
        if parts.scheme or parts.netloc:
            raise XrcoreError(f"{self._source}: the link {url!r} leads nowhere a reader can go; use a path or https")
        target = self._find(unquote(parts.path))
        anchor = f"#{parts.fragment}" if parts.fragment else ""
        if target in self._pages:
            return self._pages[target] + anchor
        if target.is_dir():
            raise XrcoreError(f"{self._source}: the link {url!r} leads to a folder; link to a file in it")
        try:
            return self._assets.copy(target) + anchor
        except XrcoreError:
            raise XrcoreError(f"{self._source}: the link {url!r} leads to no file; correct it") from None

    def _find(self, path: str) -> Path:
        here, kept = ((folder / path).resolve() for folder in self._folders)
        return kept if kept in self._pages or (kept.exists() and not here.exists() and here not in self._pages) else here


def _unlinked(html: str) -> str:
    """Without the links of code spans, for there are no links in links, and headings are quiet."""
    return re.sub(r'<a class="name" href="[^"]*">(.*?)</a>', r"\1", html)
