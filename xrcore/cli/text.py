"""Format results for a terminal as plain, aligned text."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from xrcore.geometry.pose import NAMES

if TYPE_CHECKING:
    from xrcore.registration.result import Registration

_LABEL = 12
_UNITS = ("deg", "deg", "deg", "mm", "mm", "mm")


def line(label: str, *values: str) -> str:
    """A label and what belongs to it, indented."""
    return f"  {label:<{_LABEL}}" + "   ".join(values)


def pose_table(rows: Iterable[tuple[str, Sequence[float] | None]]) -> list[str]:
    """Six numbers a row under their names and units; rows of None are left out."""
    lines = [line("", "".join(f"{f'{n} [{u}]':>10}" for n, u in zip(NAMES, _UNITS, strict=True)))]
    return lines + [line(label, "".join(f"{value:10.2f}" for value in row)) for label, row in rows if row is not None]


def verdict_lines(result: Registration, starting: float | None = None) -> list[str]:
    """What was found of the X-ray, verdict and time. starting: what start-up and reading took before [s]."""
    seen = (
        [line("images", f"{100 * result.evidence.agreement:.0f} % of the X-ray's detail is where the CT has it")] if result.evidence else []
    )
    stages = ", ".join(f"{name} {seconds:.2f}" for name, seconds in result.stages.items())
    return [
        *seen,
        line("verdict", result.verdict),
        *([line("geometry", "taken as given:", result.assumption)] if result.assumption else []),
        line("stopped", result.stop_reason),
        line("time", f"{result.seconds:.2f} s", *([f"({stages})"] if stages else [])),
        *([] if starting is None else [line("", f"after {starting:.2f} s of start-up and reading files")]),
    ]


def command(*arguments: object) -> str:
    """A command of this program as it was called, such that it can be pasted into a shell."""
    return shlex.join([program(), *map(str, arguments)])


def program() -> str:
    """The way this program was called."""
    called = Path(sys.argv[0])
    if called.name != "xrcore":
        return "xrcore"
    found = shutil.which("xrcore")
    if not called.exists() or (found and Path(found).samefile(called)):
        return "xrcore"
    return os.path.relpath(called) if called.is_relative_to(Path.cwd()) else str(called)
