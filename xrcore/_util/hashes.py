"""SHA-256 of files and folders."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any


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
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Compute the SHA-256 of a file, or of all files of a folder.

    Parameters
    ----------
    path : str or path
        The file or folder; subfolders are included.

    Returns
    -------
    dict
        Of a file its "path" and "sha256"; of a folder also the number of "files", and the hash is that of its sorted lines `SHA256  NAME`:
        what `find * -type f | xargs sha256sum | LC_ALL=C sort -k 2 | sha256sum` prints in it.
    """
    path = Path(path)
    if not path.is_dir():
        return {"path": str(path), "sha256": file_sha256(path)}
    files = sorted((p for p in path.rglob("*") if p.is_file()), key=lambda p: p.relative_to(path).as_posix())
    lines = "".join(f"{file_sha256(file)}  {file.relative_to(path).as_posix()}\n" for file in files)
    return {"path": str(path), "files": len(files), "sha256": hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()}
