"""The one exception a user is meant to read."""

from __future__ import annotations


class XrcoreError(ValueError):
    """Bad input: a one-line message saying what is wrong with what, and what to do.

    The command line prints the message and exits with code 2; no traceback.
    """
