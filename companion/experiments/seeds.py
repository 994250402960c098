"""Random streams that depend on what they are for, not on the order in which they are asked for."""

from __future__ import annotations

import hashlib
import re

import torch


def stream(*purpose: object) -> int:
    """Make a seed for a purpose.

    Parameters
    ----------
    *purpose : object
        Such as "truth", a seed, a patient and a case.

    Returns
    -------
    int
        Below 2^63.
    """
    return int.from_bytes(hashlib.sha256(repr(purpose).encode()).digest()[:8]) >> 1


def generator(*purpose: object) -> torch.Generator:
    """Make a random generator for a purpose.

    Parameters
    ----------
    *purpose : object
        See `stream`.

    Returns
    -------
    torch.Generator
        On the processor.
    """
    return torch.Generator().manual_seed(stream(*purpose))


def digest(*parts: object) -> str:
    """Tell settings apart; where objects lie in memory does not count.

    Parameters
    ----------
    *parts : object
        With a `repr` that names what matters.

    Returns
    -------
    str
        Twelve hexadecimal digits.
    """
    text = re.sub(r" at 0x[0-9a-f]+", "", repr(parts))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
