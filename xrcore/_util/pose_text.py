"""A pose as people give it to a command: six numbers, or the path of a JSON file."""

from __future__ import annotations

import os
import re
from pathlib import Path

from xrcore._util.errors import XrcoreError, shown


def pose_file(text: str) -> Path | None:
    """Tell a path from numbers.

    Parameters
    ----------
    text : str
        "rx,ry,rz,tx,ty,tz", or a path.

    Returns
    -------
    Path, optional
        None for numbers, which are not looked at here.

    Raises
    ------
    XrcoreError
        If it is neither numbers nor the path of something that exists.
    """
    if re.fullmatch(r"[\s\d.,eE+-]*,[\s\d.,eE+-]*", text):
        return None
    path = Path(text)
    if not os.path.exists(path):
        raise XrcoreError(f"pose {shown(text)} is neither six numbers rx,ry,rz,tx,ty,tz nor an existing JSON file or model folder")
    return path
