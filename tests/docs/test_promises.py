"""Each promise of the docs names tests, and they exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = [
    (promise, re.findall(r"`(tests/[^`]+)`", tests))
    for promise, tests in re.findall(r"^\| (.+?) \| (.+) \|$", (ROOT / "docs" / "promises.md").read_text(encoding="utf-8"), re.MULTILINE)
    if promise != "promise"
]


@cache
def functions_in(file: Path) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize(("promise", "tests"), ROWS, ids=[promise[:40] for promise, _ in ROWS])
def test_a_promise_names_tests_that_exist(promise, tests):
    assert tests
    for test in tests:
        file, _, name = test.partition("::")
        assert (ROOT / file).is_file(), test
        assert name in functions_in(ROOT / file), test


def test_the_page_is_in_the_index():
    assert len(ROWS) > 20
    assert re.search(r"^promises$", (ROOT / "docs" / "reference.md").read_text(encoding="utf-8"), re.MULTILINE)
