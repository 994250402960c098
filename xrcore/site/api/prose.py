"""Docstrings as this house writes them -> HTML: sentences, `name: meaning`, sources, and indented code."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from html import escape

from xrcore.site.highlight import highlight

_NAMES = r"[A-Za-z_]\w*\*?(?:, [A-Za-z_]\w*\*?)*"
_AT_START = re.compile(rf"({_NAMES}): +(?=\S)")
_WITHIN = re.compile(rf"(?:(?<=[.;,)] )|(?<=\] ))({_NAMES}): +(?=\S)")
_REMARKS = re.compile(r"(Raises|Sources?:) ?")
_EMPHASIS = r"(?<!\w)\*(\w(?:[^*]*\w)?)\*(?!\w)"
_SENTENCE_ENDS = (".", ":", ";", ").", "]", '."')


@dataclass(frozen=True)
class Piece:
    """kind: "text", "item" (names: text), "code", "raises" or "source"."""

    kind: str
    text: str
    names: str = ""


def pieces(docstring: str, known: Collection[str]) -> list[Piece]:
    """known: names of parameters, fields and the like; what is said about one may begin in the middle of a line."""
    found: list[Piece] = []
    for paragraph in re.split(r"\n[ \t]*\n", inspect.cleandoc(docstring)):
        lines = [line for line in paragraph.splitlines() if line.strip()]
        if lines and all(line.startswith("  ") for line in lines):
            code = inspect.cleandoc("\n" + paragraph)
            if found and found[-1].kind == "code":
                found[-1] = Piece("code", f"{found[-1].text}\n\n{code}")
            else:
                found.append(Piece("code", code))
        else:
            found += _of_paragraph(lines, known)
    return found


def summary(docstring: str) -> str:
    """The first sentence, or what there is before the second paragraph; code spans and emphasis are left as they are."""
    first = re.split(r"\n[ \t]*\n", inspect.cleandoc(docstring))[0]
    text = " ".join(first.split())
    sentence = re.match(r"(.{20,}?[.;])(?= [A-Z`]|$| )", text)
    return (sentence[1] if sentence else text).rstrip(".;")


def plain(text: str) -> str:
    """Without the marks of code and emphasis."""
    return re.sub(_EMPHASIS, r"\1", text.replace("`", ""))


def html(found: list[Piece], link: Callable[[str], str | None]) -> str:
    """link: the address of what a code span names, None if it is nothing that has one."""
    parts: list[str] = []
    inside = False
    for piece in found:
        if inside and piece.kind != "item":
            parts.append("</dl>\n")
        if not inside and piece.kind == "item":
            parts.append('<dl class="items">\n')
        inside = piece.kind == "item"
        words = inline(piece.text, link) if piece.kind != "code" else ""
        if piece.kind == "item":
            names = ", ".join(f"<code>{escape(name)}</code>" for name in piece.names.split(", "))
            parts.append(f"<dt>{names}</dt><dd>{words}</dd>\n")
        elif piece.kind == "code":
            parts.append(highlight(piece.text, "python" if _is_python(piece.text) else "yaml" if ": " in piece.text else "text"))
        else:
            kind = ' class="source-note"' if piece.kind == "source" else ""
            parts.append(f"<p{kind}>{words}</p>\n")
    return "".join([*parts, "</dl>\n" if inside else ""])


def inline(text: str, link: Callable[[str], str | None]) -> str:
    """`code`, which may link, and *emphasis*."""
    out = []
    for number, piece in enumerate(text.split("`")):
        if number % 2:
            address = link(piece)
            code = f"<code>{escape(piece)}</code>"
            out.append(f'<a href="{escape(address)}">{code}</a>' if address else code)
        else:
            out.append(re.sub(_EMPHASIS, r"<em>\1</em>", escape(piece, quote=False)))
    return "".join(out)


def _of_paragraph(lines: list[str], known: Collection[str]) -> list[Piece]:
    """Each line begins something new, or goes on with what the one before it said."""
    found: list[Piece] = []
    for line in lines:
        text = line.strip()
        last = found[-1] if found else Piece("text", ".")
        ended = last.text.endswith(_SENTENCE_ENDS)
        indented = line.startswith("  ")
        item = None if indented else _AT_START.match(text)
        if indented and last.kind == "code":
            found[-1] = Piece("code", f"{last.text}\n{text}")
        elif indented and last.kind == "text" and last.text.endswith(":"):
            found.append(Piece("code", text))
        elif item and (_all_known(item[1], known) or (ended and item[1].islower())):
            found.append(Piece("item", text[item.end() :], item[1]))
        elif ended and not indented and (remark := _REMARKS.match(text)):
            found.append(Piece("raises" if remark[1] == "Raises" else "source", text))
        elif not found or (ended and not indented and last.kind != "text" and _begins_a_sentence(text)):
            found.append(Piece("text", text))
        else:
            found[-1] = Piece(last.kind, f"{last.text} {text}", last.names)
    return [part for piece in found for part in (_split(piece, known) if piece.kind in ("text", "item") else [piece])]


def _split(piece: Piece, known: Collection[str]) -> list[Piece]:
    """What is said about a second name, or of errors and sources, on the same line stands for itself."""
    cuts = [(m.start(), m.end(), "item", m[1]) for m in _WITHIN.finditer(piece.text) if _all_known(m[1], known)]
    cuts += [(m.start(), m.start(), "raises", "") for m in re.finditer(r"(?<=[.)\]] )Raises XrcoreError", piece.text)]
    cuts += [(m.start(), m.start(), "source", "") for m in re.finditer(r"(?<=\. )Sources?: ", piece.text)]
    found = []
    kind, names, begin = piece.kind, piece.names, 0
    for start, end, next_kind, next_names in sorted(cuts):
        if piece.text[:start].count("`") % 2 or piece.text[:start].count("(") != piece.text[:start].count(")"):
            continue
        found.append(Piece(kind, piece.text[begin:start].rstrip(" ,;"), names))
        kind, names, begin = next_kind, next_names, end
    found.append(Piece(kind, piece.text[begin:], names))
    return [part for part in found if part.text]


def _all_known(names: str, known: Collection[str]) -> bool:
    return all(name in known for name in names.split(", "))


def _begins_a_sentence(text: str) -> bool:
    return text[:1].isupper() or text[:1] in '"`'


def _is_python(code: str) -> bool:
    try:
        compile(code, "docstring", "exec")
    except SyntaxError:
        return False
    return not re.match(r"\w+: ", code)
