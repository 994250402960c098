"""What the reference says about one object, before it is HTML: its name, its place, its kind and its members."""

from __future__ import annotations

from dataclasses import dataclass

import griffe

from xrcore.site.api import prose, signature
from xrcore.site.api.source import Object, Source


@dataclass(frozen=True)
class Entry:
    """One object at its one place. name: as it is called, such as "Pose.zero". kind: in a word or two. docstring: "" where it has none.

    like: the member of a base class whose docstring holds for this one too, which has none of its own.
    """

    name: str
    thing: griffe.Class | griffe.Function | griffe.Attribute
    kind: str
    page: str
    anchor: str
    docstring: str
    members: tuple[Entry, ...] = ()
    like: str = ""

    @property
    def path(self) -> str:
        return self.thing.path

    @property
    def address(self) -> str:
        return f"{self.page}#{self.anchor}"


def entry(thing: Object, source: Source, page: str, anchor: str) -> Entry:
    """A class with its public members, a function, or a constant."""
    assert not isinstance(thing, griffe.Module)
    members: list[Entry] = []
    if isinstance(thing, griffe.Class):
        # what the class's own docstring explains need not be explained again
        said = {name: p.text for p in prose.pieces(_text(thing), thing.members) for name in p.names.split(", ")}
        for name, member in thing.members.items():
            if isinstance(member, griffe.Function | griffe.Attribute) and _is_public(name, member):
                like = "" if member.docstring else _documented_base(thing, name, source)
                members.append(
                    Entry(
                        f"{thing.name}.{name}",
                        member,
                        _kind(member, source),
                        page,
                        f"{anchor}.{name}",
                        _text(member) or said.get(name, ""),
                        like=like,
                    )
                )
    text = _text(thing) or (source.comment(thing) if isinstance(thing, griffe.Attribute) else "")
    return Entry(thing.name, thing, _kind(thing, source), page, anchor, text, tuple(members))


def undocumented(entry: Entry) -> list[str]:
    """Paths of the entry and its members that say nothing; constants may."""
    own = [] if entry.docstring or entry.like or entry.kind in ("constant", "type") else [entry.path]
    return own + [path for member in entry.members for path in undocumented(member)]


def known_names(entry: Entry, source: Source) -> set[str]:
    """Names that its docstring may explain."""
    names: set[str] = set()
    if isinstance(entry.thing, griffe.Class):
        names |= {name for owner in (entry.thing, *source.bases(entry.thing)) for name in owner.members}
    if not isinstance(entry.thing, griffe.Attribute):
        names |= {parameter.name for parameter in signature.parameters(entry.thing, source) or ()}
    return names


def _is_public(name: str, member: griffe.Function | griffe.Attribute) -> bool:
    """Methods and properties; of special methods those that say something; no fields, which the signature shows."""
    if isinstance(member, griffe.Attribute):
        return not name.startswith("_") and "property" in member.labels
    if name.startswith("__") and name.endswith("__"):
        return member.docstring is not None and name not in ("__init__", "__post_init__")
    return not name.startswith("_")


def _documented_base(kind: griffe.Class, name: str, source: Source) -> str:
    for base in source.bases(kind):
        member = base.members.get(name)
        if member is not None and not member.is_alias and member.docstring:
            return str(member.path)
    return ""


def _kind(thing: griffe.Class | griffe.Function | griffe.Attribute, source: Source) -> str:
    if isinstance(thing, griffe.Class):
        names = {str(base).rpartition(".")[2] for base in thing.bases}
        if signature.is_dataclass(thing):
            return "frozen dataclass" if signature.is_frozen(thing) else "dataclass"
        if "Protocol" in names:
            return "protocol"
        if "NamedTuple" in names:
            return "named tuple"
        exceptions = any(name.endswith(("Error", "Exception")) for name in names) or any(
            str(b).endswith("Error") for base in source.bases(thing) for b in base.bases
        )
        return "exception" if exceptions else "abstract class" if names & {"ABC"} else "class"
    if isinstance(thing, griffe.Attribute):
        # as the house writes them: CONSTANTS, and Types
        return "property" if "property" in thing.labels else "type" if thing.name[0].isupper() and not thing.name.isupper() else "constant"
    if not isinstance(thing.parent, griffe.Class):
        return "function"
    return next((f"{label[:-6]} method" for label in ("classmethod", "staticmethod") if label in thing.labels), "method")


def _text(thing: griffe.Object) -> str:
    return thing.docstring.value.strip() if thing.docstring else ""
