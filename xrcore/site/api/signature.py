"""Signatures as the source writes them, broken into lines where they are long, with links from the names of types."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from html import escape

import griffe

from xrcore.site.api.source import Source

_WIDTH = 84  # characters that fit beside the contents
Link = Callable[[str], str | None]  # the address of a dotted path, None where it has none
Value = str | griffe.Expr | None


@dataclass(frozen=True)
class Parameter:
    """One of a call. mark: "", "*" or "**" before its name. kind: "positional", "both" or "keyword", how it may be given."""

    name: str
    annotation: Value = None
    default: Value = None
    kind: str = "both"
    mark: str = ""


_KINDS = {
    griffe.ParameterKind.positional_only: ("positional", ""),
    griffe.ParameterKind.positional_or_keyword: ("both", ""),
    griffe.ParameterKind.var_positional: ("keyword", "*"),
    griffe.ParameterKind.keyword_only: ("keyword", ""),
    griffe.ParameterKind.var_keyword: ("keyword", "**"),
}


def parameters(thing: griffe.Function | griffe.Class, source: Source) -> list[Parameter] | None:
    """What a caller gives, without self; of a class, to make one. None for a class that says nothing about it."""
    if isinstance(thing, griffe.Function):
        bound = isinstance(thing.parent, griffe.Class) and "staticmethod" not in thing.labels
        return [Parameter(p.name, p.annotation, p.default, *_KINDS[p.kind]) for p in thing.parameters if p.kind][1 if bound else 0 :]
    if is_dataclass(thing) or _is_named_tuple(thing):
        return _of_fields(thing, source)
    for owner in (thing, *source.bases(thing)):
        made = owner.members.get("__init__")
        if isinstance(made, griffe.Function):
            return parameters(made, source)
        if is_dataclass(owner):
            return _of_fields(owner, source)
    return None


def is_dataclass(kind: griffe.Class) -> bool:
    return any(_decorator(d).startswith("dataclass") for d in kind.decorators)


def is_frozen(kind: griffe.Class) -> bool:
    return any("frozen=True" in _decorator(d) for d in kind.decorators if _decorator(d).startswith("dataclass"))


def fields(kind: griffe.Class) -> list[griffe.Attribute]:
    """Annotated attributes of the class's own body, in their order."""
    return [
        member
        for name, member in kind.members.items()
        if isinstance(member, griffe.Attribute) and member.annotation is not None and not name.startswith("_") and _in_body(member)
    ]


def html(name: str, thing: griffe.Function | griffe.Class, source: Source, link: Link) -> str:
    """A <pre> with the signature; `name`: as it is called."""
    found = parameters(thing, source)
    returns = thing.returns if isinstance(thing, griffe.Function) else None
    return call(name, found, returns, link, "class " if isinstance(thing, griffe.Class) else "")


def call(name: str, found: list[Parameter] | None, returns: Value, link: Link, before: str = "") -> str:
    start = f'<span class="k">{before}</span><b>{escape(name)}</b>'
    if found is None:
        return _pre(start)
    parts = _with_markers([(p, *_parameter(p, link)) for p in found])
    plain_end, html_end = ("", "") if returns is None else expression(returns, link)
    end = f') <span class="o">-&gt;</span> {html_end}' if plain_end else ")"
    length = len(before) + len(name) + 2 + sum(len(plain) + 2 for plain, _ in parts) + len(plain_end) + 4
    if length <= _WIDTH or not parts:
        return _pre(f"{start}({', '.join(text for _, text in parts)}{end}")
    return _pre(f"{start}(\n" + "".join(f"    {text},\n" for _, text in parts) + end)


def expression(value: Value, link: Link) -> tuple[str, str]:
    """(plain, HTML) of an annotation or a default, strings in double quotes as the source has them."""
    if value is None:
        return "", ""
    if isinstance(value, str):
        plain = _quoted(value)
        return plain, escape(plain)
    plain, out = "", ""
    for element in value.iterate(flat=True):
        if isinstance(element, griffe.ExprName):
            address = link(_path(element))
            plain += element.name
            out += f'<a href="{escape(address)}">{escape(element.name)}</a>' if address else escape(element.name)
        elif isinstance(element, str):
            text = _quoted(element)
            plain += text
            out += f'<span class="s">{escape(text)}</span>' if text.startswith('"') else escape(text)
    return plain, out


def constant(name: str, annotation: Value, value: Value, link: Link) -> str:
    """A <pre> with `name: type = value`."""
    _, kind = expression(annotation, link)
    _, text = expression(value, link)
    return _pre(f"<b>{escape(name)}</b>" + (f': <span class="type">{kind}</span>' if kind else "") + f" = {text}")


def _pre(text: str) -> str:
    return f'<pre class="signature"><code>{text}</code></pre>\n'


def _path(name: griffe.ExprName) -> str:
    try:
        return name.canonical_path
    except griffe.NameResolutionError:
        return name.name


def _parameter(parameter: Parameter, link: Link) -> tuple[str, str]:
    plain, out = parameter.mark + parameter.name, escape(parameter.mark + parameter.name)
    if parameter.annotation is not None:
        text, kind = expression(parameter.annotation, link)
        plain, out = f"{plain}: {text}", f'{out}: <span class="type">{kind}</span>'
    if parameter.default is not None and not parameter.mark:
        equals = " = " if parameter.annotation is not None else "="
        text, value = expression(parameter.default, link)
        plain, out = plain + equals + text, f'{out}{equals}<span class="m">{value}</span>'
    return plain, out


def _with_markers(parts: list[tuple[Parameter, str, str]]) -> list[tuple[str, str]]:
    """With the lone / and * that separate kinds of parameters."""
    found: list[tuple[str, str]] = []
    last = ""
    for parameter, plain, text in parts:
        if last == "positional" and parameter.kind != "positional":
            found.append(("/", "/"))
        if parameter.kind == "keyword" and last != "keyword" and not parameter.mark:
            found.append(("*", "*"))
        found.append((plain, text))
        last = parameter.kind
    return [*found, ("/", "/")] if last == "positional" else found


def _quoted(text: str) -> str:
    return re.sub(r"'([^'\"\\]*)'", r'"\1"', text)


def _decorator(decorator: griffe.Decorator) -> str:
    return str(decorator.value).removeprefix("dataclasses.")


def _in_body(member: griffe.Attribute) -> bool:
    """Neither a property nor an attribute that a method sets."""
    kind = member.parent
    assert kind is not None
    spans = [(m.lineno or 0, m.endlineno or 0) for m in kind.members.values() if isinstance(m, griffe.Function)]
    return "property" not in member.labels and not any(first <= (member.lineno or 0) <= last for first, last in spans)


def _is_named_tuple(kind: griffe.Class) -> bool:
    return any(str(base) in ("NamedTuple", "typing.NamedTuple") for base in kind.bases)


def _of_fields(kind: griffe.Class, source: Source) -> list[Parameter]:
    found: dict[str, Parameter] = {}
    for owner in (*reversed(source.bases(kind)), kind):
        keyword = any("kw_only=True" in _decorator(d) for d in owner.decorators)
        mark = owner.members.get("_")  # `_: KW_ONLY`, which those behind it are
        behind = (mark.lineno or 0) if isinstance(mark, griffe.Attribute) and str(mark.annotation).endswith("KW_ONLY") else math.inf
        for attribute in fields(owner):
            if "instance-attribute" not in attribute.labels:  # a ClassVar, whose annotation griffe takes off
                continue
            default, options = _default(attribute.value)
            if options.get("init") != "False":
                alone = keyword or options.get("kw_only") == "True" or (attribute.lineno or 0) > behind
                found[attribute.name] = Parameter(attribute.name, attribute.annotation, default, "keyword" if alone else "both")
    return [parameter for how in ("both", "keyword") for parameter in found.values() if parameter.kind == how]


def _default(value: Value) -> tuple[Value, dict[str, str]]:
    """What a field is without being told, and the options of `dataclasses.field`."""
    if not (isinstance(value, griffe.ExprCall) and str(value.function).removeprefix("dataclasses.") == "field"):
        return value, {}
    options = {argument.name: argument.value for argument in value.arguments if isinstance(argument, griffe.ExprKeyword)}
    texts = {name: str(option) for name, option in options.items()}
    if "default" in options:
        return options["default"], texts
    factory = texts.get("default_factory")
    if factory is None:
        return None, texts
    return {"dict": "{}", "list": "[]"}.get(factory, factory.partition(": ")[2] if factory.startswith("lambda:") else f"{factory}()"), texts
