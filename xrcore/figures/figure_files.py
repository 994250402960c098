"""Write a figure to a PNG or PDF file."""

from __future__ import annotations

import os
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from xrcore._util.atomic import atomic_file
from xrcore._util.errors import XrcoreError

FORMATS = (".png", ".pdf")


def save_figure(figure: Figure, path: str | os.PathLike[str], *, dpi: float | None = None) -> Path:
    """Write a PNG or PDF, atomically; the file depends on the figure alone, no date is written.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        The figure.
    path : path
        Where to write; ends in .png or .pdf.
    dpi : float, optional
        Pixels an inch; default the figure's own.

    Returns
    -------
    pathlib.Path
        The path.

    Raises
    ------
    XrcoreError
        For another suffix or a missing folder.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise XrcoreError(f"save_figure: {path.name} must end in {' or '.join(FORMATS)}")
    if not path.parent.is_dir():
        raise XrcoreError(f"save_figure: the folder {path.parent} does not exist; create it first")
    # neither dates nor versions, so that the same figure is the same file
    metadata = {"CreationDate": None, "Producer": None, "Creator": None} if suffix == ".pdf" else {"Software": None}
    FigureCanvasAgg(figure)
    with atomic_file(path) as temporary:
        figure.savefig(temporary, dpi="figure" if dpi is None else dpi, format=suffix[1:], metadata=metadata)
    return path
