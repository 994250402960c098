"""Lock a training's folder, so that no other training writes to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from xrcore._util.atomic import missing_folders, remove_empty
from xrcore._util.errors import XrcoreError

_FILE = ".lock"


@contextmanager
def locked(folder: Path | None) -> Iterator[None]:
    """Hold the lock of a folder, and clear what killed trainings left half-written; the system lifts the lock of a killed process.

    Parameters
    ----------
    folder : Path, optional
        Made where there is none, and removed again where nothing was written into it; without one nothing is locked.

    Yields
    ------
    None
        While the lock is held.

    Raises
    ------
    XrcoreError
        At once, if another training holds it, or the folder cannot be written.
    """
    if folder is None:
        yield
        return
    missing = missing_folders(folder / _FILE)
    lock = FileLock(folder / _FILE, timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise XrcoreError(f"{folder}: another training is writing there; wait for its end, or choose another folder") from None
    except OSError as error:
        raise XrcoreError(f"{folder}: cannot be written ({error.strerror or error})") from None
    try:
        for rest in folder.glob(".*.part*"):
            if rest.is_file():
                rest.unlink()
        yield
    finally:
        (folder / _FILE).unlink(missing_ok=True)
        lock.release()
        remove_empty(missing)
