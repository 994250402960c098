"""Write files and folders atomically."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from xrcore._util.errors import XrcoreError

_LONGEST_NAME = 255  # bytes


def check_writable(folder: str | os.PathLike[str], *names: str) -> None:
    """Check before long work that its results can be written.

    Parameters
    ----------
    folder : str or path
        Where the results are to go.
    *names : str
        Of the files that are to come into it.

    Raises
    ------
    XrcoreError
        If `folder` neither is nor can become a folder to write to, or something else is in the place of a file.
    """
    folder = Path(folder)
    try:
        base = next(path for path in (folder, *folder.absolute().parents) if _is_there(path))
        if not base.is_dir():
            what = "a link that leads nowhere" if not base.exists() else "a file"
            why = f"this is {what}, not a folder" if base == folder else f"{base} is {what}"
            raise XrcoreError(f"{folder}: {why}; choose another --out")
        if not os.access(base, os.W_OK | os.X_OK):
            raise XrcoreError(f"{folder}: no permission to write in {base}")
        for part in (*folder.parts, *names):
            if len(os.fsencode(part)) > _LONGEST_NAME:
                raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        for name in names:
            if _is_there(folder / name) and (folder / name).is_dir():
                raise XrcoreError(f"{folder / name}: a folder of this name is in the way")
    except XrcoreError:
        raise
    except (OSError, ValueError) as error:
        raise XrcoreError(f"{folder}: cannot be written ({getattr(error, 'strerror', None) or error})") from None


@contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write a file atomically: it appears complete or not at all, even if the program is killed.

    Parameters
    ----------
    path : str or path
        The file to write. Folders above it that are missing are made; where the block fails, none of them stays.

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
    missing: list[Path] = []
    try:
        temporary = path.with_name(_hidden_name(path.stem, path.suffix))
        missing = missing_folders(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.open("xb").close()
    except (OSError, ValueError) as error:
        remove_empty(missing)
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
        remove_empty(missing)


@contextmanager
def atomic_folder(folder: str | os.PathLike[str], *, record: str | None = None, own: str | None = None) -> Iterator[Path]:
    """Write several files of a folder, all of them or none, even if the program is killed.

    A folder that is new appears with all its files. In one that exists files take their places one after the other, and `record` tells
    whether all have.

    Parameters
    ----------
    folder : str or path
        Where the files are to go. It is made when it does not exist, with its parents; files of other names stay in it.
    record : str, optional
        Name of the file that stands for all of them: in a folder that exists the old one is removed first, and the new one comes last.
    own : str, optional
        Pattern of names of files that belong to `record`; those in a folder that exists which are not written anew are removed with it.

    Yields
    ------
    path
        An empty folder on the same disk, for the block to write to. When the block ends without an error its files move into `folder`;
        otherwise nothing is left of them. A killed program leaves it behind, as `.NAME-*.part`.

    Raises
    ------
    XrcoreError
        Naming the folder or file that cannot be written.
    """
    folder = Path(folder)
    check_writable(folder)
    # a place on the same file system, so that moving is renaming; `folder` itself may be a mount
    base = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    try:
        temporary = base / _hidden_name(folder.name or "xrcore")
        temporary.mkdir()
        try:
            yield temporary
            _move(temporary, folder, record, own)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except XrcoreError as error:
        raise XrcoreError(str(error).replace(str(temporary), str(folder))) from None
    except OSError as error:
        raise XrcoreError(f"{folder}: cannot be written ({error.strerror or error})") from None


def missing_folders(path: Path) -> list[Path]:
    """The folders above a path that are not there, the nearest first."""
    return [folder for folder in path.absolute().parents if not folder.exists()]


def remove_empty(folders: list[Path]) -> None:
    """Remove those of the folders that hold nothing."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


def _hidden_name(stem: str, suffix: str = "") -> str:
    """A name that nobody can foresee, short where the stem is as long as names may be."""
    return f".{stem[:32]}-{secrets.token_hex(4)}.part{suffix[:16]}"


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


def _move(temporary: Path, folder: Path, record: str | None, own: str | None) -> None:
    files = sorted(temporary.iterdir(), key=lambda file: (file.name == record, file.name))
    check_writable(folder, *(file.name for file in files))
    for file in files:
        _flush_to_disk(file)
    _flush_names(temporary)
    missing = missing_folders(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.rename(temporary, folder)
        except OSError:
            if not folder.is_dir():
                raise
            _replace(files, folder, record, own)
        _flush_names(folder)
        _flush_names(folder.parent)
    except OSError:
        remove_empty(missing)
        raise


def _replace(files: list[Path], folder: Path, record: str | None, own: str | None) -> None:
    with _one_writer(folder):
        if record is not None:
            (folder / record).unlink(missing_ok=True)
            _flush_names(folder)
        if own is not None:
            written = {file.name for file in files}
            for old in list(folder.iterdir()):
                if re.fullmatch(own, old.name) and old.name not in written and not old.is_dir():
                    old.unlink()
        for file in files:
            if file.name == record:
                _flush_names(folder)
            os.replace(file, folder / file.name)


@contextmanager
def _one_writer(folder: Path) -> Iterator[None]:
    """Wait until no other process replaces files in a folder, where the system can tell."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(ImportError, OSError):  # Windows; some network file systems
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _is_there(path: Path) -> bool:
    """Whether there is anything of this name, be it a link that leads nowhere."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True
