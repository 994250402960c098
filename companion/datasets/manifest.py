"""data_manifest.yaml: which public data the experiments use, where they are, and how their bytes are known."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from xrcore import XrcoreError
from xrcore.utilities import read_yaml, shown

KINDS = ("file", "series", "archive")
ARCHIVES = (".zip", ".tar.gz", ".tgz", ".tar")
# names of the data folder's own files: hidden ones, the record of hashes, and what is collected of a transfer
_OWN = re.compile(r"(^|/)\.|^data\.lock\.json(/|$)|\.part(\.json)?$|(^|/)tmp[^/]*$|(^|/)unpacked$", re.IGNORECASE)
_DIGITS = {"sha256": 64, "md5": 32}
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_MOST_BYTES = 10**15  # of a file
_COMMON = {"kind", "path", "shows", "stands_for", "licence", "citation"}
_OPTIONAL = {"patient"}
_OF_ONE = {"url", "bytes", "hash", "verified", "hash_from"}
_KEYS = {"file": _OF_ONE, "series": {"base", "files"}, "archive": _OF_ONE | {"file", "members"}}
_MAY_LACK = {"bytes", "hash", "verified", "hash_from"}


@dataclass(frozen=True)
class RemoteFile:
    """One file at one address.

    Parameters
    ----------
    path : str
        Where it belongs below the data folder.
    url : str
        Its address.
    bytes : int or None
        Its size; with `verified` exactly, else as others state it.
    hash : str or None
        "sha256:..." or "md5:...".
    verified : bool
        Whether this project has seen bytes of that hash and knows them to be right.
    """

    path: str
    url: str
    bytes: int | None
    hash: str | None
    verified: bool = True

    @property
    def name(self) -> str:
        """Last part of `path`."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True)
class Entry:
    """One data set: a single file, a series (all files of a folder), or an archive to unpack.

    Parameters
    ----------
    name : str
        As users write it.
    kind : str
        One of KINDS.
    path : str
        Of the file, or of the folder that holds the series or the archive's members, below the data folder.
    files : tuple of RemoteFile
        What is transferred; of an archive, the archive.
    shows, stands_for : str
        What it is, and what it is used for in place of.
    licence, citation : str
        Of its publishers.
    patient : str or None
        Its number in the experiments.
    members : tuple of str
        Of an archive, patterns of the members that are kept, each of which must occur (`*` also matches "/").
    hash_from : str or None
        Who states an unverified hash.
    """

    name: str
    kind: str
    path: str
    files: tuple[RemoteFile, ...]
    shows: str
    stands_for: str
    licence: str
    citation: str
    patient: str | None = None
    members: tuple[str, ...] = ()
    hash_from: str | None = None

    @property
    def verified(self) -> bool:
        """Whether the checksum of every file is known."""
        return all(file.verified for file in self.files)

    @property
    def bytes(self) -> int | None:
        """What is transferred, all files together; None where nobody states it."""
        sizes = [file.bytes for file in self.files]
        return None if None in sizes else sum(size or 0 for size in sizes)


@dataclass(frozen=True)
class Manifest:
    """The entries of a data manifest, in the file's order.

    Parameters
    ----------
    entries : tuple of Entry
        All of them; `manifest["name"]` gives one.
    path : Path
        Where it was read from.
    """

    entries: tuple[Entry, ...]
    path: Path = field(default=Path("data_manifest.yaml"), compare=False)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Of all entries, in order."""
        return tuple(entry.name for entry in self.entries)

    def __getitem__(self, name: str) -> Entry:
        for entry in self.entries:
            if entry.name == name:
                return entry
        raise XrcoreError(f"there is no data set {name!r}; choose from {', '.join(self.names)}")

    @property
    def patients(self) -> tuple[Entry, ...]:
        """The entries that are patients of the experiments."""
        return tuple(entry for entry in self.entries if entry.patient is not None)


def manifest_path() -> Path:
    """Find the manifest that came with this installation.

    Returns
    -------
    Path
        Of data_manifest.yaml.
    """
    beside = Path(__file__).with_name("data_manifest.yaml")
    return beside if beside.exists() else Path(__file__).parents[2] / "data_manifest.yaml"


def load_manifest(path: str | os.PathLike[str] | None = None) -> Manifest:
    """Read and check a manifest.

    Parameters
    ----------
    path : str or path, optional
        A YAML file; default the manifest that came with this installation.

    Returns
    -------
    Manifest
        Its entries.

    Raises
    ------
    XrcoreError
        One line naming the file, the entry and the key that makes no sense.
    """
    path = manifest_path() if path is None else Path(path)
    content = read_yaml(path)
    if not isinstance(content, dict) or set(content) != {"format", "entries"} or content["format"] != 1:
        raise XrcoreError(f"{path}: expected the keys format: 1 and entries")
    if not isinstance(content["entries"], dict) or not content["entries"]:
        raise XrcoreError(f"{path}: entries must map names to data sets")
    entries = tuple(_entry(f"{path}: {str(name)[:60]}", name, value) for name, value in content["entries"].items())
    _check_apart(path, entries)
    return Manifest(entries, path)


def _check_apart(path: Path, entries: tuple[Entry, ...]) -> None:
    """Two entries that share a place would overwrite each other."""
    for i, entry in enumerate(entries):
        for other in entries[:i]:
            ours, theirs = PurePosixPath(entry.path), PurePosixPath(other.path)
            if ours.is_relative_to(theirs) or theirs.is_relative_to(ours):
                raise XrcoreError(f"{path}: {entry.name} and {other.name} would lie in the same place, {entry.path}")
            if entry.patient is not None and entry.patient == other.patient:
                raise XrcoreError(f"{path}: {entry.name} and {other.name} are both patient {entry.patient}")


def _entry(where: str, name: object, value: object) -> Entry:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise XrcoreError(f"{where}: a name is up to 64 lower-case letters, digits and hyphens")
    if not isinstance(value, dict) or value.get("kind") not in KINDS:
        raise XrcoreError(f"{where}: kind must be {', '.join(KINDS)}")
    kind = value["kind"]
    known = _COMMON | _OPTIONAL | _KEYS[kind]
    if odd := [str(key) for key in value if key not in known]:
        raise XrcoreError(f"{where}: unknown key {odd[0]!r}; a {kind} has {', '.join(sorted(known))}")
    if lacking := sorted((_COMMON | _KEYS[kind]) - _MAY_LACK - set(value)):
        raise XrcoreError(f"{where}: {lacking[0]} is missing")
    texts = {key: _text(where, key, value[key]) for key in (*_COMMON, *_OPTIONAL, "hash_from") if key in value}
    path = _relative(where, "path", texts["path"])
    patterns: tuple[str, ...] = ()
    if kind == "series":
        base = _address(where, "base", value["base"], hashed=True)
        files = _series(where, path, base, _text(where, "files", value["files"]))
    elif kind == "file":
        files = (_single(where, path, value),)
    else:
        archive = _text(where, "file", value["file"])
        if "/" in _relative(where, "file", archive) or not archive.endswith(ARCHIVES):
            raise XrcoreError(f"{where}: file must be the archive's own name, ending in {', '.join(ARCHIVES)}; got {shown(archive)}")
        files = (_single(where, f"{path}/{archive}", value),)
        patterns = tuple(value["members"]) if isinstance(value["members"], list) else ()
        if not patterns or not all(isinstance(pattern, str) and pattern for pattern in patterns):
            raise XrcoreError(f"{where}: members must be a list of patterns")
    del texts["path"]
    return Entry(name=name, path=path, files=files, members=patterns, **texts)


def _single(where: str, path: str, value: Mapping[str, Any]) -> RemoteFile:
    size, known, verified = value.get("bytes"), value.get("hash"), value.get("verified", True)
    if size is not None and (isinstance(size, bool) or not isinstance(size, int) or not 0 < size < _MOST_BYTES):
        raise XrcoreError(f"{where}: bytes must be a positive whole number below 10**15, got {shown(size)}")
    if known is not None:
        known = _hash(where, known)
    if not isinstance(verified, bool):
        raise XrcoreError(f"{where}: verified must be true or false, got {shown(verified)}")
    if verified and (size is None or known is None or not known.startswith("sha256:")):
        raise XrcoreError(f"{where}: what has no bytes or no sha256 is not verified; say verified: false")
    if not verified and known is not None and "hash_from" not in value:
        raise XrcoreError(f"{where}: hash_from must say who states the unverified hash")
    address = _address(where, "url", value["url"], hashed=known is not None and known.startswith("sha256:"))
    return RemoteFile(path, address, size, known, verified)


def _series(where: str, path: str, base: str, text: str) -> tuple[RemoteFile, ...]:
    """Lines "SHA256 BYTES NAME", and where its address is not base + NAME, also that part of the address."""
    files = []
    for number, line in enumerate(filter(None, map(str.strip, text.splitlines())), 1):
        words = line.split()
        if len(words) not in (3, 4) or not re.fullmatch(r"[1-9][0-9]{0,14}", words[1]):
            raise XrcoreError(f"{where}: line {number} of files must be SHA256 BYTES NAME [ADDRESS], got {shown(line)}")
        name = _relative(where, "files", words[2])
        files.append(RemoteFile(f"{path}/{name}", base + words[-1], int(words[1]), _hash(where, f"sha256:{words[0]}")))
    if not files or len({file.name for file in files}) < len(files):  # collected in one folder
        raise XrcoreError(f"{where}: files must name each file once, whatever its folder")
    return tuple(files)


def _text(where: str, key: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise XrcoreError(f"{where}: {key} must be text, got {shown(value)}")
    return value.strip()


def _hash(where: str, value: object) -> str:
    algorithm, _, digits = value.partition(":") if isinstance(value, str) else ("", "", "")
    if not re.fullmatch(f"[0-9a-f]{{{_DIGITS.get(algorithm, 1)}}}", digits) or algorithm not in _DIGITS:
        raise XrcoreError(f"{where}: hash must be sha256: and 64, or md5: and 32 lower-case hexadecimal digits, got {shown(value)}")
    return f"{algorithm}:{digits}"


def _relative(where: str, key: str, value: str) -> str:
    if not safe_path(value):
        raise XrcoreError(f"{where}: {key} must be a plain relative path, got {shown(value)}")
    if _OWN.search(value):
        raise XrcoreError(f"{where}: {key} must not be a name that the data folder keeps for itself, got {shown(value)}")
    return value


def safe_path(value: str) -> bool:
    """Tell whether a path stays below the folder it is taken from, on any system.

    Parameters
    ----------
    value : str
        With "/" between its parts.

    Returns
    -------
    bool
        False for what is absolute, leads upwards, or has another meaning on some system.
    """
    parts = value.split("/")
    odd = any(part in ("", ".", "..") or part != part.strip() or part.endswith(".") for part in parts)
    if odd or re.search(r"[\\:\x00-\x1f\ud800-\udfff]", value):
        return False
    return max(len(part.encode()) for part in parts) < 256 and len(value.encode()) < 2048


def _address(where: str, key: str, value: object, *, hashed: bool) -> str:
    text = _text(where, key, value)
    try:
        parts = urlsplit(text)
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # such as a port that is no number
        known = False
    if not known or re.search(r"[^!-~]", text) or len(text) > 2048:
        raise XrcoreError(f"{where}: {key} must be an http or https address, got {shown(text)}")
    if not hashed and unprotected(text):
        raise XrcoreError(f"{where}: {key} is http, which anybody on the way can change: give an https address, or a sha256")
    return text


def unprotected(url: str) -> bool:
    """Tell whether others can change what an address sends.

    Parameters
    ----------
    url : str
        An http or https address.

    Returns
    -------
    bool
        True for http, but for this machine's own.
    """
    parts = urlsplit(url)
    return parts.scheme == "http" and parts.hostname not in ("127.0.0.1", "::1", "localhost")
