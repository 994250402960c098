"""What the reference holds: every object has one entry, and whatever mentions it leads there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import griffe

from xrcore.site.api import prose, signature
from xrcore.site.api.entries import Entry, entry, undocumented
from xrcore.site.api.rooms import GROUPS, ROOMS, Room
from xrcore.site.api.source import Source

SURFACE = "api"  # the surface's page
SHORT = "xr"  # what a reader's program calls the package


@dataclass(frozen=True)
class Section:
    """A module of a room: its name, docstring and entries."""

    module: str
    docstring: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Export:
    """A name in the package's `__all__`: where it leads, what it says; entry: None of a module, which has a page."""

    address: str
    docstring: str
    entry: Entry | None


class Reference:
    """The reference of the package in the folder `package`, read from its files.

    rooms, groups: what it shows, see `xrcore.site.api.rooms`. about: {room: what it says of itself}. surface: {name: Export}.
    Raises XrcoreError naming the module or the exported name that cannot be found.
    """

    def __init__(self, package: Path, rooms: Iterable[Room] = ROOMS, groups: Iterable[tuple[str, tuple[str, ...]]] = GROUPS) -> None:
        self.source = Source(package)
        self.groups = tuple(groups)
        self.entries: dict[str, Entry] = {}  # by path: what is exported twice has one entry
        self.about: dict[str, str] = {}
        self.rooms: dict[str, tuple[Section, ...]] = {}
        self._anchors: dict[str, set[str]] = {}
        self._named: dict[str, list[Entry]] = {}  # by name, and by each end of the path
        for room in rooms:
            module = self._whole(room.name)
            if not room.optional or self.source.has(module):
                self.rooms[room.name] = self._sections(room)
                self.about[room.name] = self.source.docstring(module) or room.about
        self.surface = self._exports()
        self._modules = {
            section.module.removeprefix(f"{self.source.name}."): f"{page_of(name)}#{section.module}"
            for name, sections in self.rooms.items()
            for section in sections
            if len(sections) > 1
        }

    @property
    def pages(self) -> list[str]:
        """Names of the pages' files, without .html."""
        return [SURFACE, *(page_of(name).removesuffix(".html") for name in self.rooms)]

    def everything(self) -> Iterator[Entry]:
        """Every entry, and after it its members."""
        for found in self.entries.values():
            yield found
            yield from found.members

    def undocumented(self) -> list[str]:
        """Paths of public classes, functions, methods and properties that have no docstring."""
        return [path for found in self.entries.values() for path in undocumented(found)]

    def index(self) -> list[tuple[str, str, str]]:
        """(name, address, summary) of everything, for the search."""
        return [(one.name, one.address, prose.plain(prose.summary(one.docstring)) or one.kind) for one in self.everything()]

    def address(self, code: str, near: Entry | None = None, module: str | None = None) -> str | None:
        """Where `code`, such as "Volume.coarser" or "read_ct(spacing=)", is explained; None if nowhere, or if it may mean several.

        near, module: where it is mentioned; the nearest of that name is meant, and a parameter explains itself.
        """
        name = code.split("(")[0].strip().removeprefix(f"{SHORT}.").removeprefix(f"{self.source.name}.")
        if not name.replace(".", "").isidentifier():
            return None
        if near is not None:
            if name in (near.name, near.thing.name) or name in self._parameters(near):
                return None
            thing = near.thing if isinstance(near.thing, griffe.Class) else near.thing.parent
            own = [e for e in self._named.get(f"{near.name.split('.')[0]}.{name}", ()) if e.page == near.page]
            if own:
                return own[0].address
            if isinstance(thing, griffe.Class) and name in thing.members:
                return None  # an attribute of its own, which has no entry
            module = near.thing.module.path
        if module is not None and "." not in name and (known := self.entry_of(f"{module}.{name}")):
            return known.address
        if name in self.surface:
            return self.surface[name].address
        if name in self._modules:
            return self._modules[name]
        if name in self.rooms and code != name:
            return page_of(name)
        # a plain word may be anybody's attribute; `state` need not be that of a class far away
        telling = "." in name or "_" in name
        candidates = {e.address for e in self._named.get(name, ()) if telling or "." not in e.name}
        return candidates.pop() if len(candidates) == 1 else None

    def mentioned(self, code: str) -> str | None:
        """`address` for prose about more than code, where a plain word such as `search` need not be a name."""
        name = code.split("(")[0]
        looks_like_one = name.startswith((f"{SHORT}.", f"{self.source.name}.")) or name != name.lower() or "_" in name
        return self.address(code) if looks_like_one and not name.isupper() else None

    def entry_of(self, path: str) -> Entry | None:
        """The entry of what a dotted path means, which need not be where it is defined."""
        thing = self.source.resolve(path)
        return self.entries.get(thing.path) if thing is not None else None

    def _whole(self, module: str) -> str:
        return f"{self.source.name}.{module}"

    def _parameters(self, found: Entry) -> set[str]:
        thing = found.thing
        return set() if isinstance(thing, griffe.Attribute) else {p.name for p in signature.parameters(thing, self.source) or ()}

    def _sections(self, room: Room) -> tuple[Section, ...]:
        sections = []
        for part in room.parts:
            module = self._whole(part.module)
            names = dict.fromkeys([*(part.only or self.source.exported(module)), *part.more])
            things = [thing for name in names if not isinstance(thing := self.source.find(module, name), griffe.Module)]
            if not part.only:  # `__all__` has constants first, readers want them last
                things.sort(key=lambda thing: isinstance(thing, griffe.Attribute))
            new = [self._add(thing, page_of(room.name)) for thing in things if thing.path not in self.entries]
            sections.append(Section(module, self.source.docstring(module), tuple(new)))
        return tuple(section for section in sections if section.entries)

    def _exports(self) -> dict[str, Export]:
        """What no room holds gets its entry on the surface's own page."""
        found = {}
        for name in self.source.exported(self.source.name):
            thing = self.source.find(self.source.name, name)
            if isinstance(thing, griffe.Module):
                room = thing.path.removeprefix(f"{self.source.name}.")
                found[name] = Export(page_of(room) if room in self.rooms else f"{SURFACE}.html", self.source.docstring(thing.path), None)
            else:
                own = self.entries.get(thing.path) or self._add(thing, f"{SURFACE}.html")
                found[name] = Export(own.address, own.docstring, own)
        return found

    def _add(self, thing: griffe.Class | griffe.Function | griffe.Attribute, page: str) -> Entry:
        taken = self._anchors.setdefault(page, set())
        anchor = thing.name if thing.name not in taken else ".".join(thing.path.split(".")[-2:])
        taken.add(anchor)
        found = entry(thing, self.source, page, anchor)
        self.entries[found.path] = found
        for one in (found, *found.members):
            tail = one.path.split(".")[1:]
            for name in {one.name, one.thing.name, *(".".join(tail[i:]) for i in range(len(tail)))}:
                self._named.setdefault(name, []).append(one)
        return found


def page_of(room: str) -> str:
    """The file of a room's page."""
    return f"{SURFACE}_{room}.html"
