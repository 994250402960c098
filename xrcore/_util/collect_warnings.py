"""What `read_ct` has to say by the way, gathered instead of printed."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def remarks() -> Iterator[list[str]]:
    """A list that holds the remarks, one a line, once the block has ended."""
    notes: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        yield notes
    notes += [str(w.message) for w in caught if w.category is UserWarning]
