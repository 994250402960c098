"""X-rays and what was found in them: Fig. 1 and Fig. 2 of the paper, in its red and blue edges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from xrcore.figures.attention import attention_overlay, spread_over
from xrcore.figures.blends import FIXED, MOVING, Image, Mask, display_image, edges
from xrcore.figures.marks import INK, OURS, PALE, PAPER, QUIET, SECOND, THIRD, canvas, paper_key, quiet

_MEASURES = {"ncc": "NCC", "ssim": "SSIM", "css": "CSS"}
_COLOURS = (PALE, SECOND, THIRD, OURS)


def error_map(fixed: Image, moving: Image, mask: Mask | None = None) -> Float[NDArray, "H W 3"]:
    """The X-ray's edges in red, the DRR's in blue, on black; where both agree the two lights add up to purple.

    Edges as in `edges`: gradient magnitude over its 99th percentile, through tanh. Source: Zhang et al., MICCAI 2023, Fig. 2.
    """
    red, blue = (edges(image, mask)[..., None] for image in (fixed, moving))
    return 1 - (1 - red * FIXED) * (1 - blue * MOVING)


def refinement_figure(images: Mapping[str, Any], case: int, cases: pd.DataFrame, paper: pd.DataFrame, names: Mapping[str, str]) -> Figure:
    """Fig. 1: one case's error maps at the start and after each refinement; below, NCC, SSIM and CSS of every case and their means.

    images: of the study `cases`. case: of the maps. names: method, as `images` and `cases` call it, to title. paper: index title's method,
    columns ncc, ssim, css, for those that the paper has.
    """
    figure = canvas(6.6)
    parts: Any = figure.subfigures(2, 1, height_ratios=(1.35, 1))
    above, below = parts
    kept = [str(name) for name in images["methods"]]
    for axes, (method, title) in zip(above.subplots(1, len(names)), names.items(), strict=True):
        picture(axes, error_map(images["fixed"][case], images["moving"][case][kept.index(method)], images["mask"][case]), title)
        row = cases[(cases["method"] == method) & (cases["case"] == case)].iloc[0]
        _remark(axes, f"mTRE {row['mtre_mm']:.2f} mm" if np.isfinite(row["mtre_mm"]) else "no answer")
    key(above, "simulated X-ray")
    for axes, (measure, label) in zip(below.subplots(1, len(_MEASURES)), _MEASURES.items(), strict=True):
        for place, (method, colour) in enumerate(zip(names, _COLOURS, strict=True)):
            values = cases.loc[cases["method"] == method, measure].dropna().to_numpy(float)
            axes.scatter(np.full(len(values), place) + np.linspace(-0.15, 0.15, len(values)), values, s=14, color=colour, alpha=0.6)
            axes.plot([place - 0.28, place + 0.28], [values.mean()] * 2, color=colour, linewidth=3, solid_capstyle="butt")
            if method in paper.index and not np.isnan(paper.loc[method, measure]):
                axes.plot(place + 0.38, paper.loc[method, measure], markersize=6, **PAPER)
        quiet(axes, title=label, grid="y")
        axes.set_xticks(range(len(names)), [title.replace(" ", "\n", 1) for title in names.values()], fontsize=9)
        axes.set_xlim(-0.5, len(names) - 0.3)
    below.legend(handles=[paper_key("the paper, real X-rays of a phantom")], frameon=False, loc="outside lower right", fontsize=9)
    return figure


def attention_figure(images: Mapping[str, Any], rows: Sequence[tuple[int, str]], *, initial: str, final: str) -> Figure:
    """Fig. 2: a row a case: simulated X-ray, attention over it, error map at the network's pose, error map at the refined one.

    images: of the study `cases`. rows: (case, remark). initial, final: the methods' names in `images`.
    """
    figure = canvas(0.6 + 2.55 * len(rows))
    kept = [str(name) for name in images["methods"]]
    grid = figure.subplots(len(rows), 4, squeeze=False)
    titles = ("X-ray (simulated)", "attention", "initial: the network", "final: refined")
    for place, (line, (case, remark)) in enumerate(zip(grid, rows, strict=True)):
        fixed, moving, mask = (images[name][case] for name in ("fixed", "moving", "mask"))
        grey = display_image(fixed, mask)
        looked = attention_overlay(grey, spread_over(images["attention"][case], mask), mask)
        pictures = [grey, looked, *(error_map(fixed, moving[kept.index(name)], mask) for name in (initial, final))]
        for axes, shown, title in zip(line, pictures, titles, strict=True):
            picture(axes, shown, "" if place else title)
        line[0].set_ylabel(remark, fontsize=10, color=INK)
    key(figure, "simulated X-ray")
    return figure


def case_figure(panels: Sequence[tuple[str, str, NDArray | None]], fixed: str = "X-ray") -> Figure:
    """One case, a panel a picture, as the first row of Fig. 2: (title, remark, picture or None for an empty place)."""
    figure = canvas(3.2)
    for axes, (title, remark, shown) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        picture(axes, np.ones((8, 8)) if shown is None else shown, title)
        _remark(axes, remark)
    key(figure, fixed)
    return figure


def picture(axes: Axes, image: NDArray, title: str) -> None:
    """An image without an axis, its title at the left."""
    axes.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="antialiased")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold", color=INK)


def _remark(axes: Axes, text: str) -> None:
    axes.set_xlabel(text, fontsize=10, color=QUIET)


def key(figure: Any, fixed: str) -> None:
    """What the colours of the edges say; fixed: what the red ones belong to."""
    colours = {f"{fixed} only": FIXED, "DRR only": MOVING, "both agree": 1 - (1 - FIXED) * (1 - MOVING)}
    handles = [Patch(color=to_hex(tuple(colour)), label=name) for name, colour in colours.items()]
    figure.legend(handles=handles, frameon=False, ncols=3, loc="outside lower center", fontsize=10)
