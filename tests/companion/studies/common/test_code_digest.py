"""Results are recognised by the code that measured them."""

from __future__ import annotations

import sys

import pytest

from companion.experiments.setup_digest import digest
from companion.studies.common.code_digest import code_digest

CODE = '''
class Study:
    """What it measures."""

    def measure(self, x):
        return x + 1  # one more
'''


@pytest.fixture
def digest_of(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    count = iter(range(100))

    def digest(code: str) -> str:
        name = f"measured_{abs(hash(tmp_path))}_{next(count)}"
        (tmp_path / f"{name}.py").write_text(code)
        __import__(name)
        return code_digest(sys.modules[name].Study, name)

    return digest


def test_versions_of_python_agree(digest_of):
    # the fields that are empty, of which 3.11, 3.12 and 3.13 have others, do not count
    tree = (("Module", ("body", (("ClassDef", ("name", "Study"), ("body", (("Pass",),))),))),)
    assert digest_of("class Study:\n    pass\n") == digest(*(tree * 2))


def test_other_code_is_noticed_and_other_words_are_not(digest_of):
    first = digest_of(CODE)
    assert digest_of(CODE) == first
    assert digest_of(CODE.replace("What it measures", "Says what it measures").replace("  # one more", "")) == first
    assert digest_of(CODE.replace("x + 1", "x + 2")) != first
    assert digest_of(CODE + "\nLIMIT = 3\n") != first
