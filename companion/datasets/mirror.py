"""A local folder that already holds data: files are found in it by their path or by their hash."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pooch.hashes import file_hash

from companion.datasets.folders import existing_folder
from companion.datasets.manifest import RemoteFile


def has_hash(path: Path, known: str) -> bool:
    """Tell whether a file's bytes have a hash.

    Parameters
    ----------
    path : Path
        Of the file.
    known : str
        "sha256:..." or "md5:...".

    Returns
    -------
    bool
        Whether they have.
    """
    algorithm, _, digits = known.partition(":")
    return bool(file_hash(str(path), alg=algorithm) == digits)


@dataclass(frozen=True, eq=False)
class Mirror:
    """A local folder that already holds data.

    Parameters
    ----------
    folder : Path
        Laid out as the data folder, or in any way where files are found by hash.

    Raises
    ------
    XrcoreError
        If there is no such folder.
    """

    folder: Path

    def __post_init__(self) -> None:
        existing_folder(self.folder, "the CTs were not found; set XRCORE_DATA_MIRROR to the folder that holds ct/ and xray/")

    @cached_property
    def _by_size(self) -> dict[int, list[Path]]:
        found = defaultdict(list)
        for path in sorted(self.folder.rglob("*")):
            if path.is_file():
                found[path.stat().st_size].append(path)
        return found

    def in_place(self, file: RemoteFile, known: str | None) -> Path | None:
        """Find a file at its own path.

        Parameters
        ----------
        file : RemoteFile
            What is looked for.
        known : str or None
            Its hash; None accepts what is there.

        Returns
        -------
        Path or None
            None where it is not there, or its bytes are not right.
        """
        path = self.folder / file.path
        return path if path.is_file() and self._right(path, file, known) else None

    def anywhere(self, file: RemoteFile, known: str | None) -> Path | None:
        """Find a file at its own path, by its own name at the top, or wherever a file has its hash.

        Parameters
        ----------
        file : RemoteFile
            What is looked for.
        known : str or None
            Its hash; None accepts what is there.

        Returns
        -------
        Path or None
            None where it is nowhere.
        """
        for path in (self.folder / file.path, self.folder / file.name):
            if path.is_file() and self._right(path, file, known):
                return path
        if known is None:
            return None
        sized = file.bytes is not None and file.verified
        named = [path for paths in self._by_size.values() for path in paths if path.name == file.name]
        candidates = self._by_size.get(file.bytes or 0, []) if sized else named
        return next((path for path in candidates if has_hash(path, known)), None)

    def wrong(self, file: RemoteFile, known: str | None) -> bool:
        """Tell whether a file lies at the right path with wrong bytes.

        Parameters
        ----------
        file : RemoteFile
            What is looked for.
        known : str or None
            Its hash; None accepts what is there.

        Returns
        -------
        bool
            False also where there is no file.
        """
        path = self.folder / file.path
        return path.is_file() and not self._right(path, file, known)

    def _right(self, path: Path, file: RemoteFile, known: str | None) -> bool:
        if file.verified and path.stat().st_size != file.bytes:
            return False
        return known is None or has_hash(path, known)
