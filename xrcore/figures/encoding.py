"""Encode pictures for a browser: PNG bytes, and a picture with a caption as HTML."""

from __future__ import annotations

import base64
import io
from html import escape
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import Image

from xrcore._util.errors import XrcoreError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Picture = Float[NDArray, "H W"] | Float[NDArray, "H W 3"]


def array_image(picture: Picture) -> Image.Image:
    """Turn an array into an image of 8 bits a channel.

    Parameters
    ----------
    picture : Float[NDArray, "H W"] or Float[NDArray, "H W 3"]
        Grey values or colours in [0, 1]; values beyond are clipped.

    Returns
    -------
    PIL.Image.Image
        Rounded to the nearest of 256 values.
    """
    return Image.fromarray((np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8))


def array_png(picture: Picture) -> bytes:
    """Encode an array as a PNG; quickly rather than small, since it travels to the next window.

    Parameters
    ----------
    picture : Float[NDArray, "H W"] or Float[NDArray, "H W 3"]
        Grey values or colours in [0, 1]; values beyond are clipped.

    Returns
    -------
    bytes
        The PNG, 8 bits a channel.
    """
    out = io.BytesIO()
    array_image(picture).save(out, "PNG", compress_level=1)
    return out.getvalue()


def figure_png(figure: Figure) -> bytes:
    """Encode a figure that was made without pyplot, at 100 pixels an inch.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        The figure; pyplot would keep it, and lose it between callbacks.

    Returns
    -------
    bytes
        The PNG.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # here, as matplotlib's import takes longer than most pictures

    out = io.BytesIO()
    FigureCanvasAgg(figure).print_figure(out, format="png", dpi=100)
    return out.getvalue()


def picture_html(picture: Picture, caption: str = "", *, width: int = 320) -> str:
    """Show a picture above a caption, as `_repr_html_` of a notebook returns it.

    Parameters
    ----------
    picture : Float[NDArray, "H W"] or Float[NDArray, "H W 3"]
        Grey values or colours in [0, 1].
    caption : str
        Plain text of one or more lines, for instance the object's `repr`; it is escaped.
    width : int
        Width on the page [CSS pixels]; the height follows.

    Returns
    -------
    str
        HTML that holds the picture itself, so it needs no file.

    Raises
    ------
    XrcoreError
        If `picture` is neither (H, W) nor (H, W, 3).
    """
    picture = np.asarray(picture)
    if not (picture.ndim == 2 or (picture.ndim == 3 and picture.shape[2] == 3)) or picture.size == 0:
        raise XrcoreError(f"picture_html: picture must be (H, W) or (H, W, 3), got {picture.shape}")
    data = base64.b64encode(array_png(picture)).decode("ascii")
    image = f'<img src="data:image/png;base64,{data}" width="{width}" style="image-rendering:auto">'
    text = f'<figcaption><pre style="margin:4px 0 0">{escape(caption)}</pre></figcaption>' if caption else ""
    return f'<figure style="margin:0">{image}{text}</figure>'
