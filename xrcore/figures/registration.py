"""Draw one registration: the X-ray, edges at the start and as found, and the difference that is left."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text

from xrcore.figures.blends import Image
from xrcore.figures.colours import BAD, DARK, GOOD, MUTED
from xrcore.figures.panels import edge_patches
from xrcore.figures.registration_contents import ABOVE, BELOW, DPI, GAP, MARGIN, WIDTH, found_words, registration_panels
from xrcore.xray.image import Xray


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
    panels = registration_panels(xray, initial_image, final_image)
    rows, cols = xray.carm.shape
    figure, place = _canvas(len(panels), rows / cols)
    for i, (title, remark, picture) in enumerate(panels):
        axes = place(i)
        axes.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="antialiased", aspect="auto")
        axes.set_axis_off()
        heading = axes.set_title(title, loc="left", fontsize=13, fontweight="bold", color=DARK, pad=6)
        _after(figure, heading, remark, fontsize=10.5, color=MUTED)
    base = BELOW / 2 / (figure.get_figheight() * DPI)
    figure.legend(
        handles=edge_patches(),
        loc="center right",
        bbox_to_anchor=(1 - MARGIN / WIDTH, base),
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
    """A figure of `WIDTH` pixels and its panels, placed to the pixel: no wasted margins whatever the image's aspect."""
    side = (WIDTH - 2 * MARGIN - (count - 1) * GAP) / count
    height = round(side * aspect) + ABOVE + BELOW
    figure = Figure(figsize=(WIDTH / DPI, height / DPI), dpi=DPI, facecolor="white")

    def place(i: int) -> Any:
        left = MARGIN + i * (side + GAP)
        return figure.add_axes((left / WIDTH, BELOW / height, side / WIDTH, side * aspect / height))

    return figure, place


def _say(figure: Figure, base: float, result: Any) -> None:
    """The verdict and the pose, in one line at the lower left."""
    verdict, good, line = found_words(result)
    text = figure.text(MARGIN / WIDTH, base, verdict, fontsize=11.5, fontweight="bold", va="center", color=GOOD if good else BAD)
    if verdict:
        _after(figure, text, line, fontsize=11, color=DARK)
    else:
        text.set(text=line, color=DARK, fontsize=11, fontweight="normal")


def _after(figure: Figure, text: Text, more: str, *, fontsize: float, color: str) -> None:
    """Write on where a text ends, whose width is known only when it is drawn."""
    baseline = 0.2 * (float(text.get_fontsize()) - fontsize)  # larger letters reach further below theirs
    place: dict[str, Any] = {"xycoords": text, "xytext": (8, baseline), "textcoords": "offset points"}
    figure.add_artist(Annotation(more, (1, 0), **place, va="bottom", fontsize=fontsize, color=color))
