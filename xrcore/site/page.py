"""What a page of the site consists of."""

from __future__ import annotations

import re
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Block:
    """A piece of a page: HTML, and what it is.

    kind: "prose", "code" (folded away until asked for), "parameters" (code that a reader may want to change), "table", "figure", "text" or
    "aside" (what a program said by the way).
    """

    kind: str
    html: str


@dataclass(frozen=True)
class Heading:
    anchor: str
    text: str


@dataclass(frozen=True)
class Page:
    """A page and, for the front page, its essence: the first paragraph, a figure, a table."""

    name: str  # of the file, without .html
    title: str
    kind: str  # "notebook", "guide", "document" or "api"
    blocks: tuple[Block, ...]
    headings: tuple[Heading, ...] = ()  # second level
    lead: str = ""  # HTML
    figure: str = ""  # HTML
    table: str = ""  # HTML; of a notebook that prints its result instead, the text
    notes: tuple[str, ...] = field(default=())
    label: str = ""  # in the contents, where the title is too long for them

    @property
    def file(self) -> str:
        return f"{self.name}.html"


def first_paragraph(html: str) -> str:
    found = re.search(r"<p>(.*?)</p>", html, re.DOTALL)
    return found[1] if found else ""
