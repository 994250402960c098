"""The reference as pages of the site: one of the surface, one a room."""

from __future__ import annotations

from pathlib import Path

import griffe
from jinja2 import Environment
from markupsafe import Markup

from xrcore.site.api import prose, signature
from xrcore.site.api.entries import Entry, known_names
from xrcore.site.api.reference import SHORT, SURFACE, Reference, page_of
from xrcore.site.highlight import highlight
from xrcore.site.page import Block, Heading, Page

_LONGEST = 12  # lines of a constant that are shown


def pages(reference: Reference, environment: Environment) -> list[Page]:
    """The surface, then the rooms, in the looks of the template `api.html`."""
    writer = _Writer(reference, environment)
    return [writer.surface(), *(writer.room(name) for name in reference.rooms)]


class _Writer:
    def __init__(self, reference: Reference, environment: Environment) -> None:
        self._reference, self._source = reference, reference.source
        template = environment.get_template("api.html")
        self._macros = {name: getattr(template.module, name) for name in ("section", "entry", "surface")}

    def room(self, name: str) -> Page:
        module = f"{self._source.name}.{name}"
        sections = self._reference.rooms[name]
        several = len(sections) > 1
        blocks = [self._prose(self._reference.about[name], module)]
        for section in sections:
            if several:
                words = "" if section.module == module else self._prose(section.docstring, section.module)
                blocks.append(self._macros["section"](section.module, Markup(words)))
            blocks += [self._entry(found) for found in section.entries]
        headings = [Heading(section.module, section.module.removeprefix(f"{module}.")) for section in sections]
        return Page(
            name=page_of(name).removesuffix(".html"),
            title=module,
            kind="api",
            blocks=tuple(Block("prose", str(html)) for html in blocks),
            headings=tuple(headings if several else (Heading(found.anchor, found.name) for found in sections[0].entries)),
            lead=_summary(self._reference.about[name]),
            label=name,
        )

    def surface(self) -> Page:
        exports = self._reference.surface
        groups = [(title, [name for name in names if name in exports]) for title, names in self._reference.groups]
        groups.append(("Besides", [name for name in exports if not any(name in names for _, names in groups)]))
        rows = [
            (
                _slug(title),
                title,
                [
                    {"name": name, "kind": export.entry.kind if export.entry else "module", "summary": Markup(_summary(export.docstring))}
                    | {"address": export.address}
                    for name, export in ((name, exports[name]) for name in names)
                ],
            )
            for title, names in groups
            if names
        ]
        rooms = [(name, page_of(name), Markup(_summary(about))) for name, about in self._reference.about.items()]
        given = f"Everything that `import {self._source.name} as {SHORT}` gives, in the order in which one needs it."
        units = "Lengths are mm, angles degrees; bad input raises `XrcoreError`, one line that says what is wrong."
        intro = prose.inline(f"{given} {units}", self._reference.address)
        own = [self._entry(found) for found in self._reference.entries.values() if found.page == f"{SURFACE}.html"]
        return Page(
            name=SURFACE,
            title="The surface",
            kind="api",
            blocks=(Block("prose", str(self._macros["surface"](Markup(intro), self._source.name, SHORT, rows, rooms)) + "".join(own)),),
            headings=(*(Heading(anchor, title) for anchor, title, _ in rows), Heading("rooms", "Rooms")),
            lead=_summary(given),
        )

    def _entry(self, found: Entry) -> str:
        return str(
            self._macros["entry"](
                found,
                signature=Markup(self._signature(found)),
                words=Markup(self._words(found)),
                members=[Markup(self._entry(member)) for member in found.members],
                where=self._source.where(found.thing),
                also=[f"{SHORT}.{name}" for name, export in self._reference.surface.items() if export.entry == found],
            )
        )

    def _signature(self, found: Entry) -> str:
        def link(path: str) -> str | None:
            known = self._reference.entry_of(path)
            return known.address if known is not None and known.path != found.path else None

        thing = found.thing
        if not isinstance(thing, griffe.Attribute):
            return signature.html(thing.name, thing, self._source, link)
        if found.kind == "property":
            _, kind = signature.expression(thing.annotation, link)
            return f'<span class="type">: {kind}</span>' if kind else ""
        if thing.lineno == thing.endlineno:
            return signature.constant(thing.name, thing.annotation, thing.value, link)
        assert isinstance(thing.filepath, Path)
        lines = thing.filepath.read_text(encoding="utf-8").splitlines()[(thing.lineno or 1) - 1 : thing.endlineno]
        return highlight("\n".join(lines if len(lines) <= _LONGEST else [*lines[: _LONGEST - 1], "    ..."]), "python")

    def _words(self, found: Entry) -> str:
        text = found.docstring
        if found.like:
            base = next((one for one in self._reference.everything() if one.path == found.like), None)
            if base is not None:
                return f'<p>As <a href="{base.address}"><code>{base.name}</code></a>.</p>\n'
            thing = self._source.resolve(found.like)
            text = thing.docstring.value if thing is not None and thing.docstring else ""
        pieces = prose.pieces(text, known_names(found, self._source))
        if isinstance(found.thing, griffe.Class):
            said = {name for piece in pieces for name in piece.names.split(", ")}
            for attribute in signature.fields(found.thing):
                text = attribute.docstring.value if attribute.docstring else self._behind(attribute)
                if text and attribute.name not in said:
                    pieces.append(prose.Piece("item", text, attribute.name))
            bases = [base.name for base in self._source.bases(found.thing) if base.path in self._reference.entries]
            if bases:
                pieces.append(prose.Piece("source", "Is a " + ", ".join(f"`{name}`" for name in bases) + "."))
        return prose.html(pieces, lambda code: self._reference.address(code, near=found))

    def _behind(self, attribute: griffe.Attribute) -> str:
        """A comment on a field's own line; the lines above it rather speak of the code."""
        return self._source.comment(attribute, above=False)

    def _prose(self, text: str, module: str) -> str:
        return prose.html(prose.pieces(text, ()), lambda code: self._reference.address(code, module=module)) if text else ""


def _summary(text: str) -> str:
    return prose.inline(prose.summary(text), lambda _: None)


def _slug(title: str) -> str:
    return "-".join("".join(c if c.isalnum() else " " for c in title.lower()).split())
