"""The pictures of the pages beside this file: `python docs/draw.py` draws all, `python docs/draw.py frames` some, into pictures/.

Nothing is placed by hand that the package can compute: where a source is comes from `Pose`, what a view shows from `render`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import torch
from drawings.carms import cones
from drawings.drawn import drawn, registration, slicer_scene, thickness
from drawings.flips import flips
from drawings.frames import frames
from drawings.method import method
from drawings.pixels import pixels
from drawings.slot_scans import slot_scans
from drawings.verdicts import not_trusted, trusted
from drawings.views import numbers, views
from matplotlib.figure import Figure
from PIL import Image

from xrcore.figures import save_figure

FOLDER = Path(__file__).parent / "pictures"
PICTURES: dict[str, Callable[[], Figure]] = {
    "frames": frames,
    "numbers": numbers,
    "views": views,
    "pixels": pixels,
    "flips": flips,
    "trusted": trusted,
    "not_trusted": not_trusted,
    "cones": cones,
    "slot_scans": slot_scans,
    "drawn": drawn,
    "thickness": thickness,
    "slicer_scene": slicer_scene,
    "method": method,
}
COLOURED = ("drawn", "thickness", "method")  # thin coloured lines on grey, of which 256 colours keep too few
ANIMATIONS: dict[str, Callable[[Path], Path]] = {"registration": registration}  # as .gif


def draw(name: str, folder: Path = FOLDER) -> Path:
    """One picture as a PNG of at most 256 colours, a third of the size and to the eye the same; or an animation."""
    if name in ANIMATIONS:
        return ANIMATIONS[name](folder / f"{name}.gif")
    path = save_figure(PICTURES[name](), folder / f"{name}.png")
    if name in COLOURED:
        return path
    with Image.open(path) as image:
        small = image.convert("RGB").quantize(256, dither=Image.Dither.NONE)
    small.save(path, optimize=True)
    return path


def main(names: list[str]) -> None:
    known = [*PICTURES, *ANIMATIONS]
    for name in names or known:
        if name not in known:
            sys.exit(f"no picture {name!r}; choose from {', '.join(known)}")
        print(draw(name), flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)  # sums, and so pixels, come out the same on every machine
    FOLDER.mkdir(exist_ok=True)
    main(sys.argv[1:])
