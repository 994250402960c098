"""Plot similarities about a pose: profiles along the six numbers with their capture ranges, and the map over two of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from xrcore.figures.colours import BLUE, DARK, GREEN, MUTED, ORANGE, PALE, PURPLE
from xrcore.figures.style import WIDTH, new_figure, style_axes
from xrcore.geometry.pose import NAMES
from xrcore.registration.convergence_basin import ConvergenceBasin
from xrcore.registration.similarities import SIMILARITIES
from xrcore.registration.similarity_profiles import TOLERANCE, Plane, Profiles

# of Okabe and Ito's palette; dashes tell them apart once more
_LOOKS: dict[str, tuple[str, Any]] = {
    "zncc": (BLUE, "-"),
    "gradient-zncc": (ORANGE, "-"),
    "local-zncc": (GREEN, "-"),
    "robust-local-zncc": ("#56B4E9", (0, (6, 1.5, 1, 1.5))),
    "correlation-ratio": (DARK, (0, (6, 1.5, 1, 1.5, 1, 1.5))),
    "mutual-information": (PURPLE, (0, (5, 1.5))),
    "wlmi": ("#E69F00", (0, (2, 1.2))),
}
_SHADE = 0.13  # opacity of a capture range
_SHADE_FROM = 0.13  # share of a panel's height, above the strip
_MEANING = {"rx": "head / feet", "ry": "left / right", "rz": "roll", "tx": "left", "ty": "feet", "tz": "depth"}
_MAP = "cividis"
_CAPTION = (
    "Each similarity from its own lowest to its own highest value over all six lines; along them, the offset from the centre pose [°, mm]."
)
_BAR = (-0.17, -0.07)  # the strip of descents, below the lowest value


def colour(name: str) -> str:
    """Colour of a similarity, the same in every figure."""
    return _look(name, False)["color"]


def unit(name: str) -> str:
    """Unit of one of the six numbers."""
    return "°" if name.startswith("r") else " mm"


def profiles_figure(profiles: Profiles, selected: str, *, returns: ConvergenceBasin | None = None, tolerance: float = TOLERANCE) -> Figure:
    """Plot six panels, a number each: every similarity along it, the selected one bold with its capture range shaded.

    Each similarity is scaled by its own lowest and highest value over all six lines.

    Parameters
    ----------
    profiles : Profiles
        The similarities.
    selected : str
        Name of the one that is shown bold.
    returns : ConvergenceBasin, optional
        Shown as a strip below the profiles, filled where descents came back.
    tolerance : float
        A rise below this share of a line's span of values does not end the capture range.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.
    """
    figure = new_figure(5.9)
    # placed by hand: solving for a layout of six panels takes longer than everything else
    figure.set_layout_engine("none")
    panels: Any = figure.add_gridspec(2, 3, left=0.05, right=0.985, top=0.945, bottom=0.205, wspace=0.07, hspace=0.36).subplots(sharey=True)
    capture, cut_off = profiles.capture(selected, tolerance=tolerance), profiles.cut_off(selected, tolerance=tolerance)
    start, optimum = profiles.optimum_sample(selected), profiles.optimum(selected)
    # the selected one last, on top
    order = [name for name in profiles.values if name != selected] + [selected]
    scaled = {name: _scaled(profiles.values[name]) for name in order}
    for axis, axes in enumerate(panels.flat):
        name = NAMES[axis]
        style_axes(axes, title=f"{name}  {_MEANING[name]}", grid="both")
        left, right = start[axis] - capture[axis, 0], start[axis] + capture[axis, 1]
        axes.axvspan(left, right, ymin=_SHADE_FROM, color=colour(selected), alpha=_SHADE, linewidth=0)
        axes.axvline(0, color=MUTED, linewidth=1, linestyle=(0, (4, 3)), zorder=1.5)
        for similarity in order:
            bold = similarity == selected
            axes.plot(profiles.offsets[axis], scaled[similarity][axis], alpha=1.0 if bold else 0.75, **_look(similarity, bold))
        axes.plot(optimum[axis], 1.05, marker="v", color=colour(selected), markersize=6, clip_on=False)
        if returns is not None:
            _strip(axes, returns, axis)
        below, above = (f"{'≥ ' if cut else ''}{length:.0f}" for length, cut in zip(capture[axis], cut_off[axis], strict=True))
        axes.set_title(f"falls for {below} | {above}{unit(name)}", loc="right", fontsize=9.5, color=MUTED)
        reach = profiles.offsets[axis, -1]
        axes.set_xlim(-reach, reach)
        axes.set_ylim(-0.2, 1.1)
        axes.set_yticks([0, 0.5, 1], ["lowest", "", "highest"], rotation=90, va="center", fontsize=9)
        axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 3, 5, 10], prune="both"))
        axes.xaxis.set_major_formatter(_signed)
    _explain(figure, order, selected, returns)
    return figure


def plane_figure(plane: Plane, selected: str, *, width: float = WIDTH / 2) -> Figure:
    """Map the selected similarity over two numbers, brighter is higher: contours, a cross at the centre, a triangle at the optimum.

    Parameters
    ----------
    plane : Plane
        The similarities.
    selected : str
        Name of the one that is shown.
    width : float
        Width of the figure [inches].

    Returns
    -------
    matplotlib.figure.Figure
        The figure.
    """
    figure = new_figure(0.86 * width, width=width)
    axes = figure.subplots()
    rows, cols = plane.axes
    values = plane.values[selected]
    reach = [side[-1] for side in plane.offsets]
    step = [side[1] - side[0] for side in plane.offsets]
    extent = (-reach[1] - step[1] / 2, reach[1] + step[1] / 2, -reach[0] - step[0] / 2, reach[0] + step[0] / 2)
    shown = axes.imshow(values, cmap=_MAP, origin="lower", extent=extent, aspect="auto", interpolation="bilinear")
    if values.max() > values.min():
        axes.contour(plane.offsets[1], plane.offsets[0], values, levels=9, colors="white", linestyles="solid", linewidths=0.8, alpha=0.7)
    axes.plot(0, 0, marker="+", color="white", markersize=13, markeredgewidth=2)
    high, wide = plane.optimum(selected)
    axes.plot(wide, high, marker="v", color=ORANGE, markersize=9, markeredgecolor="white", markeredgewidth=1.2)
    style_axes(axes, title=selected, grid="x").grid(visible=False)
    axes.set_title("+ centre   ▾ highest", loc="right", fontsize=9.5, color=MUTED)
    axes.set_xlim(-reach[1], reach[1])
    axes.set_ylim(-reach[0], reach[0])
    for which, name in ((axes.xaxis, cols), (axes.yaxis, rows)):
        which.set_major_locator(MaxNLocator(6, steps=[1, 2, 3, 5, 10]))
        which.set_major_formatter(_signed)
        which.set_label_text(f"{name}  {_MEANING[name]} [{unit(name).strip()}]")
    bar = figure.colorbar(shown, ax=axes, shrink=0.9, pad=0.02)
    bar.outline.set_visible(False)  # type: ignore[operator]
    bar.ax.tick_params(length=0, labelsize=9, colors=DARK)
    return figure


def _look(name: str, bold: bool) -> dict[str, Any]:
    line, dashes = _LOOKS.get(name, (DARK, ":"))
    return {"color": line, "linestyle": dashes, "linewidth": 2.6 if bold else 1.3}


def _signed(value: float, _: Any = None) -> str:
    return f"{value:+g}".replace("-", "−") if value else "0"


def _scaled(values: np.ndarray) -> np.ndarray:
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else np.zeros_like(values)


def _strip(axes: Axes, returns: ConvergenceBasin, axis: int) -> None:
    """A cell a start, as wide as their distance."""
    offsets, back = returns.offsets[axis], returns.reached[axis]
    step = offsets[1] - offsets[0]
    bottom, top = _BAR
    ours = colour(returns.similarity)
    fill, edge = ([ours if b else other for b in back] for other in ("white", PALE))
    axes.bar(offsets, top - bottom, 0.86 * step, bottom, color=fill, edgecolor=edge, linewidth=0.7)


def _explain(figure: Figure, order: list[str], selected: str, returns: ConvergenceBasin | None) -> None:
    names = [name for name in SIMILARITIES if name in order] + [name for name in order if name not in SIMILARITIES]
    handles = [Line2D([], [], label=name, **_look(name, name == selected)) for name in names]
    figure.legend(handles=handles, frameon=False, ncols=4, loc="lower center", bbox_to_anchor=(0.5, 0.07), fontsize=10)
    marks: list[Any] = [
        Patch(facecolor=colour(selected), alpha=2 * _SHADE, label="falls without a rise"),
        Line2D([], [], color=colour(selected), marker="v", linestyle="none", label="highest"),
    ]
    if returns is not None:
        ours = colour(returns.similarity)
        marks += [
            Patch(facecolor=ours, edgecolor=ours, label="descents come back"),
            Patch(facecolor="white", edgecolor=PALE, label="end elsewhere"),
        ]
    figure.legend(
        handles=marks, frameon=False, ncols=len(marks), columnspacing=2.5, loc="lower center", bbox_to_anchor=(0.5, 0.03), fontsize=10
    )
    figure.text(0.5, 0.012, _CAPTION, ha="center", fontsize=9, color=MUTED)
