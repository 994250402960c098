"""Completion by the shell: commands, options and the words that an option takes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("xrcore reg", {"register"}),
        ("xrcore simulate --se", {"--series", "--seed", "--set"}),
        ("xrcore register --method g", {"gauss-newton", "grimm"}),
        ("xrcore register --initial lat", {"lateral"}),
        ("xrcore register --free p", {"principal-point"}),
        ("xrcore register --free source-to-detector=20,p", {"source-to-detector=20,principal-point"}),
        ("xrcore register --free principal-point,p", set()),
        ("xrcore register --material co", {"cobalt-chrome"}),
        ("xrcore draw --detector p", {"posterior"}),
        ("xrcore render --pose out", {"outlet"}),
        ("xrcore train --scheme g", {"growing"}),
        ("xrcore reproduce --profile p", {"paper"}),
        ("xrcore train --profile s", {"smoke"}),
        ("xrcore train --protocol c", {"clinical"}),
        ("xrcore draw --style f", {"filled"}),
        ("xrcore data f", {"fetch"}),
    ],
)
def test_what_is_begun_is_completed(run, monkeypatch, words, wanted):
    monkeypatch.setenv("_XRCORE_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))
    done = run()
    assert done.code == 0
    assert set(done.out.split()) == wanted


def test_bash_completes_by_the_script(tmp_path):
    if shutil.which("bash") is None:
        pytest.skip("no bash")
    (tmp_path / "xrcore").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m xrcore "$@"\n')
    (tmp_path / "xrcore").chmod(0o755)
    asked = "COMP_WORDS=(xrcore dem); COMP_CWORD=1; _xrcore_completion xrcore; echo ${COMPREPLY[@]}"
    script = f'PATH="{tmp_path}:$PATH"; eval "$(_XRCORE_COMPLETE=source_bash xrcore)"; {asked}'
    root = Path(__file__).parents[2]
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, cwd=root)
    assert done.stdout.split() == ["demo"], done.stderr
