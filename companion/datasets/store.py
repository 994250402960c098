"""The data folder: list, fetch and verify the data sets of the manifest."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

import pooch
import requests
from filelock import FileLock, Timeout

from companion.datasets.archives import DiskFullError, unpack
from companion.datasets.lock_file import Record, read_records, write_record
from companion.datasets.manifest import Entry, Manifest, RemoteFile, load_manifest
from companion.datasets.mirror import Mirror, has_hash
from companion.datasets.resuming_download import Progress, ResumingDownloader
from xrcore import XrcoreError
from xrcore.utilities import atomic_file

FOLDER, MIRROR = "XRCORE_DATA", "XRCORE_DATA_MIRROR"
_STAGING = ".downloads"
HERE, MIRRORED, BEGUN, ABSENT, DAMAGED = "here", "in mirror", "interrupted", "not fetched", "damaged"

Bar = Callable[[str, int | None], AbstractContextManager[Progress | None]]
_log = logging.getLogger("xrcore")


def data_folder() -> Path:
    """Return the folder of fetched data.

    Returns
    -------
    Path
        What XRCORE_DATA names, else a folder of the platform's cache.
    """
    named = os.environ.get(FOLDER)
    return Path(named).expanduser() if named else Path(pooch.os_cache("xrcore"))


def data_mirror() -> Mirror | None:
    """Open what XRCORE_DATA_MIRROR names.

    Returns
    -------
    Mirror or None
        None where it names nothing.

    Raises
    ------
    XrcoreError
        If it names what is no folder.
    """
    named = os.environ.get(MIRROR)
    return Mirror(Path(named)) if named else None


@dataclass(frozen=True)
class Checked:
    """One file after `Store.verify`.

    Parameters
    ----------
    path : Path
        Of the file.
    wrong : str or None
        What is wrong with it.
    known : bool
        Whether there was a hash to compare with.
    """

    path: Path
    wrong: str | None = None
    known: bool = True


@dataclass(frozen=True, eq=False)
class Store:
    """The data of a manifest in a folder, and in a mirror that is looked at first.

    Folder and mirror have the same layout, each file at its `RemoteFile.path`. In the folder, nothing is ever visible under such a path
    before it is complete and its hash is right: transfers are collected in a hidden folder beside them.

    Parameters
    ----------
    manifest : Manifest
        Default the one that came with this installation.
    folder : Path
        Default `data_folder`.
    mirror : Mirror or None
        Default `data_mirror`.
    attempts, pause : int, float
        See `ResumingDownloader`.
    """

    manifest: Manifest = field(default_factory=load_manifest)
    folder: Path = field(default_factory=data_folder)
    mirror: Mirror | None = field(default_factory=data_mirror)
    attempts: int = 5
    pause: float = 1.0

    def state(self, name: str) -> str:
        """Return which files of an entry are present, by names and sizes only.

        Parameters
        ----------
        name : str
            Of the entry.

        Returns
        -------
        str
            HERE, MIRRORED, BEGUN (a transfer was interrupted), DAMAGED (a part is missing) or ABSENT.
        """
        entry = self.manifest[name]
        record = read_records(self.folder).get(name)
        if self.mirror is not None and _present(self.mirror.folder, entry, record):
            return MIRRORED
        if (record is not None or entry.kind != "archive") and _present(self.folder, entry, record):
            return HERE
        if (self.folder / entry.path).exists():
            return DAMAGED
        return BEGUN if any(self._staging(entry).glob("*")) else ABSENT

    def known_hash(self, entry: Entry, file: RemoteFile) -> str | None:
        """Say which hash a file's bytes must have.

        Parameters
        ----------
        entry : Entry
            That the file belongs to.
        file : RemoteFile
            One of its files.

        Returns
        -------
        str or None
            The manifest's hash; of an unverified file the recorded one, else what others state, else None.
        """
        record = None if file.verified else read_records(self.folder).get(entry.name)
        return f"sha256:{record.sha256}" if record is not None else file.hash

    def find(self, name: str) -> Path:
        """Find the data of an entry, with the right bytes, in the mirror or the data folder.

        Files and series are read and compared, the members of an archive only counted and measured.

        Parameters
        ----------
        name : str
            Of the entry.

        Returns
        -------
        Path
            The file, or the folder of a series or of an archive's members.

        Raises
        ------
        XrcoreError
            Saying how to fetch what is missing or wrong.
        """
        entry = self.manifest[name]
        record = read_records(self.folder).get(name)
        roots = [root for root in (self.mirror.folder if self.mirror else None, self.folder) if root is not None]
        spoilt = []
        for root in roots:
            finished = record is not None or entry.kind != "archive" or root != self.folder
            if not (finished and _present(root, entry, record)):
                if (root / entry.path).exists():
                    spoilt.append(root / entry.path)
            elif entry.kind == "archive" or all(self._right(root, entry, file) for file in entry.files):
                return root / entry.path
            else:
                spoilt.append(root / entry.path)
        said = f"{spoilt[0]}: its bytes are not those of the manifest" if spoilt else f"{name} was not found"
        raise XrcoreError(f"{said}; run `xrcore data fetch {name}`, or set {MIRROR} to the folder that holds ct/ and xray/")

    def _right(self, root: Path, entry: Entry, file: RemoteFile) -> bool:
        known = self.known_hash(entry, file)
        return known is None or has_hash(root / file.path, known)

    def verify(self, name: str) -> list[Checked]:
        """Read every byte of an entry that is there, in the mirror and in the data folder, and compare hashes.

        The members of an archive are compared with what was recorded when it was unpacked.

        Parameters
        ----------
        name : str
            Of the entry.

        Returns
        -------
        list of Checked
            Empty where nothing of it is there.
        """
        entry, record = self.manifest[name], read_records(self.folder).get(name)
        roots = [root for root in (self.mirror.folder if self.mirror else None, self.folder) if root is not None]
        return [checked for root in dict.fromkeys(roots) if (root / entry.path).exists() for checked in self._verified(root, entry, record)]

    def _verified(self, root: Path, entry: Entry, record: Record | None) -> Iterator[Checked]:
        if entry.kind == "archive":
            if record is None:
                yield Checked(root / entry.path, known=False)
            for path, (_, digits) in (record.files if record is not None else {}).items():
                yield _compare(root / path, f"sha256:{digits}")
            return
        for file in entry.files:
            yield _compare(root / file.path, self.known_hash(entry, file))

    def fetch(self, name: str, *, bar: Bar | None = None, wait: bool = False) -> str:
        """Make an entry available. An interrupted or failed transfer goes on from there the next time.

        Parameters
        ----------
        name : str
            Of the entry.
        bar : callable, optional
            Called with a name and the bytes to come (None: unknown), gives a progress bar.
        wait : bool
            For the end of another fetch into the same folder, instead of an error.

        Returns
        -------
        str
            How: "here", "in mirror", "copied from mirror" or "downloaded".

        Raises
        ------
        XrcoreError
            One line, for no network, wrong bytes, no room and an archive that is refused.
        """
        entry = self.manifest[name]
        if self.mirror is not None:
            for file in entry.files:
                if self.mirror.wrong(file, self.known_hash(entry, file)):
                    _log.warning("%s: its bytes are not those of the manifest, so it is not used", self.mirror.folder / file.path)
            if entry.kind == "archive" and _present(self.mirror.folder, entry, read_records(self.folder).get(name)):
                return MIRRORED
            if entry.kind != "archive" and all(self.mirror.in_place(file, self.known_hash(entry, file)) for file in entry.files):
                if not entry.verified:
                    (self.folder / _STAGING).mkdir(parents=True, exist_ok=True)
                    with _alone(self.folder / _STAGING, wait=True):
                        self._record_plain(entry, self.mirror.folder)
                return MIRRORED
        if self._complete(entry):
            return HERE
        try:
            self._staging(entry).mkdir(parents=True, exist_ok=True)
            with _alone(self.folder / _STAGING, wait=wait):
                for stray in self._staging(entry).glob("tmp*"):
                    stray.unlink()  # pooch's, of a run that was killed
                return self._fetch(entry, bar or (lambda name, total: nullcontext()))
        except XrcoreError:
            raise
        except OSError as error:
            raise XrcoreError(f"{error.filename or self.folder}: {error.strerror or error}; {FOLDER} names the data folder") from None

    def _complete(self, entry: Entry) -> bool:
        record = read_records(self.folder).get(entry.name)
        if not _present(self.folder, entry, record):
            return False
        if entry.kind == "archive":
            return record is not None
        return all(self._right(self.folder, entry, file) for file in entry.files) and (entry.verified or record is not None)

    def _staging(self, entry: Entry) -> Path:
        return self.folder / _STAGING / entry.name

    def _fetch(self, entry: Entry, bar: Bar) -> str:
        staging, copied = self._staging(entry), 0
        wanted = [file for file in entry.files if not self._usable(entry, file)]
        missing = sum(file.bytes or 0 for file in wanted) - sum(f.stat().st_size for f in staging.glob("*"))
        free = shutil.disk_usage(staging).free
        if missing > free:
            raise XrcoreError(f"{entry.name}: {missing / 1e9:.1f} GB to come, but {self.folder} has {free / 1e9:.1f} GB left; set {FOLDER}")
        total = None if any(file.bytes is None for file in wanted) else sum(file.bytes or 0 for file in wanted)
        with bar(entry.name, total) as progress, requests.Session() as session:
            for file in wanted:
                found = self.mirror.anywhere(file, self.known_hash(entry, file)) if self.mirror is not None else None
                if found is not None:
                    copied += 1
                    _copy(found, staging / file.name)
                    if progress is not None:
                        progress.update(found.stat().st_size)
                else:
                    self._download(entry, file, progress, session)
        if entry.kind == "archive":
            self._unpack(entry)
        else:
            self._settle(entry, wanted)
        shutil.rmtree(staging)
        return "copied from mirror" if wanted and copied == len(wanted) else "downloaded"

    def _usable(self, entry: Entry, file: RemoteFile) -> bool:
        """Whether a file of an incomplete series is in its place already."""
        path = self.folder / file.path
        return (
            entry.kind != "archive"
            and path.is_file()
            and self.known_hash(entry, file) is not None
            and self._right(self.folder, entry, file)
        )

    def _download(self, entry: Entry, file: RemoteFile, progress: Progress | None, session: requests.Session) -> None:
        staging, known = self._staging(entry), self.known_hash(entry, file)
        downloader = ResumingDownloader(
            staging / f"{file.name}.part",
            size=file.bytes if file.verified else None,
            hashed=known is not None and known.startswith("sha256:"),
            attempts=self.attempts,
            pause=self.pause,
            progress=progress,
            session=session,
        )
        if progress is not None and (staging / file.name).exists():  # whole since an earlier run
            progress.update((staging / file.name).stat().st_size)
        pooch.get_logger().setLevel(logging.WARNING)  # it would announce each of a series' files
        for attempt in (1, 2):
            try:
                pooch.retrieve(file.url, known, fname=file.name, path=staging, downloader=downloader)
                return
            except XrcoreError:
                raise
            except ValueError:  # pooch: the hash does not match, and the file is gone again
                # what was joined of two transfers gets a second chance as a whole
                if attempt == 2 or not downloader.resumed:
                    break
        raise XrcoreError(_wrong_bytes(entry, file, known))

    def _settle(self, entry: Entry, files: list[RemoteFile]) -> None:
        """Move what was collected into place: a new series as one folder, so that nobody reads half of it."""
        staging, target = self._staging(entry), self.folder / entry.path
        target.parent.mkdir(parents=True, exist_ok=True)
        self._record_plain(entry, staging, flat=True)
        whole = entry.kind == "series" and not target.exists()
        for file in files:
            place = staging / Path(file.path).relative_to(entry.path) if whole else self.folder / file.path
            place.parent.mkdir(parents=True, exist_ok=True)
            os.replace(staging / file.name, place)
        if whole:
            os.replace(staging, target)
            staging.mkdir()  # for the caller to remove

    def _record_plain(self, entry: Entry, root: Path, flat: bool = False) -> None:
        """Trust on first use: record the hash of an unverified file; later downloads must match it."""
        if entry.verified or entry.name in read_records(self.folder):
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        (file,) = entry.files
        path = root / (file.name if flat else file.path)
        size, digits = path.stat().st_size, pooch.file_hash(str(path))
        write_record(self.folder, entry.name, Record(file.url, size, digits, {file.path: (size, digits)}))

    def _unpack(self, entry: Entry) -> None:
        staging, target = self._staging(entry), self.folder / entry.path
        (file,) = entry.files
        archive, unpacked = staging / file.name, staging / "unpacked"
        shutil.rmtree(unpacked, ignore_errors=True)
        try:
            members = unpack(archive, unpacked, entry.members)
        except XrcoreError as error:
            if not isinstance(error, DiskFullError):
                archive.unlink()  # it is of no use: the next fetch gets it anew
            raise XrcoreError(f"{entry.name}: {str(error).removeprefix(f'{staging}{os.sep}')}") from None
        files = {f"{entry.path}/{name}": found for name, found in sorted(members.items())}
        record = Record(file.url, archive.stat().st_size, pooch.file_hash(str(archive)), files)
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            os.replace(target, staging / "before")
        os.replace(unpacked, target)
        # last, so that what a kill leaves without a record counts as not fetched
        write_record(self.folder, entry.name, record)


def _present(root: Path, entry: Entry, record: Record | None) -> bool:
    """Whether all files of an entry are there, by names and sizes."""
    if entry.kind != "archive":
        return all(_sized(root / file.path, file.bytes if file.verified else None) for file in entry.files)
    if record is not None:
        return all(_sized(root / path, size) for path, (size, _) in record.files.items())
    folder = root / entry.path
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []
    return all(any(fnmatchcase(name, pattern) for name in names) for pattern in entry.members)


def _sized(path: Path, size: int | None) -> bool:
    return path.is_file() and size in (None, path.stat().st_size)


def _compare(path: Path, known: str | None) -> Checked:
    if not path.is_file():
        return Checked(path, "missing")
    if known is None:
        return Checked(path, known=False)
    return Checked(path, None if has_hash(path, known) else f"its {known.partition(':')[0]} is not {known.partition(':')[2]}")


def _copy(source: Path, target: Path) -> None:
    with atomic_file(target) as temporary:
        shutil.copyfile(source, temporary)


def _wrong_bytes(entry: Entry, file: RemoteFile, known: str | None) -> str:
    said = f"{entry.name}: the bytes of {file.url} do not have the {known}"
    if file.verified:
        return f"{said} of the manifest; nothing was kept: try again, or put the file into a local mirror"
    if known != file.hash:
        return f"{said} they had when they were first fetched; nothing was kept: its publisher changed it, or somebody else did"
    return f"{said} that {entry.hash_from or 'others'} state; nothing was kept"


@contextmanager
def _alone(folder: Path, *, wait: bool) -> Iterator[None]:
    """Only one process writes to a data folder; the system lifts the lock of a process that was killed."""
    try:
        with FileLock(folder / "lock", timeout=-1 if wait else 0):
            yield
    except Timeout:
        raise XrcoreError(f"{folder.parent}: another fetch is writing there; wait for its end, or set {FOLDER}") from None
