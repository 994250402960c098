"""Arrays and figures -> bytes that a browser shows."""

from __future__ import annotations

import io

import numpy as np
from jaxtyping import Float
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

Picture = Float[NDArray, "H W"] | Float[NDArray, "H W 3"]


def png(picture: Picture) -> bytes:
    """Grey (H, W) or colour (H, W, 3) values in [0, 1] as a PNG: packed quickly rather than small, since it travels to the next window."""
    out = io.BytesIO()
    Image.fromarray((np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)).save(out, "PNG", compress_level=1)
    return out.getvalue()


def figure_png(figure: Figure, dpi: float = 100) -> bytes:
    """A figure made without pyplot, which would keep it, and lose it between callbacks."""
    out = io.BytesIO()
    FigureCanvasAgg(figure).print_figure(out, format="png", dpi=dpi)
    return out.getvalue()
