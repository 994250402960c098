"""Panel: a column of widgets with a line for messages and errors, and a picture for pages without a kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from typing import Any

import ipywidgets as ipw

from xrcore._util.errors import XrcoreError
from xrcore.widgets.observer import Observer

_MESSAGE, _ERROR = "#555555", "#b3261e"


def wrapping(align_items: str) -> ipw.Layout:
    """Layout of a row that wraps where the page is narrow."""
    return ipw.Layout(flex_flow="row wrap", grid_gap="8px", align_items=align_items)


class Panel(Observer, ipw.VBox):
    """A column of widgets, and among them a line for messages and errors, of CSS class `xr-note`.

    Parameters
    ----------
    *rows : ipywidgets.Widget
        The widgets, from top to bottom.
    name : str
        The panel has the CSS classes `xr-panel` and `xr-NAME`.
    note_at : int, optional
        Index of the message line among the rows; default below them.
    """

    def __init__(self, *rows: ipw.Widget, name: str, note_at: int | None = None) -> None:
        self.note = ipw.HTML().add_class("xr-note")
        self._shows_error = False
        at = len(rows) if note_at is None else note_at
        super().__init__([*rows[:at], self.note, *rows[at:]])
        self.add_class("xr-panel")
        self.add_class(f"xr-{name}")

    def show_message(self, text: str, *, keep_error: bool = False) -> None:
        """Show a message.

        Parameters
        ----------
        text : str
            Plain text; "" clears the line.
        keep_error : bool
            Do nothing where the line shows an error.
        """
        if not (keep_error and self._shows_error):
            self._show(text, error=False)

    def show_error(self, text: str) -> None:
        """Show an error.

        Parameters
        ----------
        text : str
            Plain text.
        """
        self._show(text, error=True)

    @contextmanager
    def errors_shown(self) -> Iterator[None]:
        """Show errors of the block in the page, since those of callbacks only reach the log.

        What is not meant for the user is shown too, and raised, since it is a defect.

        Yields
        ------
        None
        """
        try:
            yield
        except XrcoreError as error:
            self.show_error(str(error))
        except Exception as error:
            self.show_error(f"unexpected {type(error).__name__}: {error}")
            raise

    def guarded(self, act: Callable[[], None]) -> Callable[[Any], None]:
        """Make a callback of a function, whose errors show in the page.

        Parameters
        ----------
        act : callable
            Called without arguments.

        Returns
        -------
        callable
            Takes one argument, which it ignores: the change or the button.
        """

        def callback(_: Any) -> None:
            with self.errors_shown():
                act()

        return callback

    def snapshot(self) -> bytes | None:
        """Draw the current state, for pages without a kernel.

        Returns
        -------
        bytes or None
            A PNG; None for nothing.
        """
        return None

    def _show(self, text: str, *, error: bool) -> None:
        self._shows_error = error
        look = f'role="{"alert" if error else "status"}" style="color:{_ERROR if error else _MESSAGE}"'
        self.note.value = f"<span {look}>{escape(text)}</span>" if text else ""

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        bundle = super()._repr_mimebundle_(**kwargs)
        picture = self.snapshot()
        if bundle is None or picture is None:
            return bundle
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        return {**data, "image/png": picture}, metadata
