"""Write files and folders atomically."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from xrcore._util.errors import XrcoreError


def check_writable(folder: str | os.PathLike[str]) -> None:
    """Check before long work that its results can be written.

    Parameters
    ----------
    folder : str or path
        Where the results are to go.

    Raises
    ------
    XrcoreError
        If `folder` neither is nor can become a folder to write to.
    """
    folder = Path(folder)
    base = _existing(folder)
    if not base.is_dir():
        raise XrcoreError(f"{folder}: {'this is a file, not a folder' if base == folder else f'{base} is a file'}; choose another --out")
    if not os.access(base, os.W_OK | os.X_OK):
        raise XrcoreError(f"{folder}: no permission to write in {base}")


@contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write a file atomically: it appears complete or not at all, even if the program is killed.

    Parameters
    ----------
    path : str or path
        The file to write; its folder must exist.

    Yields
    ------
    path
        An empty file beside it, of the same suffix, for the block to write. When the block ends without an error it is flushed to the
        disk and takes the place of `path`; otherwise it is removed. A killed program leaves it behind, as `.STEM-*.part*`.

    Raises
    ------
    XrcoreError
        If the disk refuses.
    """
    path = Path(path)
    try:
        temporary = path.with_name(f".{path.stem}-{secrets.token_hex(4)}.part{path.suffix}")
        temporary.open("xb").close()
    except (OSError, ValueError) as error:
        raise XrcoreError(f"{path}: cannot be written ({getattr(error, 'strerror', None) or error})") from None
    try:
        yield temporary
        _flush_to_disk(temporary)
        os.replace(temporary, path)
        _flush_names(path.parent)
    except OSError as error:
        raise XrcoreError(f"{path}: cannot be written ({error.strerror or error})") from None
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """Write several files of a folder, all of them or none.

    Parameters
    ----------
    folder : str or path
        Where the files are to go. It is made when it does not exist, with its parents; files of other names stay in it.

    Yields
    ------
    path
        An empty folder on the same disk, for the block to write to. When the block ends without an error its files move into `folder`;
        otherwise nothing is left of them.

    Raises
    ------
    XrcoreError
        Naming the folder or file that cannot be written.
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


def _flush_to_disk(file: Path) -> None:
    with file.open("rb+") as opened:
        os.fsync(opened.fileno())


def _flush_names(folder: Path) -> None:
    """Put the names of a folder's files on the disk, where the system can."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _move(temporary: Path, folder: Path) -> None:
    files = sorted(temporary.iterdir())
    blocked = [file.name for file in files if (folder / file.name).is_dir()]
    if blocked:
        raise XrcoreError(f"{folder / blocked[0]}: a folder of this name is in the way")
    made = [p for p in (folder, *folder.parents) if not p.exists()]
    for file in files:
        _flush_to_disk(file)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file in files:
            os.replace(file, folder / file.name)
        _flush_names(folder)
    except OSError:
        for path in made:
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()
        raise


def _existing(folder: Path) -> Path:
    """The folder itself, or the nearest of its parents that exists."""
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())
