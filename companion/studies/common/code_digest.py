"""A short hash of code, by which results measured by other code are recognised."""

from __future__ import annotations

import ast
import inspect
import textwrap
from functools import lru_cache
from importlib import import_module
from typing import Any

from companion.experiments.setup_digest import digest


@lru_cache
def code_digest(kind: type, *modules: str) -> str:
    """Hash a class and modules by what they do: comments, docstrings and the layout of lines are left out.

    Parameters
    ----------
    kind : type
        The class.
    *modules : str
        Names of modules.

    Returns
    -------
    str
        Twelve hexadecimal digits, the same for every version of Python.
    """
    sources = [textwrap.dedent(inspect.getsource(kind)), *(inspect.getsource(import_module(name)) for name in modules)]
    return digest(*(_plain(ast.parse(source)) for source in sources))


def _plain(node: Any) -> Any:
    """A tree as tuples. Fields that are empty are left out: which of them there are differs between versions of Python."""
    if isinstance(node, list):
        return tuple(map(_plain, node))
    if not isinstance(node, ast.AST):
        return node
    fields = dict(ast.iter_fields(node))
    if (
        isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        and ast.get_docstring(node, clean=False) is not None
    ):
        fields["body"] = fields["body"][1:]
    return (type(node).__name__, *((name, _plain(value)) for name, value in fields.items() if value is not None and value != []))
