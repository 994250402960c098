"""Write a figure to a PNG, SVG or PDF file."""

from __future__ import annotations

import os
from pathlib import Path

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from xrcore._util.atomic import atomic_file
from xrcore._util.errors import XrcoreError
from xrcore._util.file_suffixes import FIGURE_SUFFIXES

# neither dates nor versions, so that the same figure is the same file
_METADATA = {
    ".png": {"Software": None},
    ".svg": {"Date": None, "Creator": None},
    ".pdf": {"CreationDate": None, "Producer": None, "Creator": None},
}


def save_figure(figure: Figure, path: str | os.PathLike[str], *, dpi: float | None = None) -> Path:
    """Write a PNG, SVG or PDF, atomically; the file depends on the figure alone, no date is written.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        The figure.
    path : path
        Where to write; ends in .png, .svg or .pdf.
    dpi : float, optional
        Pixels an inch; default the figure's own.

    Returns
    -------
    pathlib.Path
        The path.

    Raises
    ------
    XrcoreError
        For another suffix, or if the file cannot be written.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in FIGURE_SUFFIXES:
        raise XrcoreError(f"save_figure: {path.name} must end in {', '.join(FIGURE_SUFFIXES[:-1])} or {FIGURE_SUFFIXES[-1]}")
    FigureCanvasAgg(figure)
    with atomic_file(path) as temporary, rc_context({"svg.hashsalt": path.stem}):
        figure.savefig(temporary, dpi="figure" if dpi is None else dpi, format=suffix[1:], metadata=_METADATA[suffix])
    return path
