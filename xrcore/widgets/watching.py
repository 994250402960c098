"""Observing a state for as long as a view lives, and no longer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ipywidgets import Widget
from traitlets import HasTraits


class Watching:
    """To be mixed into a widget, before it, or into what serves one: a state outlives its views, so they let go of it when they close."""

    _watched: list[tuple[HasTraits, Callable[[Any], None], list[str]]]

    def watch(self, subject: HasTraits, handler: Callable[[Any], None], *names: str) -> None:
        """Call `handler` when one of the traits changes, until `close`."""
        subject.observe(handler, names=list(names))
        self.__dict__.setdefault("_watched", []).append((subject, handler, list(names)))

    def close(self) -> None:
        for subject, handler, names in self.__dict__.pop("_watched", []):
            subject.unobserve(handler, names=names)
        if isinstance(self, Widget):
            super().close()  # type: ignore[misc]
