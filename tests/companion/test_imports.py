"""The companion, the notebooks and the workflow build on the public names of xrcore alone."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = [*sorted((ROOT / "companion").rglob("*.py")), *sorted((ROOT / "notebooks").glob("*.*")), ROOT / "workflow" / "Snakefile"]


def imports(path: Path) -> Iterator[tuple[str, str | None]]:
    """(module, name or None) of every import of xrcore, also inside functions."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        cells = json.loads(text)["cells"]
        text = "\n".join(line for cell in cells if cell["cell_type"] == "code" for line in "".join(cell["source"]).splitlines())
        text = re.sub(r"^%.*$", "", text, flags=re.M)
    elif path.suffix != ".py":  # Snakemake's language
        text = "\n".join(re.findall(r"^(?:from|import) .*$", text, re.M))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names if alias.name.split(".")[0] == "xrcore")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "xrcore":
            yield from ((node.module or "", alias.name) for alias in node.names)


def is_public(module: str, name: str | None) -> bool:
    """Whether a module is xrcore or one of its packages, and lists the name in its `__all__` or is the package of that name."""
    if module.count(".") > 1 or "._" in module:
        return False
    if name is None or name in import_module(module).__all__:
        return True
    return module == "xrcore" and not name.startswith("_") and (ROOT / "xrcore" / name / "__init__.py").exists()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_only_public_names_of_xrcore_are_imported(path):
    assert [f"from {module} import {name}" for module, name in imports(path) if not is_public(module, name)] == []


def test_benchmarks_import_no_private_module_of_xrcore():
    """They take kernels and solvers apart, but what serves all comes from xrcore.utilities."""
    found = [(path.name, module) for path in sorted((ROOT / "benchmarks").rglob("*.py")) for module, _ in imports(path)]
    assert [pair for pair in found if "._" in pair[1]] == []
    assert "xrcore._" not in (ROOT / "Makefile").read_text(encoding="utf-8")


def test_the_rule_tells_apart():
    assert is_public("xrcore", "render")
    assert is_public("xrcore.metrics", "mtre")
    assert is_public("xrcore", "widgets")
    assert not is_public("xrcore._util.errors", "XrcoreError")
    assert not is_public("xrcore.ct.volume", "Volume")
    assert not is_public("xrcore.metrics", "np")
