"""Draw one registration: the X-ray, edges at the start and as found, and the difference that is left."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import Any

from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from numpy.typing import NDArray

from xrcore._util.errors import XrcoreError
from xrcore.figures.blends import Image, difference, display_image, overlay
from xrcore.figures.panels import edge_patches
from xrcore.figures.style import BAD, DARK, GOOD, MUTED
from xrcore.metrics import ncc
from xrcore.xray.image import Xray

_WIDTH = 1400  # [pixels] of the whole figure at its own resolution
_DPI = 100
_MARGIN, _GAP, _ABOVE, _BELOW = 8, 8, 34, 36  # [pixels]


def registration_figure(xray: Xray, initial_image: Image, final_image: Image, result: Any = None) -> Figure:
    """Draw four panels: X-ray | edges at the start | edges as found | difference as found; one line below says what was found.

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
    matplotlib.figure.Figure
        The figure.

    Raises
    ------
    XrcoreError
        If an image has another shape than the X-ray.
    """
    for name, image in (("initial_image", initial_image), ("final_image", final_image)):
        shape = tuple(image.shape[1:] if image.ndim == 3 and image.shape[0] == 1 else image.shape)
        if shape != xray.carm.shape:
            raise XrcoreError(f"registration_figure: {name} is {shape} but the X-ray is {xray.carm.shape}")
    initial_image, final_image = (image.reshape(xray.carm.shape) for image in (initial_image, final_image))
    fixed, mask = xray.image, xray.mask

    def likeness(image: Image) -> str:
        return f"NCC {float(ncc(fixed, image, mask)):.3f}"

    panels: list[tuple[str, str, NDArray]] = [
        ("X-ray", f"{fixed.shape[0]} × {fixed.shape[1]}", display_image(fixed, mask)),
        ("Start", likeness(initial_image), overlay(fixed, initial_image, mask)),
        ("Found", likeness(final_image), overlay(fixed, final_image, mask)),
        ("Difference", "X-ray − DRR, standardised", difference(fixed, final_image, mask)),
    ]
    figure, place = _canvas(len(panels), fixed.shape[0] / fixed.shape[1])
    for i, (title, remark, picture) in enumerate(panels):
        axes = place(i)
        axes.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="antialiased", aspect="auto")
        axes.set_axis_off()
        heading = axes.set_title(title, loc="left", fontsize=13, fontweight="bold", color=DARK, pad=6)
        _after(figure, heading, remark, fontsize=10.5, color=MUTED)
    base = _BELOW / 2 / (figure.get_figheight() * _DPI)
    figure.legend(
        handles=edge_patches(),
        loc="center right",
        bbox_to_anchor=(1 - _MARGIN / _WIDTH, base),
        ncols=3,
        frameon=False,
        fontsize=10.5,
        labelcolor=DARK,
        handlelength=1.0,
        handleheight=1.0,
        columnspacing=1.4,
        handletextpad=0.5,
        borderpad=0,
        borderaxespad=0,
    )
    _say(figure, base, result)
    return figure


def _canvas(count: int, aspect: float) -> tuple[Figure, Callable[[int], Any]]:
    """A figure of `_WIDTH` pixels and its panels, placed to the pixel: no wasted margins whatever the image's aspect."""
    side = (_WIDTH - 2 * _MARGIN - (count - 1) * _GAP) / count
    height = round(side * aspect) + _ABOVE + _BELOW
    figure = Figure(figsize=(_WIDTH / _DPI, height / _DPI), dpi=_DPI, facecolor="white")

    def place(i: int) -> Any:
        left = _MARGIN + i * (side + _GAP)
        return figure.add_axes((left / _WIDTH, _BELOW / height, side / _WIDTH, side * aspect / height))

    return figure, place


def _say(figure: Figure, base: float, result: Any) -> None:
    """The verdict and the pose, in one line at the lower left."""
    text = figure.text(_MARGIN / _WIDTH, base, "", fontsize=11.5, fontweight="bold", va="center")
    trusted = getattr(result, "trusted", None)
    if trusted is not None:
        text.set(text="trusted" if trusted else "not trusted", color=GOOD if trusted else BAD)
    parts = []
    pose = getattr(result, "pose", None)
    if pose is not None:
        rx, ry, rz, tx, ty, tz = pose.numbers.detach().reshape(-1, 6)[0].tolist()
        parts.append(f"rx {rx:.2f}°  ry {ry:.2f}°  rz {rz:.2f}°    tx {tx:.2f}  ty {ty:.2f}  tz {tz:.2f} mm".replace("-", "−"))
    if (seconds := getattr(result, "seconds", None)) is not None:
        parts.append(f"{float(seconds):.2f} s")
    if reason := getattr(result, "stop_reason", None):
        parts.append(textwrap.shorten(str(reason), 42, placeholder=" …"))
    line = "   ·   ".join(parts)
    if trusted is None:
        text.set(text=line, color=DARK, fontsize=11, fontweight="normal")
    else:
        _after(figure, text, line, fontsize=11, color=DARK)


def _after(figure: Figure, text: Text, more: str, *, fontsize: float, color: str) -> None:
    """Write on where a text ends, whose width is known only when it is drawn."""
    baseline = 0.2 * (float(text.get_fontsize()) - fontsize)  # larger letters reach further below theirs
    place: dict[str, Any] = {"xycoords": text, "xytext": (8, baseline), "textcoords": "offset points"}
    figure.add_artist(Annotation(more, (1, 0), **place, va="bottom", fontsize=fontsize, color=color))
