"""What a cell put out, as HTML."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable
from html import escape
from typing import Any

from nbconvert.filters import ansi2html

from xrcore.site.assets import Assets, png_size
from xrcore.site.page import Block
from xrcore.site.tables import clean, has_table

_PICTURES = {"image/png": "png", "image/jpeg": "jpg", "image/gif": "gif"}
_SHARP = 1.5  # pixels of a figure to one of the page: readable, and not blurred on a good screen
_WIDGET = "application/vnd.jupyter.widget-view+json"
_STILL = "A still: in the notebook itself it can be played with."


def blocks_of(outputs: Iterable[Any], assets: Assets, markdown: Callable[[str], str]) -> list[Block]:
    """In their order; what followed each other on one stream is one block. Raises ValueError for a picture that is none."""
    blocks: list[Block] = []
    for output in outputs:
        if output.output_type == "stream":
            kind = "text" if output.name == "stdout" else "aside"
            blocks.append(Block(kind, _pre(_as_a_terminal(output.text))))
        elif output.output_type in ("display_data", "execute_result"):
            block = _of_bundle(output.data, assets, markdown)
            if block is not None:
                blocks.append(block)
                if _WIDGET in output.data and block.kind == "figure":
                    blocks.append(Block("prose", f'<p class="caption">{_STILL}</p>'))
    return blocks


def _of_bundle(data: Any, assets: Assets, markdown: Callable[[str], str]) -> Block | None:
    """The richest form that needs no script."""
    for mime, suffix in _PICTURES.items():
        if mime in data:
            text = "" if _WIDGET in data else data.get("text/plain", "")  # a widget's names all its parts
            return Block("figure", _picture(base64.b64decode(data[mime], validate=False), suffix, text, assets))
    if "image/svg+xml" in data:
        return Block("figure", _image(assets.image(data["image/svg+xml"].encode(), "svg"), "figure", None))
    if _WIDGET in data:
        return Block("aside", "<p>Something to play with stood here. It needs the notebook itself.</p>")
    if "text/html" in data:
        html = clean(data["text/html"])
        return Block("table" if has_table(html) else "prose", html) if html else None
    if "text/markdown" in data:
        html = markdown(data["text/markdown"])
        return Block("table" if has_table(html) else "prose", html)
    text = data.get("text/plain", "")
    return None if not text or re.fullmatch(r"<Figure size .*>", text) else Block("text", _pre(text))


def _picture(data: bytes, suffix: str, text: str, assets: Assets) -> str:
    size = png_size(data) if suffix == "png" else None
    if suffix == "png" and size is None:
        raise ValueError("not a PNG")
    alt = "figure" if not text or text.startswith("<") else text
    return _image(assets.image(data, suffix), alt, size)


def _image(address: str, alt: str, size: tuple[int, int] | None) -> str:
    shape = f' width="{round(size[0] / _SHARP)}" height="{round(size[1] / _SHARP)}"' if size else ""
    return f'<img src="{address}" alt="{escape(alt)}"{shape} loading="lazy">'


def _as_a_terminal(text: str) -> str:
    """Progress bars return to the start of their line: only their last state is left."""
    return "\n".join(line.rstrip("\r").rsplit("\r", 1)[-1] for line in text.split("\n"))


def _pre(text: str) -> str:
    return f"<pre>{ansi2html(text.rstrip())}</pre>"
