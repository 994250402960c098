"""Figures that carry hashes of what they were made from, so that a stale one is noticed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from xrcore import XrcoreError
from xrcore.utilities import atomic_file

_KEY = "Source"  # of the PNG's texts


def record_sources(figure: Path, sources: Iterable[Path], root: Path) -> None:
    """Write the hashes of what a figure was made from into its PNG; the pixels stay as they are.

    Parameters
    ----------
    figure : Path
        A PNG.
    sources : iterable of Path
        Scripts, notebooks and tables below `root`.
    root : Path
        The repository.
    """
    hashes = {path.relative_to(root).as_posix(): _hash(path) for path in sources}
    texts = PngInfo()
    texts.add_text(_KEY, json.dumps(hashes))
    with Image.open(figure) as image, atomic_file(figure) as temporary:
        image.save(temporary, "PNG", pnginfo=texts, dpi=image.info.get("dpi"), optimize=True)


def changed_sources(figure: Path, root: Path) -> list[str]:
    """Name what has changed since a figure was made from it.

    Parameters
    ----------
    figure : Path
        A PNG.
    root : Path
        The repository.

    Returns
    -------
    list of str
        Paths below `root`, empty if the figure is fresh.

    Raises
    ------
    XrcoreError
        If the figure does not say what it was made from.
    """
    with Image.open(figure) as image:
        text = image.info.get(_KEY)
    if text is None:
        raise XrcoreError(f"{figure}: does not say what it was made from; make it again by the workflow")
    return [name for name, known in json.loads(text).items() if not (root / name).exists() or _hash(root / name) != known]


def _hash(path: Path) -> str:
    """Of a notebook only its code counts: prose, outputs and the order of what is told do not change a figure."""
    content = path.read_bytes()
    if path.suffix == ".ipynb":
        code = sorted("".join(cell["source"]) for cell in json.loads(content)["cells"] if cell["cell_type"] == "code")
        content = "\0".join(code).encode()
    return hashlib.sha256(content).hexdigest()
