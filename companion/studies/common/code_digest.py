"""A short hash of code, by which results measured by other code are recognised."""

from __future__ import annotations

import ast
import inspect
import textwrap
from importlib import import_module

from companion.experiments.setup_digest import digest


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
        Twelve hexadecimal digits.
    """
    sources = [textwrap.dedent(inspect.getsource(kind)), *(inspect.getsource(import_module(name)) for name in modules)]
    return digest(*(ast.dump(_without_docstrings(ast.parse(source))) for source in sources))


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
    return tree
