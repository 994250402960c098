"""Canvas: a picture in the page that reports drags, wheel and keys, and compares two pictures by a movable line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anywidget
import traitlets

from xrcore.figures import array_png
from xrcore.figures.encoding import Picture


class Canvas(anywidget.AnyWidget):
    """Show a picture, or two with a line between them.

    The element's `data-frames` counts the pictures that the browser has really drawn.

    Parameters
    ----------
    label : str
        What a screen reader says.
    width : int
        Width on the page [CSS pixels].
    hint : str
        Text below the picture.
    **kwargs
        Further traits, among them those below.

    Attributes
    ----------
    front, back : bytes
        PNGs; `back` is shown to the right of the line.
    split : float or None
        Where the line stands, as a share of the width; None for `front` alone.
    gesture : dict
        What the reader did, counted up from the page's start, so that a slow kernel may miss messages but hardly a movement:
        {"press": number of the drag, "dx", "dy": its way as shares of the image's width, "turn": bool (shift was held), "roll": bool (alt),
        "wheel": notches, "keys": {name: presses}}.
    """

    _esm = Path(__file__).parent / "canvas.js"
    _css = Path(__file__).parent / "canvas.css"

    front = traitlets.Bytes(b"").tag(sync=True)
    back = traitlets.Bytes(b"").tag(sync=True)
    split = traitlets.Float(None, allow_none=True).tag(sync=True)
    width = traitlets.Int(448).tag(sync=True)
    label = traitlets.Unicode("").tag(sync=True)
    hint = traitlets.Unicode("").tag(sync=True)
    gesture = traitlets.Dict().tag(sync=True)

    def __init__(self, label: str, *, width: int = 448, hint: str = "", **kwargs: Any) -> None:
        super().__init__(label=label, width=width, hint=hint, **kwargs)
        self.add_class("xr-canvas")

    def show(self, front: Picture, back: Picture | None = None) -> None:
        """Show other pictures.

        Parameters
        ----------
        front, back : Float[NDArray, "H W"] or Float[NDArray, "H W 3"]
            Grey values or colours in [0, 1]; without `back` the one from before stays.
        """
        with self.hold_sync():
            self.front = array_png(front)
            if back is not None:
                self.back = array_png(back)
