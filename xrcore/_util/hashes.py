"""SHA-256 of files and folders."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xrcore._util.input_files import open_file


def file_sha256(path: str | os.PathLike[str]) -> str:
    """Compute the SHA-256 of a file.

    Parameters
    ----------
    path : str or path
        The file.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(path: str | os.PathLike[str], files: Sequence[Path] = ()) -> dict[str, Any]:
    """Compute the SHA-256 of a file, or of all files of a folder, or of several files that belong together.

    Parameters
    ----------
    path : str or path
        The file or folder; subfolders are included, hidden files and folders are not, as when a CT is read.
    files : Sequence of path
        What else is read with the file, such as the data file that it names; with or without the file itself.

    Returns
    -------
    dict
        Of a file its "path" and "sha256"; of several also the number of "files", and the hash is that of sorted lines `SHA256  NAME`, names
        relative to the folder: what `find * -not -path '*/.*' -type f | xargs sha256sum | LC_ALL=C sort -k 2 | sha256sum` prints in it.
    """
    path = Path(path)
    if path.is_dir():
        seen = (p for p in path.rglob("*") if not any(part.startswith(".") for part in p.relative_to(path).parts))
        folder, several = path, {p for p in seen if p.is_file()}
    else:
        folder, several = path.parent, {path, *files}
    if several == {path}:
        return {"path": str(path), "sha256": file_sha256(path)}
    names = sorted((Path(os.path.relpath(file, folder)).as_posix(), file) for file in several)
    lines = "".join(f"{file_sha256(file)}  {name}\n" for name, file in names)
    return {"path": str(path), "files": len(several), "sha256": hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()}
