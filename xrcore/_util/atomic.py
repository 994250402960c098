"""Output that appears whole or not at all, and fingerprints of input."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from xrcore._util.errors import XrcoreError


def check_writable(folder: str | os.PathLike[str]) -> None:
    """Raise XrcoreError if `folder` neither is nor can become a folder to write to: better before the work than after it."""
    folder = Path(folder)
    base = _existing(folder)
    if not base.is_dir():
        raise XrcoreError(f"{folder}: {'this is a file, not a folder' if base == folder else f'{base} is a file'}; choose another --out")
    if not os.access(base, os.W_OK | os.X_OK):
        raise XrcoreError(f"{folder}: no permission to write in {base}")


@contextmanager
def staged(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary folder whose files move into `folder` when the block ends well; otherwise nothing is left of them.

    `folder` and its parents are made when they do not exist; files of other names stay in it.
    Raises XrcoreError naming the folder or file that cannot be written.
    """
    folder = Path(folder)
    check_writable(folder)
    # a place on the same file system, so that moving is renaming; `folder` itself may be a mount
    base = _existing(folder)
    try:
        temporary = Path(tempfile.mkdtemp(dir=base, prefix=f".{folder.name or 'xrcore'}-"))
        try:
            yield temporary
            _move(temporary, folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except XrcoreError as error:
        raise XrcoreError(str(error).replace(str(temporary), str(folder))) from None
    except OSError as error:
        raise XrcoreError(f"{folder}: cannot be written ({error.strerror or error})") from None


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary file beside `path` that takes its place when the block ends well, so that no reader sees half a file."""
    path = Path(path)
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    except (OSError, ValueError) as error:
        raise XrcoreError(f"{path}: cannot be written ({getattr(error, 'strerror', None) or error})") from None
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp makes files that only their owner can read
        temporary.replace(path)
    except OSError as error:
        raise XrcoreError(f"{path}: cannot be written ({error.strerror})") from None
    finally:
        temporary.unlink(missing_ok=True)


def _move(temporary: Path, folder: Path) -> None:
    files = sorted(temporary.iterdir())
    blocked = [file.name for file in files if (folder / file.name).is_dir()]
    if blocked:
        raise XrcoreError(f"{folder / blocked[0]}: a folder of this name is in the way")
    made = [p for p in (folder, *folder.parents) if not p.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file in files:
            os.replace(file, folder / file.name)
    except OSError:
        for path in made:
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()
        raise


def _existing(folder: Path) -> Path:
    """The folder itself, or the nearest of its parents that exists."""
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())


def fingerprint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """{"path", "sha256"} of a file; of a folder, subfolders included, also "files", and the sha256 of its sorted lines `SHA256  NAME`.

    The folder's is what `find * -type f | xargs sha256sum | LC_ALL=C sort -k 2 | sha256sum` prints in it.
    """
    path = Path(path)
    if not path.is_dir():
        return {"path": str(path), "sha256": _sha256(path)}
    files = sorted((p for p in path.rglob("*") if p.is_file()), key=lambda p: p.relative_to(path).as_posix())
    lines = "".join(f"{_sha256(file)}  {file.relative_to(path).as_posix()}\n" for file in files)
    return {"path": str(path), "files": len(files), "sha256": hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
