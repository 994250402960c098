"""Random seeds derived from their purpose, independent of the order of use."""

from __future__ import annotations

import hashlib

import torch


def stream(*purpose: object) -> int:
    """Derive a seed from a purpose.

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
        On the CPU.
    """
    return torch.Generator().manual_seed(stream(*purpose))
