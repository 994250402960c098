"""Observe traits of a state until the view closes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ipywidgets import Widget
from traitlets import HasTraits


class Observer:
    """Mixin, before a widget class or alone: a state outlives its views, so they stop observing it when they close."""

    _observed: list[tuple[HasTraits, Callable[[Any], None], list[str]]]

    def observe_until_closed(self, state: HasTraits, handler: Callable[[Any], None], *names: str) -> None:
        """Call a handler when traits of a state change, until `close`.

        Parameters
        ----------
        state : traitlets.HasTraits
            What is observed.
        handler : callable
            Called with traitlets' change.
        *names : str
            Names of the traits.
        """
        state.observe(handler, names=list(names))
        self.__dict__.setdefault("_observed", []).append((state, handler, list(names)))

    def close(self) -> None:
        """Stop observing, and close the widget if this is one; may be called again."""
        for state, handler, names in self.__dict__.pop("_observed", []):
            state.unobserve(handler, names=names)
        if isinstance(self, Widget):
            super().close()  # type: ignore[misc]
