"""The examples of the public docstrings run and print what they say."""

from __future__ import annotations

import doctest
import inspect
import sys

import pytest
from check_docstrings import public_modules, public_objects

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
EXAMPLES = {
    f"{home.__module__}.{home.__qualname__}": home
    for package in ("xrcore", "companion")
    for module in public_modules(package)
    for _, thing in public_objects(module)
    if ">>>" in (inspect.getdoc(home := getattr(thing, "__func__", None) or getattr(thing, "fget", None) or thing) or "")
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_prints_what_it_says(name, tmp_path, monkeypatch, one_thread):
    monkeypatch.chdir(tmp_path)
    example = doctest.DocTestParser().get_doctest(
        inspect.getdoc(EXAMPLES[name]) or "", dict(vars(sys.modules[EXAMPLES[name].__module__])), name, None, None
    )
    said: list[str] = []
    failed = doctest.DocTestRunner(optionflags=FLAGS).run(example, out=said.append).failed
    assert failed == 0, "".join(said)
