"""What a run of the command line leaves, for the tests that look at it."""

from __future__ import annotations

from typing import NamedTuple


class Done(NamedTuple):
    code: int
    out: str
    err: str
