"""The picture of a registration without matplotlib, whose import and drawing would take a quarter of a command's time."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from xrcore.figures.blends import Image as Blended
from xrcore.figures.blends import edge_colours
from xrcore.figures.colours import BAD, DARK, GOOD, MUTED
from xrcore.figures.encoding import array_image, array_png
from xrcore.figures.registration_contents import ABOVE, BELOW, DPI, GAP, MARGIN, WIDTH, found_words, registration_panels
from xrcore.xray.image import Xray

_SQUARE = 15  # [pixels] of the legend


def registration_png(xray: Xray, initial_image: Blended, final_image: Blended, result: Any = None) -> bytes:
    """Draw what `registration_figure` draws, as a PNG.

    Parameters
    ----------
    xray : Xray
        The X-ray, bone bright.
    initial_image, final_image : Tensor or array, "H W" or "1 H W"
        DRRs at the initial and the refined pose.
    result : Registration, optional
        Of it `pose`, `trusted`, `seconds` and `stop_reason` are shown, as far as they are there.

    Returns
    -------
    bytes
        The PNG, 1400 pixels wide.

    Raises
    ------
    XrcoreError
        If an image has another shape than the X-ray.
    """
    panels = registration_panels(xray, initial_image, final_image)
    rows, cols = xray.carm.shape
    side = (WIDTH - 2 * MARGIN - (len(panels) - 1) * GAP) // len(panels)
    height = max(1, round(side * rows / cols))
    sheet = Image.new("RGB", (WIDTH, ABOVE + height + BELOW), "white")
    pen = ImageDraw.Draw(sheet)
    for i, (title, remark, picture) in enumerate(panels):
        left = MARGIN + i * (side + GAP)
        values = array_image(picture).convert("RGB")
        sheet.paste(values.resize((side, height), Image.Resampling.HAMMING), (left, ABOVE))
        end = _write(pen, left, ABOVE - 9, title, 13, DARK, bold=True)
        _write(pen, end + 11, ABOVE - 9, remark, 10.5, MUTED)
    base = ABOVE + height + BELOW // 2 + 5
    verdict, good, line = found_words(result)
    end = _write(pen, MARGIN, base, verdict, 11.5, GOOD if good else BAD, bold=True) + 11 if verdict else MARGIN
    _write(pen, end, base, line, 11, DARK)
    right = float(WIDTH - MARGIN)
    for words, colour in reversed(edge_colours().items()):
        right -= pen.textlength(words, _font(10.5))
        _write(pen, right, base, words, 10.5, DARK)
        right -= _SQUARE + 7
        pen.rectangle((right, base - _SQUARE + 2, right + _SQUARE - 1, base + 1), tuple(int(255 * c + 0.5) for c in colour))
        right -= 20
    return array_png(np.asarray(sheet) / 255)


def _write(pen: ImageDraw.ImageDraw, left: float, base: float, text: str, points: float, colour: str, *, bold: bool = False) -> float:
    """Write on a base line; returns where the text ends [pixels]."""
    font = _font(points, bold)
    pen.text((left, base), text, colour, font, anchor="ls")
    return left + pen.textlength(text, font)


def _font(points: float, bold: bool = False) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """matplotlib's own font, found without importing it."""
    package = find_spec("matplotlib")
    assert package is not None
    assert package.origin is not None
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(package.origin).parent / "mpl-data" / "fonts" / "ttf" / name, points * DPI / 72)
