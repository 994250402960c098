"""An executed notebook as a page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import nbformat
from nbformat.reader import NotJSONError

from xrcore.errors import XrcoreError
from xrcore.site.assets import Assets
from xrcore.site.highlight import highlight
from xrcore.site.markdown import Markdown
from xrcore.site.outputs import blocks_of
from xrcore.site.page import Block, Page, first_paragraph

TABLE_TAGS = ("table", "nbval-check-output")  # whose table is the notebook's result, the first tag before the second
FIGURE_TAG = "figure"  # whose figure stands for the notebook; otherwise its first one does
_HIDDEN_TAGS = {"remove-cell", "injected-parameters"}
NOT_RUN = "This notebook is shown as it is kept in the repository: cells without a result have not been run."


def read(path: Path) -> nbformat.NotebookNode:
    """Raises XrcoreError for a file that is no notebook, or one that stopped at an error."""
    try:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
    except OSError as error:
        raise XrcoreError(f"{path}: cannot be read ({error.strerror})") from None
    except (NotJSONError, UnicodeDecodeError):
        raise XrcoreError(f"{path}: not a notebook, but some other kind of file; remove it or run the notebook again") from None
    except Exception as error:  # nbformat raises whatever it stumbles over: KeyError, AttributeError, ValidationError
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise XrcoreError(f"{path}: not a valid notebook ({reason}); run it again") from None
    for number, cell in enumerate(notebook.cells, 1):
        for output in cell.get("outputs", ()):
            if output.output_type == "error":
                raise XrcoreError(
                    f"{path}: stopped in cell {number} with {output.ename}: {_first_line(output.evalue)}; repair it and run it again"
                )
    return notebook


def page(
    path: Path,
    assets: Assets,
    pages: Mapping[Path, str],
    kept: Path | None = None,
    codes: Callable[[str], str | None] | None = None,
) -> Page:
    """The notebook at `path`; its pictures go to `assets`. pages, kept, codes: as for `Markdown`."""
    notebook = read(path)
    markdown = Markdown(path, assets, pages, kept, codes)
    language = notebook.metadata.get("language_info", {}).get("name", "python")
    blocks: list[Block] = []
    essence: dict[str, list[Block]] = {tag: [] for tag in (*TABLE_TAGS, FIGURE_TAG)}
    lead = ""
    ran = False
    for number, cell in enumerate(notebook.cells, 1):
        tags = set(cell.metadata.get("tags", ()))
        if tags & _HIDDEN_TAGS:
            continue
        if cell.cell_type == "markdown":
            html = markdown(cell.source)
            lead = lead or first_paragraph(html)
            blocks.append(Block("prose", html))
        elif cell.cell_type == "code" and cell.source.strip():
            blocks.append(Block("parameters" if "parameters" in tags else "code", highlight(cell.source, language)))
            ran |= cell.execution_count is not None
            try:
                made = blocks_of(cell.outputs, assets, markdown)
            except ValueError:
                raise XrcoreError(f"{path}: the picture that cell {number} made is damaged; run the notebook again") from None
            blocks += made
            for tag in tags & essence.keys():
                essence[tag] += made
    results = [block for tag in TABLE_TAGS for block in essence[tag]]
    return Page(
        name=path.stem,
        title=markdown.title or path.stem.replace("_", " "),
        kind="notebook",
        blocks=tuple(blocks),
        headings=tuple(markdown.headings),
        lead=lead,
        figure=_first("figure", [*essence[FIGURE_TAG], *blocks]),
        table=_first("table", results) or _first("text", results),
        notes=() if _executed(notebook, ran) else (NOT_RUN,),
    )


def _executed(notebook: Any, ran: bool) -> bool:
    code = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    return ran and all(cell.execution_count is not None for cell in code)


def _first(kind: str, blocks: list[Block]) -> str:
    return next((block.html for block in blocks if block.kind == kind), "")


def _first_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[0] if lines else "no message"
