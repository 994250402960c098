"""SHA-256 recorded at first download, for files without a published checksum; later downloads must match it."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

from xrcore import XrcoreError
from xrcore.utilities import atomic_file, read_json

FILE = "data.lock.json"


@dataclass(frozen=True)
class Record:
    """What was fetched for an entry.

    Parameters
    ----------
    url : str
        Where from.
    bytes, sha256 : int, str
        Of the file that was transferred.
    files : dict of str to (int, str)
        Bytes and sha256 of each file that it became, by path below the data folder.
    """

    url: str
    bytes: int
    sha256: str
    files: dict[str, tuple[int, str]] = field(default_factory=dict)


def read_records(folder: Path) -> dict[str, Record]:
    """Read all records of a data folder.

    Parameters
    ----------
    folder : Path
        The data folder.

    Returns
    -------
    dict of str to Record
        By the entries' names; empty where nothing was recorded.

    Raises
    ------
    XrcoreError
        If the file is damaged.
    """
    path = folder / FILE
    if not os.path.exists(path):
        return {}
    try:
        content = read_json(path, 100_000_000)
        return {name: _record(value) for name, value in content["entries"].items()}
    except (XrcoreError, KeyError, TypeError, ValueError, AttributeError):
        raise XrcoreError(f"{path}: the record of fetched data is damaged; delete it to trust what a new fetch gives") from None


def _record(value: dict[str, object]) -> Record:
    record = Record(**value)  # type: ignore[arg-type]
    return Record(str(record.url), int(record.bytes), str(record.sha256), {k: (int(n), str(h)) for k, (n, h) in record.files.items()})


def write_record(folder: Path, name: str, record: Record) -> None:
    """Add or replace one record.

    Parameters
    ----------
    folder : Path
        The data folder.
    name : str
        Of the entry.
    record : Record
        What was fetched.
    """
    entries = {**read_records(folder), name: record}
    content = {"entries": {key: asdict(value) for key, value in sorted(entries.items())}}
    with atomic_file(folder / FILE) as temporary:
        temporary.write_text(json.dumps(content, indent=1), encoding="utf-8")
