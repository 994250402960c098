"""Pages of 8 bits on which things in the beam, collimators and marks are drawn, at twice the resolution."""

from __future__ import annotations

import math
import string
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, UInt8
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

UNIT = 8.0 / 255  # attenuation of a grey level of `obstacles`
_LETTERS = tuple(string.ascii_uppercase + string.digits + " .:-/")


def obstacles(shape: tuple[int, int], g: Generator) -> UInt8[NDArray, "H W"]:
    """Draw the added attenuation of a table, wires, catheters, instruments and plates.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns.
    g : Generator
        Source of the draws.

    Returns
    -------
    UInt8[NDArray, "H W"]
        In units of `UNIT`.
    """

    def draw(pen: ImageDraw.ImageDraw, side: float) -> None:
        if g.random() < 0.4:
            pen.polygon(_half_plane(side, g), fill=_level(g.uniform(0.05, 0.4)))
        if g.random() < 0.5:
            for _ in range(g.integers(1, 7)):
                pen.line(_curve(side, g), fill=_level(math.exp(g.uniform(-2.3, 0.7))), width=int(g.integers(1, 4)))
        if g.random() < 0.7:
            for _ in range(g.integers(1, 5)):
                _metal(pen, side, g)

    return _page(shape, draw)


def blades(shape: tuple[int, int], g: Generator) -> Bool[NDArray, "H W"]:
    """Draw collimators: a disc, or a rectangle that may be turned, neither centred.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns.
    g : Generator
        Source of the draws.

    Returns
    -------
    Bool[NDArray, "H W"]
        True where they shut the beam out.
    """

    def draw(pen: ImageDraw.ImageDraw, side: float) -> None:
        if g.random() < 0.3:
            radius = side * g.uniform(0.3, 0.6)
            x, y = side * (0.5 + g.uniform(-0.2, 0.2, 2))
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
            return
        half = side * g.uniform(0.2, 0.55, 2)
        x, y = side * 0.5 + (np.maximum(side * 0.55 - half, 0)) * g.uniform(-1, 1, 2)
        turn = g.uniform(-0.6, 0.6) if g.random() < 0.3 else 0.0
        pen.polygon(_rectangle(x, y, (half[0], half[1]), turn), fill=255)

    return _page(shape, draw) < 128


def ink(shape: tuple[int, int], g: Generator) -> UInt8[NDArray, "H W"]:
    """Draw text, rulers, arrows and circles.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns.
    g : Generator
        Source of the draws.

    Returns
    -------
    UInt8[NDArray, "H W"]
        Coverage, 0 to 255.
    """

    def draw(pen: ImageDraw.ImageDraw, side: float) -> None:
        for _ in range(g.integers(1, 6)):
            x, y, size = g.uniform(0, 0.9) * side, g.uniform(0, 0.95) * side, g.uniform(0.03, 0.2) * side
            kind = g.random()
            if kind < 0.7:
                words = "".join(g.choice(_LETTERS, g.integers(1, 12)))
                pen.text((x, y), words, fill=255, font=_font(round(size)))
            elif kind < 0.8:
                for tick in range(int(g.integers(5, 20))):
                    pen.line((x, y + tick * size / 4, x + size / 4, y + tick * size / 4), fill=255, width=2)
            elif kind < 0.9:
                pen.ellipse((x, y, x + size, y + size), outline=255, width=2)
            else:
                pen.line(_curve(side, g), fill=255, width=2)

    return _page(shape, draw)


def _page(shape: tuple[int, int], draw: Callable[[ImageDraw.ImageDraw, float], None]) -> UInt8[NDArray, "H W"]:
    page = Image.new("L", (2 * shape[1], 2 * shape[0]))
    draw(ImageDraw.Draw(page), 2.0 * min(shape))
    return np.asarray(page.reduce(2))


def _level(attenuation: float) -> int:
    return max(1, min(255, round(attenuation / UNIT)))


def _metal(pen: ImageDraw.ImageDraw, side: float, g: Generator) -> None:
    """A rod, a ring or a part of one, or a plate."""
    x, y = side * g.uniform(0.05, 0.95, 2)
    fill, kind = _level(g.uniform(0.7, 7)), g.random()
    if kind < 0.55:
        length, turn = side * g.uniform(0.05, 0.7), g.uniform(0, math.pi)
        dx, dy = length * math.cos(turn), length * math.sin(turn)
        pen.line((x - dx, y - dy, x + dx, y + dy), fill=fill, width=max(1, round(side * math.exp(g.uniform(-5, -2.4)))))
    elif kind < 0.8:
        a, b = side * g.uniform(0.04, 0.35, 2)
        begin = g.uniform(0, 360)
        width = max(1, round(side * g.uniform(0.008, 0.06)))
        pen.arc((x - a, y - b, x + a, y + b), begin, begin + g.uniform(60, 360), fill=fill, width=width)
    else:
        width, height = side * g.uniform(0.01, 0.15, 2)
        pen.polygon(_rectangle(x, y, (width, height), g.uniform(0, math.pi)), fill=fill)


def _rectangle(x: float, y: float, halves: tuple[float, float], turn: float) -> list[tuple[float, float]]:
    c, s = math.cos(turn), math.sin(turn)
    corners = [(a * halves[0], b * halves[1]) for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    return [(x + c * a - s * b, y + s * a + c * b) for a, b in corners]


def _half_plane(side: float, g: Generator) -> list[tuple[float, float]]:
    """One side of a line through the image."""
    turn = g.choice((0, 1, 2, 3)) * math.pi / 2 + g.normal(0, 0.15)
    away = side * (2 - g.uniform(-0.4, 0.4))
    return _rectangle(side / 2 + away * math.cos(turn), side / 2 + away * math.sin(turn), (2 * side, 4 * side), turn)


def _curve(side: float, g: Generator) -> list[tuple[float, float]]:
    """Points on a quadratic Bezier curve."""
    a, b, c = side * g.uniform(-0.2, 1.2, (3, 2))
    t = np.linspace(0, 1, 16)[:, None]
    return [tuple(point) for point in ((1 - t) ** 2 * a + 2 * t * (1 - t) * b + t**2 * c).tolist()]


@lru_cache(maxsize=64)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=max(6, size))
