"""Words that a shell completes an option's value to."""

from __future__ import annotations

from collections.abc import Callable

Completion = Callable[[str], list[str]]


def one_of(*words: str) -> Completion:
    """Complete a value that is one of some words.

    Parameters
    ----------
    *words : str
        That the option takes.

    Returns
    -------
    callable
        From what was typed to the words that begin so; for `typer.Option(autocompletion=...)`.
    """
    return lambda incomplete: [word for word in words if word.startswith(incomplete)]


def several_of(*words: str) -> Completion:
    """Complete a value that is some of some words, each once, with commas between, and perhaps each with "=" and a number.

    Parameters
    ----------
    *words : str
        That the option takes.

    Returns
    -------
    callable
        From what was typed to itself with the last word completed; for `typer.Option(autocompletion=...)`.
    """

    def complete(incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        named = [part.partition("=")[0] for part in before.split(",")]
        return [before + comma + word for word in words if word.startswith(last) and word not in named]

    return complete
