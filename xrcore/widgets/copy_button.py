"""CopyButton: a button that copies a text to the clipboard, which only the browser can."""

from __future__ import annotations

from pathlib import Path

import anywidget
import traitlets


class CopyButton(anywidget.AnyWidget):
    """Copy `text` to the clipboard when pressed.

    Attributes
    ----------
    description : str
        What the button says.
    text : str
        What is copied.
    """

    _esm = Path(__file__).parent / "copy_button.js"

    description = traitlets.Unicode("copy").tag(sync=True)
    text = traitlets.Unicode("").tag(sync=True)
