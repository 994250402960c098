"""HTML that a cell put out, above all tables of pandas: the structure stays, looks and scripts go; numbers stand right."""

from __future__ import annotations

import re

from bs4 import BeautifulSoup, Comment, Tag

_ALLOWED = {
    *("table", "caption", "thead", "tbody", "tfoot", "tr", "th", "td", "p", "br", "b", "strong", "i", "em", "sub", "sup"),
    *("code", "pre", "ul", "ol", "li", "span"),
}
_GONE = ("style", "script", "iframe", "object", "embed", "link", "meta", "template", "svg", "img", "form")
_SENTENCE = 30  # characters: what is longer wants a column that one can read
_KEPT = ("colspan", "rowspan", "scope")
# 12, -0.5, < 0.001, 2.67 ± 1.2, 97.5 %, 3.01 mm, 5.4 (2.7), 98 (97 to 99), 12/50, 1e-3, [1.2, 3.4], –
_NUMBER = re.compile(
    r"[<>≤≥~≈(\[]?\s*[-+−]?\d[\d.,\s]*(e[-+]?\d+)?([\s±+\-–−/×()\[\],:%°.\d*]|to|mm|deg|ms|s|min|h|MB|GB)*|[-–—]|nan|None|",
    re.IGNORECASE,
)


def clean(html: str) -> str:
    """Only elements that say something, no attribute that loads, runs or paints; tables scroll for themselves on a narrow screen."""
    soup = BeautifulSoup(html, "html.parser")
    for comment in soup.find_all(string=lambda text: isinstance(text, Comment)):
        comment.extract()
    for tag in soup.find_all(_GONE):
        tag.decompose()
    for tag in soup.find_all(True):
        if tag.name in _ALLOWED:
            tag.attrs = {name: value for name, value in tag.attrs.items() if name in _KEPT}
        else:
            tag.unwrap()
    for table in soup.find_all("table"):
        _without_row_numbers(table)
        _align(table)
        table.wrap(soup.new_tag("div", attrs={"class": "scroll"}))
    return str(soup).strip()


def has_table(html: str) -> bool:
    return "<table" in html


def _without_row_numbers(table: Tag) -> None:
    """A data frame that was given no index shows 0, 1, 2, ...: of no use to a reader."""
    rows = [(row.parent.name if row.parent else "", cell) for row in table.find_all("tr") if (cell := row.find(["th", "td"]))]
    numbers = [cell.get_text(strip=True) for part, cell in rows if part == "tbody"]
    heads = [cell for part, cell in rows if part == "thead"]
    if numbers and numbers == [str(i) for i in range(len(numbers))] and not any(head.get_text(strip=True) for head in heads):
        for _, cell in rows:
            cell.decompose()


def _align(table: Tag) -> None:
    """Columns that mostly hold numbers are set right, their heads with them; not where cells span several columns."""
    rows = [row.find_all(["th", "td"], recursive=False) for row in table.find_all("tr")]
    body = [cells for cells in rows if any(cell.name == "td" for cell in cells)]
    if not body or any(cell.has_attr("colspan") or cell.has_attr("rowspan") for cells in rows for cell in cells):
        for cell in (cell for cells in body for cell in cells if cell.name == "td"):
            _mark(cell, bool(_NUMBER.fullmatch(cell.get_text(strip=True))))
        return
    for column in range(max(map(len, rows))):
        values = [cells[column] for cells in body if column < len(cells)]
        filled = [text for cell in values if (text := cell.get_text(strip=True))]
        numeric = bool(filled) and sum(bool(_NUMBER.fullmatch(text)) for text in filled) > 0.5 * len(filled)
        words = not numeric and max(map(len, filled), default=0) > _SENTENCE
        for cells in rows:
            if column < len(cells):
                _mark(cells[column], numeric and all(cell.name == "td" for cell in values))
                if words and column > 0:
                    cells[column]["class"] = "words"


def _mark(cell: Tag, numeric: bool) -> None:
    if numeric:
        cell["class"] = "number"
