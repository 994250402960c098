"""A package's modules as their text says, file by file: what they define, what they export, and where each name comes from."""

from __future__ import annotations

import ast
import io
import tokenize
from pathlib import Path

import griffe

from xrcore.errors import XrcoreError

Object = griffe.Module | griffe.Class | griffe.Function | griffe.Attribute


class Source:
    """The package in the folder `root`, whose name is the folder's.

    Each file is read by itself, because folders without an `__init__.py` count here, and because a function may bear the name of the
    module that it is in, which a package's tree of names cannot hold.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.name = root.name
        self._modules: dict[str, griffe.Module] = {}
        self._comments: dict[Path, dict[int, tuple[str, bool]]] = {}

    def has(self, module: str) -> bool:
        """Whether there is such a module: a file, or a folder of some."""
        return self._file(module) is not None or self._folder(module).is_dir()

    def module(self, name: str) -> griffe.Module:
        """A module by its whole name; raises XrcoreError for one that is absent or no Python."""
        if name not in self._modules:
            path = self._file(name)
            if path is None:
                raise XrcoreError(f"{name}: no such module below {self.root}; correct the rooms of the reference")
            try:
                self._modules[name] = griffe.visit(name, filepath=path, code=path.read_text(encoding="utf-8"))
            except (OSError, SyntaxError, UnicodeDecodeError) as error:
                raise XrcoreError(f"{path}: cannot be read as Python ({error}); repair it") from None
        return self._modules[name]

    def docstring(self, module: str) -> str:
        """What a module says of itself; "" of a folder that is only a folder."""
        if self._file(module) is None:
            return ""
        docstring = self.module(module).docstring
        return docstring.value.strip() if docstring else ""

    def exported(self, name: str) -> list[str]:
        """A module's `__all__`, or else its public classes and functions in the file's order; of modules, none."""
        module = self.module(name)
        if module.exports is not None:
            return [str(name) for name in module.exports]
        return [n for n, m in module.members.items() if not n.startswith("_") and not m.is_alias and (m.is_class or m.is_function)]

    def find(self, module: str, name: str) -> Object:
        """What `name` means in a module, followed through imports to where it is made. Raises XrcoreError where it means nothing."""
        found = self._find(module, name)
        if found is None:
            raise XrcoreError(f"{module}.{name}: nowhere defined or imported, but exported or to be documented; correct `__all__`")
        return found

    def resolve(self, path: str) -> Object | None:
        """The object behind a dotted path such as "xrcore.geometry.Pose.zero"; None if it is not the package's."""
        if path == self.name:
            return self.module(path)
        if not path.startswith(f"{self.name}."):
            return None
        parent, _, name = path.rpartition(".")
        if self.has(parent):
            return self._find(parent, name)
        owner = self.resolve(parent)
        return _plain(owner.members.get(name)) if owner is not None else None

    def bases(self, kind: griffe.Class) -> list[griffe.Class]:
        """Those base classes that are the package's, the nearest first."""
        found: list[griffe.Class] = []
        for base in kind.bases:
            if isinstance(base, griffe.Expr) and isinstance(owner := self.resolve(base.canonical_path), griffe.Class):
                found += [owner, *self.bases(owner)]
        return found

    def comment(self, thing: griffe.Object, above: bool = True) -> str:
        """What a comment behind an assignment says or, with `above`, the lines right above it."""
        path = thing.filepath
        assert isinstance(path, Path)
        if path not in self._comments:
            self._comments[path] = _comments(path.read_text(encoding="utf-8"))
        comments = self._comments[path]
        text, alone = comments.get(thing.endlineno or 0, ("", False))
        if text and not alone:
            return text
        lines: list[str] = []
        line = (thing.lineno or 0) - 1
        while above and comments.get(line, ("", False))[1]:
            lines.insert(0, comments[line][0])
            line -= 1
        return " ".join(lines)

    def where(self, thing: griffe.Object) -> str:
        """The file, from the folder that the package is in, and the line."""
        path = thing.filepath
        assert isinstance(path, Path)
        return f"{path.relative_to(self.root.parent).as_posix()}, line {thing.lineno}"

    def _find(self, module: str, name: str) -> Object | None:
        below = f"{module}.{name}"
        if self._file(module) is not None:
            inside = self.module(module)
            member = _plain(inside.members.get(name))
            if member is not None:
                return member
            origin = inside.imports.get(name) or _homes(inside).get(name)
            if origin and origin != below:
                return self.resolve(origin)
        return self.module(below) if self._file(below) is not None else None

    def _folder(self, module: str) -> Path:
        return self.root.parent.joinpath(*module.split("."))

    def _file(self, module: str) -> Path | None:
        folder = self._folder(module)
        return next((path for path in (folder / "__init__.py", folder.with_name(f"{folder.name}.py")) if path.is_file()), None)


def _plain(member: griffe.Object | griffe.Alias | None) -> Object | None:
    return member if isinstance(member, Object) else None


def _homes(module: griffe.Module) -> dict[str, str]:
    """Names that a module resolves when asked for them, from its table `_HOME` = {name: the module that has it}."""
    table = module.members.get("_HOME")
    if not isinstance(table, griffe.Attribute):
        return {}
    try:
        homes = ast.literal_eval(str(table.value))
    except (ValueError, SyntaxError):
        return {}
    if not isinstance(homes, dict):
        return {}
    package = module.path.split(".")[0]
    return {name: f"{home if home.startswith(f'{package}.') else f'{module.path}.{home}'}.{name}" for name, home in homes.items()}


def _comments(code: str) -> dict[int, tuple[str, bool]]:
    """{line: (text, whether it stands alone)}; remarks to tools are left out."""
    found = {}
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        if token.type == tokenize.COMMENT:
            text = token.string.lstrip("# ").strip()
            if not text.startswith(("noqa", "type:", "pragma")):
                found[token.start[0]] = (text, not token.line[: token.start[1]].strip())
    return found
