"""A button that copies a text."""

from __future__ import annotations

from pathlib import Path

import anywidget
import traitlets


class CopyButton(anywidget.AnyWidget):
    """Copies `text` to the clipboard when pressed: only the browser can."""

    _esm = Path(__file__).parent / "copy_button.js"

    description = traitlets.Unicode("copy").tag(sync=True)
    text = traitlets.Unicode("").tag(sync=True)
