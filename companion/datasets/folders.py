"""Folders of data that somebody names."""

from __future__ import annotations

import os
from pathlib import Path

from xrcore import XrcoreError


def existing_folder(folder: str | os.PathLike[str], otherwise: str) -> Path:
    """Check that a folder is there.

    Parameters
    ----------
    folder : path
        Of data.
    otherwise : str
        What to say where it is not.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    XrcoreError
        If there is no such folder.
    """
    path = Path(folder)
    if not path.is_dir():
        raise XrcoreError(f"{path}: {otherwise}")
    return path
