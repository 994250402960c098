"""Recognise the errors by which Python and libraries say that memory ran out."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from xrcore._util.errors import XrcoreError

GPU_ERROR = "OutOfMemoryError"  # torch's, by its name: importing torch takes seconds

_WORDS = (
    "not enough memory",
    "allocate memory",
    "failed to allocate",
    "bad alloc",
    "bad_alloc",
    "out of memory",
    "failed to map segment",
    "can't start new thread",
)


def ran_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error means that memory ran out.

    Parameters
    ----------
    error : BaseException
        Any: numpy raises MemoryError, torch and ITK raise RuntimeError, errors of the system have a number.

    Returns
    -------
    bool
        Whether it does, of the CPU's memory or a GPU's.
    """
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    told = isinstance(error, (RuntimeError, ImportError)) and any(words in str(error).lower() for words in _WORDS)
    return told or isinstance(error, MemoryError)


class MemoryShortageError(XrcoreError):
    """The CPU's memory does not suffice."""


@contextmanager
def memory_advice(owner: str, advice: str) -> Iterator[None]:
    """Say in one line what needs less memory, where the CPU's runs out in the block; also a decorator.

    Of several around each other, the outermost says it.

    Parameters
    ----------
    owner : str
        The function that the user called.
    advice : str
        What needs less.

    Yields
    ------
    None
        A GPU's shortage passes: batches are then cut in portions.
    """
    try:
        yield
    except (MemoryError, RuntimeError, OSError, MemoryShortageError) as error:
        short = isinstance(error, MemoryShortageError) or ran_out_of_memory(error)
        if not short or type(error).__name__ == GPU_ERROR:
            raise
        raise MemoryShortageError(f"{owner}: not enough memory; {advice}") from None
