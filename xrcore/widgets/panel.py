"""Panel: what every instrument is. A box of widgets that can show an error in the page and a still where no kernel runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from typing import Any

import ipywidgets as ipw

from xrcore._util.errors import XrcoreError
from xrcore.widgets.watching import Watching

_CALM, _ALARM = "#555555", "#b3261e"


class Panel(Watching, ipw.VBox):
    """A column of widgets, and among them a line for remarks and errors, class `xr-note`: the last row, or the one that note_at says."""

    def __init__(self, *rows: ipw.Widget, name: str, note_at: int | None = None) -> None:
        self.note = ipw.HTML().add_class("xr-note")
        self._alarmed = False
        at = len(rows) if note_at is None else note_at
        super().__init__([*rows[:at], self.note, *rows[at:]])
        self.add_class("xr-panel")
        self.add_class(f"xr-{name}")

    def say(self, text: str) -> None:
        """A remark in that line; "" clears it."""
        self._alarmed = False
        self.note.value = _line(text, _CALM, "status")

    def complain(self, text: str) -> None:
        """An error in that line."""
        self._alarmed = True
        self.note.value = _line(text, _ALARM, "alert")

    def settle(self, text: str) -> None:
        """A remark at the end of something, unless something went wrong meanwhile."""
        if not self._alarmed:
            self.say(text)

    @contextmanager
    def reporting(self) -> Iterator[None]:
        """Bad input inside shows in the page: from a callback, an exception would only reach a log that nobody reads.

        What is not meant for the user is shown too, and raised, since it is a defect.
        """
        try:
            yield
        except XrcoreError as error:
            self.complain(str(error))
        except Exception as error:
            self.complain(f"unexpected {type(error).__name__}: {error}")
            raise

    def _reporting(self, act: Callable[[], None]) -> Callable[[Any], None]:
        """`act` as an observer of a trait, its errors shown in the page."""

        def observer(_: Any) -> None:
            with self.reporting():
                act()

        return observer

    def still(self) -> bytes | None:
        """A PNG of what there is to see now, for pages without a kernel; None for nothing."""
        return None

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        bundle = super()._repr_mimebundle_(**kwargs)
        picture = self.still()
        if bundle is None or picture is None:
            return bundle
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        return {**data, "image/png": picture}, metadata


def _line(text: str, colour: str, role: str) -> str:
    return f'<span role="{role}" style="color:{colour}">{escape(text)}</span>' if text else ""
