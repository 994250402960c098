"""Unpacking zip and tar so that nothing lands outside the folder it is unpacked to."""

from __future__ import annotations

import gzip
import hashlib
import lzma
import posixpath
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import IO

from companion.datasets.manifest import safe_path
from xrcore import XrcoreError

_CHUNK = 1 << 20
_Members = Iterator[tuple[str, Callable[[], AbstractContextManager[IO[bytes]]]]]


class DiskFullError(XrcoreError):
    """No room for the members; the archive itself is good."""


def unpack(archive: Path, folder: Path, members: tuple[str, ...]) -> dict[str, tuple[int, str]]:
    """Unpack members of a zip or tar as plain files; links between members become copies.

    Parameters
    ----------
    archive : Path
        Refused whole for a member, wanted or not, with an absolute name, with a name or a link that leads out of the folder, and for
        devices and pipes.
    folder : Path
        Must not exist; it is removed again where anything is wrong.
    members : tuple of str
        Patterns of the members that are wanted, each of which must match one (`*` also matches "/").

    Returns
    -------
    dict of str to (int, str)
        Bytes and sha256 of each member by its name.

    Raises
    ------
    XrcoreError
        One line naming the archive and the member.
    """
    found: dict[str, tuple[int, str]] = {}
    folder.mkdir(parents=True)
    try:
        for name, stream in _files(archive, members):
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            found[name] = _write(archive, stream, target)
        for pattern in members:
            if not any(fnmatchcase(name, pattern) for name in found):
                raise XrcoreError(f"{archive}: it holds nothing that matches {pattern!r}; another archive, or its publisher rearranged it")
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(
            error, (zipfile.BadZipFile, gzip.BadGzipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, NotImplementedError)
        ):
            raise XrcoreError(f"{archive}: a damaged archive ({' '.join(str(error).split()) or 'it ends early'})") from None
        if isinstance(error, (FileExistsError, NotADirectoryError, IsADirectoryError)):
            raise XrcoreError(f"{archive}: two of its members have the same name") from None
        raise
    return found


def _write(archive: Path, stream: IO[bytes], target: Path) -> tuple[int, str]:
    digest, size = hashlib.sha256(), 0
    with target.open("xb") as file:
        while chunk := stream.read(_CHUNK):
            if shutil.disk_usage(target.parent).free < len(chunk) + _CHUNK:
                raise DiskFullError(f"{archive}: the disk is full; its members need more room than there is at {target.parent}")
            file.write(chunk)
            digest.update(chunk)
            size += len(chunk)
    return size, digest.hexdigest()


def _files(archive: Path, members: tuple[str, ...]) -> Iterator[tuple[str, IO[bytes]]]:
    """The wanted members one after the other; all others are looked at too."""
    is_zip = archive.name.endswith(".zip")
    for name, opened in _zip(archive) if is_zip else _tar(archive):
        if any(fnmatchcase(name, pattern) for pattern in members):
            with opened() as stream:
                yield name, stream


def _checked(archive: Path, name: str) -> str:
    plain = name[2:] if name.startswith("./") else name
    if not safe_path(plain):
        raise XrcoreError(f"{archive}: refused, its member {name!r} could lead out of the folder")
    return plain


def _zip(archive: Path) -> _Members:
    with zipfile.ZipFile(archive) as file:
        for info in file.infolist():
            # zipfile itself cuts a name at a zero byte and turns backslashes into slashes: judge what is written in the file
            name = _checked(archive, info.orig_filename.rstrip("/"))
            mode = info.external_attr >> 16
            if mode and not info.is_dir() and not stat.S_ISREG(mode) and stat.S_IFMT(mode):
                raise XrcoreError(f"{archive}: refused, its member {name!r} is a link or a device")
            if info.flag_bits & 1:
                raise XrcoreError(f"{archive}: its member {name!r} wants a password")
            if not info.is_dir():
                yield name, partial(file.open, info)


def _tar(archive: Path) -> _Members:
    with tarfile.open(archive) as file:
        for info in file:
            if info.name in (".", "./"):
                continue
            name = _checked(archive, info.name.rstrip("/"))
            if info.issym() or info.islnk():
                # a symbolic link counts from its own folder, a hard link from the archive's root
                goal = posixpath.normpath(posixpath.join(posixpath.dirname(name) if info.issym() else "", info.linkname))
                if info.linkname.startswith("/") or not safe_path(goal):
                    raise XrcoreError(f"{archive}: refused, its member {name!r} is a link that leads out of the folder")
            elif not (info.isfile() or info.isdir()):
                raise XrcoreError(f"{archive}: refused, its member {name!r} is a device or a pipe")
            if not info.isdir():
                yield name, partial(_open_member, archive, file, info, name)


@contextmanager
def _open_member(archive: Path, file: tarfile.TarFile, info: tarfile.TarInfo, name: str) -> Iterator[IO[bytes]]:
    try:
        stream = file.extractfile(info)
    except (KeyError, RecursionError):
        stream = None
    if stream is None:
        raise XrcoreError(f"{archive}: its member {name!r} is a link to nothing in it")
    with stream:
        yield stream
