"""One row per method and case, appended to a CSV as results arrive."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pandas as pd

from xrcore import XrcoreError
from xrcore.geometry import POSE_NAMES
from xrcore.registration import Evidence
from xrcore.utilities import check_writable

EVIDENCE = tuple(field.name for field in fields(Evidence) if field.name not in ("placement", "view"))  # of one X-ray, placed by no file
# what an answer is measured by, and pandas' type of it; missing where the method failed or does not tell
MEASURED = {
    **{f"error_{name}": "float64" for name in POSE_NAMES},
    **dict.fromkeys(("mtre_mm", "mpd_mm", "ncc", "ssim", "css"), "float64"),
    "confidence": "float64",
    "trusted": "boolean",
    "attempts": "Int64",
    "evaluations": "Int64",
    **{f"evidence_{name}": "float64" for name in EVIDENCE},
}
COLUMNS = {
    **dict.fromkeys(("method", "patient", "test_set", "protocol"), "str"),
    "case": "int64",
    "setup": "str",
    **{f"truth_{name}": "float64" for name in POSE_NAMES},
    "start_mtre_mm": "float64",
    "seconds": "float64",
    **MEASURED,
    "failure": "str",
}
KEY = ("patient", "test_set", "method", "case")
_HEADER = ",".join(COLUMNS) + "\n"
_OF_VERDICT = ("confidence", "evidence_")  # how columns begin that other versions have less of, or others


class Table:
    """Rows in memory, and in a .csv where one is given: each is appended as one whole line.

    A last line that a kill cut short is dropped.

    Parameters
    ----------
    path : str or path, optional
        Of the .csv, whose rows are read.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self.path = None if path is None else Path(path)
        found = as_frame([])
        if self.path is not None:
            _check_suffix(self.path)
            check_writable(self.path.parent, self.path.name)
            found = self._open(self.path)
        self.rows = {tuple(row[name] for name in KEY): row for row in found.to_dict("records")}

    def has(self, patient: str, test_set: str, method: str, case: int, setup: str) -> bool:
        """Tell whether a case was measured.

        Parameters
        ----------
        patient, test_set, method : str
            Their names.
        case : int
            Its number.
        setup : str
            What it must have been measured by.

        Returns
        -------
        bool
            Whether there is such a row.

        Raises
        ------
        XrcoreError
            If it was measured by another setup under the same names.
        """
        row = self.rows.get((patient, test_set, method, case))
        if row is not None and row["setup"] != setup:
            raise XrcoreError(
                f"{self.path}: its rows of method {method!r} on test set {test_set!r}, patient {patient}, are of other settings; "
                "choose another file, or other names"
            )
        return row is not None

    def append(self, row: dict[str, Any]) -> None:
        """Keep a row, on disk before this returns.

        Parameters
        ----------
        row : dict of str to object
            A value for each of COLUMNS; None or NaN where there is none.
        """
        if self.path is not None:
            _write(self.path, as_frame([row]).to_csv(header=False, index=False, lineterminator="\n"), os.O_APPEND)
        self.rows[tuple(row[name] for name in KEY)] = row

    def finish(self) -> pd.DataFrame:
        """Give the table in an order of its own, whatever order the rows came in.

        Returns
        -------
        DataFrame
            See `as_frame`.
        """
        return as_frame(list(self.rows.values()))

    def _open(self, path: Path) -> pd.DataFrame:
        found, whole = _read(path) if path.exists() else (as_frame([]), 0)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if whole and whole < path.stat().st_size:
                os.truncate(path, whole)  # or the next row would go on where the torn line ends
        except OSError as error:
            raise XrcoreError(f"{path}: cannot be written ({error.strerror or error})") from None
        if not whole:
            _write(path, _HEADER, os.O_TRUNC)
        return found


def read_table(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read the table that `run` wrote, finished or not.

    In tables of versions that judged poses by other evidence, confidence and today's evidence are missing.

    Parameters
    ----------
    path : str or path
        A .csv.

    Returns
    -------
    DataFrame
        See `as_frame`.

    Raises
    ------
    XrcoreError
        For what is not such a table.
    """
    path = Path(path)
    _check_suffix(path)
    if not path.exists():
        raise XrcoreError(f"{path}: there is no such table")
    return _read(path, other_versions=True)[0]


def as_frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Make rows a data frame.

    Parameters
    ----------
    rows : list of dict
        A value for each of COLUMNS.

    Returns
    -------
    DataFrame
        With the types of COLUMNS, sorted by KEY.
    """
    columns = {name: pd.Series([row[name] for row in rows], dtype=kind) for name, kind in COLUMNS.items()}
    return pd.DataFrame(columns).sort_values(list(KEY), ignore_index=True)


def _check_suffix(path: Path) -> None:
    if path.suffix != ".csv":
        raise XrcoreError(f"{path}: a table's name ends in .csv")


def _write(path: Path, text: str, flag: int) -> None:
    data = text.encode()
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | flag, 0o666)
        try:
            while data:
                data = data[os.write(file, data) :]
            os.fsync(file)
        finally:
            os.close(file)
    except OSError as error:
        raise XrcoreError(f"{path}: cannot be written ({error.strerror or error})") from None


def _read(path: Path, *, other_versions: bool = False) -> tuple[pd.DataFrame, int]:
    """The table, and how many bytes from the beginning hold whole lines."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise XrcoreError(f"{path}: cannot be read ({error.strerror or error})") from None
    if _HEADER.encode().startswith(data) and not data.endswith(b"\n"):  # nothing, or a header cut short
        return as_frame([]), 0
    header = data[: data.find(b"\n") + 1].decode(errors="replace").rstrip("\r\n").split(",")
    if header != list(COLUMNS) and not (other_versions and _without_verdict(header) == _without_verdict(COLUMNS)):
        raise XrcoreError(f"{path}: is not a table of this version; choose another file")
    lines = data[: data.rfind(b"\n") + 1].splitlines(keepends=True)
    if b"\0" in lines[-1]:  # a crash of the machine can leave a line of nothing
        lines.pop()
    whole = b"".join(lines)
    broken = "is broken; remove it, and its case is measured again"
    for number, cells in enumerate(csv.reader(io.StringIO(whole.decode(errors="replace"))), 1):
        if len(cells) != len(header):
            raise XrcoreError(f"{path}: line {number} {broken}")
    kinds = {name: COLUMNS.get(name, "float64") for name in header}
    empty = {name: ["", "nan"] if kind == "float64" else [""] for name, kind in kinds.items() if kind != "str"}
    try:
        table = pd.read_csv(io.BytesIO(whole), dtype=kinds, keep_default_na=False, na_values=empty)
    except ValueError as error:
        raise XrcoreError(f"{path}: a line {broken} ({error})") from None
    return table.reindex(columns=list(COLUMNS)).sort_values(list(KEY), ignore_index=True), len(whole)


def _without_verdict(names: Iterable[str]) -> list[str]:
    return [name for name in names if not name.startswith(_OF_VERDICT)]
