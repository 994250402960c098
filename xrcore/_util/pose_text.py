"""A pose as people give it to a command: a view by name, six numbers, or the path of a JSON file."""

from __future__ import annotations

import os
import re
from pathlib import Path

from xrcore._util.errors import XrcoreError, shown

# rx, ry, rz [deg]; inlet and outlet are of the pelvis: the beam comes from the side of the head, or of the feet
VIEWS = {
    "ap": (0.0, 0.0, 0.0),
    "pa": (0.0, 180.0, 0.0),
    "lateral": (0.0, 90.0, 0.0),
    "left-lateral": (0.0, 90.0, 0.0),
    "right-lateral": (0.0, -90.0, 0.0),
    "lpo": (0.0, 45.0, 0.0),
    "rpo": (0.0, -45.0, 0.0),
    "lao": (0.0, 135.0, 0.0),
    "rao": (0.0, -135.0, 0.0),
    "inlet": (-40.0, 0.0, 0.0),
    "outlet": (40.0, 0.0, 0.0),
}


def named_view(text: str) -> tuple[float, ...] | None:
    """Look up a view by its name.

    Parameters
    ----------
    text : str
        Such as "lateral", in any case.

    Returns
    -------
    tuple of float, optional
        rx, ry, rz, tx, ty, tz [deg, mm]; None if it is no name, or a file or folder is called so.
    """
    angles = VIEWS.get(text.strip().lower())
    return None if angles is None or os.path.exists(text) else (*angles, 0.0, 0.0, 0.0)


def pose_file(text: str) -> Path | None:
    """Tell a path from numbers.

    Parameters
    ----------
    text : str
        A view's name, "rx,ry,rz,tx,ty,tz", or a path.

    Returns
    -------
    Path, optional
        None for a name or numbers, which are not looked at here.

    Raises
    ------
    XrcoreError
        If it is neither numbers nor the path of something that exists.
    """
    if re.fullmatch(r"[\s\d.,eE+-]*,[\s\d.,eE+-]*", text):
        return None
    if named_view(text) is not None:
        return None
    path = Path(text)
    if not os.path.exists(path):
        views, given = ", ".join(VIEWS), shown(text)
        raise XrcoreError(f"pose {given} is neither six numbers rx,ry,rz,tx,ty,tz nor a view ({views}) nor a file or folder that exists")
    return path
