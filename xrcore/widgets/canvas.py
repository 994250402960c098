"""Canvas: a picture in the page that can be dragged, wheeled, typed at, and compared with a second one by a movable line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anywidget
import traitlets

from xrcore.figures.encoding import Picture, array_png


class Canvas(anywidget.AnyWidget):
    """Shows `front`, and where `split` is not None, `back` to the right of it: the share of the width at which the line stands.

    width: [CSS pixels]. label: what a screen reader says.
    gesture: what the reader's hand did, counted up from the page's start, so that a slow kernel may miss messages but hardly a movement:
        {"press": number of the drag, "dx", "dy": its way as shares of the image's width, "turn": bool (shift was held), "roll": bool (alt),
        "wheel": notches, "keys": {name: presses}}.
    The element's `data-frames` counts the pictures that the browser has really drawn.
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
        """Pictures in [0, 1], (H, W) or (H, W, 3)."""
        with self.hold_sync():
            self.front = array_png(front)
            if back is not None:
                self.back = array_png(back)
