"""Open files that somebody names: regular files alone, never waited for."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from xrcore._util.errors import XrcoreError, require


def checked_path(owner: str, path: str | os.PathLike[str]) -> Path:
    """The path, if it is one."""
    require(owner, "path", path, isinstance(path, (str, os.PathLike)), "a path")
    return Path(path)


def checked_paths(owner: str, name: str, given: object) -> list[str | os.PathLike[str]]:
    """The path, or paths, of a parameter as a list."""
    several = [given] if isinstance(given, (str, os.PathLike)) else list(given) if isinstance(given, Sequence) else []
    require(owner, name, given, bool(several) and all(isinstance(one, (str, os.PathLike)) for one in several), "a path, or a list of paths")
    return several


def open_file(path: str | os.PathLike[str]) -> io.BufferedReader:
    """Open a regular file for reading.

    Parameters
    ----------
    path : str or path
        The file.

    Returns
    -------
    file
        At its beginning.

    Raises
    ------
    XrcoreError
        If it is missing, cannot be opened, or is no regular file: a folder, pipe or device.
    """
    try:
        file = open(path, "rb", opener=_open_at_once)  # noqa: SIM115
    except FileNotFoundError:
        raise XrcoreError(f"{path}: no such file or folder") from None
    except IsADirectoryError:
        raise XrcoreError(f"{path}: not a file") from None
    except (OSError, ValueError) as error:
        raise XrcoreError(f"{path}: cannot be opened ({getattr(error, 'strerror', None) or error})") from None
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise XrcoreError(f"{path}: not a file")
    return file


def file_size(file: BinaryIO) -> int:
    """Bytes of an open file."""
    return os.fstat(file.fileno()).st_size


def check_file(path: str | os.PathLike[str]) -> None:
    """Raise XrcoreError unless `path` is a readable file with something in it."""
    with open_file(path) as file:
        if file_size(file) == 0:
            raise XrcoreError(f"{path}: the file is empty")


def _open_at_once(path: str, flags: int) -> int:
    """Open also a pipe that nobody writes to."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
