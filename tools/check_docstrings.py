"""Check the docstrings of the public names by numpydoc: `python tools/check_docstrings.py [PACKAGE ...]`.

Public are the names in `__all__` of a package or module whose path has no underscore, and the public methods of their classes.
Without a package: all of xrcore and companion. Prints an offender a line, and exits with 1 if there is one.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator
from enum import Enum
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

from numpydoc.validate import validate

ROOT = Path(__file__).parents[1]
CODES = {
    "GL08",  # no docstring
    "SS01",  # no summary
    "SS02",  # it starts in lower case
    "SS03",  # it does not end with a period
    "SS05",  # "Renders" instead of "Render"
    "SS06",  # it is more than one line
    "PR01",  # parameters without documentation
    "PR02",  # documentation of parameters that do not exist
    "PR03",  # in another order
    "PR04",  # a parameter without a type
    "PR07",  # a parameter without a description
    "RT01",  # no Returns
    "RT03",  # Returns without a description
    "YD01",  # no Yields
}


def public_modules(package: str) -> Iterator[str]:
    """Yield the modules at or below a package that define `__all__`, packages first."""
    top = ROOT / package.replace(".", "/")
    files = sorted(top.rglob("*.py")) if top.is_dir() else [top.with_suffix(".py")]
    if not files or not files[0].exists():
        sys.exit(f"there is no package {package!r} in {ROOT}")
    for file in files:
        parts = file.relative_to(ROOT).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        if not any(part.startswith("_") for part in parts) and _defines_all(file):
            yield ".".join(parts)


def public_objects(module_name: str) -> Iterator[tuple[str, Any]]:
    """Yield (dotted name to import it by, object) of the classes, their public methods, and the functions in `__all__`."""
    module = import_module(module_name)
    for name in module.__all__:
        thing = getattr(module, name)
        if inspect.isclass(thing) or inspect.isroutine(thing):
            yield f"{module_name}.{name}", thing
        if inspect.isclass(thing) and thing.__module__.split(".")[0] in ("xrcore", "companion"):
            for attribute, value in vars(thing).items():
                if not attribute.startswith("_") and _is_method(value) and not _inherits_its_docstring(thing, attribute):
                    yield f"{module_name}.{name}.{attribute}", value


def offences(dotted: str, thing: Any) -> list[tuple[str, str]]:
    """Return (code, message) of everything that is wrong with one docstring."""
    without_parameters = inspect.isclass(thing) and (issubclass(thing, Enum | BaseException) or getattr(thing, "_is_protocol", False))
    return [(code, text) for code, text in validate(dotted)["errors"] if code in CODES and not (without_parameters and code[:2] == "PR")]


def main(packages: list[str]) -> int:
    """Print every offence once, at the place that defines the object; 1 if there is one."""
    seen, lines = set(), []
    for module_name in dict.fromkeys(name for package in packages for name in public_modules(package)):
        for dotted, thing in public_objects(module_name):
            home = inspect.unwrap(getattr(thing, "__func__", None) or getattr(thing, "fget", None) or getattr(thing, "func", None) or thing)
            key = home.__module__, home.__qualname__
            if key in seen or key[0].split(".")[0] not in ("xrcore", "companion"):
                continue
            seen.add(key)
            for code, message in offences(dotted, thing):
                lines.append(f"{_place(home)}: {'.'.join(key)}: {code} {message}")
    print(*sorted(lines), f"{len(seen)} docstrings, {len(lines)} offences", sep="\n")
    return int(bool(lines))


def _defines_all(file: Path) -> bool:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    targets = [node.targets[0] for node in tree.body if isinstance(node, ast.Assign)]
    return any(isinstance(name, ast.Name) and name.id == "__all__" for target in targets for name in ast.walk(target))


def _is_method(value: Any) -> bool:
    return inspect.isfunction(value) or isinstance(value, classmethod | staticmethod | property | cached_property)


def _inherits_its_docstring(cls: type, name: str) -> bool:
    return not vars(cls)[name].__doc__ and any(getattr(vars(base).get(name), "__doc__", None) for base in cls.__mro__[1:])


def _place(thing: Any) -> str:
    try:
        return f"{Path(inspect.getsourcefile(thing) or '').relative_to(ROOT)}:{inspect.getsourcelines(thing)[1]}"
    except (TypeError, OSError, ValueError):
        return "?"


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main(sys.argv[1:] or ["xrcore", "companion"]))
