"""The table of an experiment: one row a method and case, on disk as it grows."""

from __future__ import annotations

import csv
import importlib.util
import io
import math
import os
from pathlib import Path
from typing import Any

import pandas as pd

from xrcore import XrcoreError
from xrcore.geometry import POSE_NAMES
from xrcore.utilities import atomic_file, check_writable

EVIDENCE = ("zncc", "gradient", "local", "attainable", "disagreement")
# what an answer is measured by, and pandas' type of it; missing where the method failed or does not tell
MEASURED = {
    **{f"error_{name}": "float64" for name in POSE_NAMES},
    **dict.fromkeys(("mtre_mm", "mpd_mm", "ncc", "ssim", "css"), "float64"),
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
_BOOLEANS = {"True": True, "False": False}


class Table:
    """Rows in memory, and in `path` where it is given: each is appended as one whole line.

    path: .csv; or .parquet, which `finish` writes from the .csv beside it. A line that a kill cut short is dropped.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self.path = None if path is None else Path(path)
        self._csv: Path | None = None
        rows: list[dict[str, Any]] = []
        if self.path is not None:
            _check_suffix(self.path)
            check_writable(self.path.parent)
            self._csv = self.path.with_suffix(".csv")
            rows = self._open(self._csv)
        self.rows = {tuple(row[name] for name in KEY): row for row in rows}

    def has(self, patient: str, test_set: str, method: str, case: int, setup: str) -> bool:
        """Whether the case was measured; raises XrcoreError if by another setup under the same names."""
        row = self.rows.get((patient, test_set, method, case))
        if row is not None and row["setup"] != setup:
            raise XrcoreError(
                f"{self.path}: its rows of method {method!r} on test set {test_set!r}, patient {patient}, are of other settings; "
                "choose another file, or other names"
            )
        return row is not None

    def append(self, row: dict[str, Any]) -> None:
        """Keep a row, on disk before this returns."""
        if self._csv is not None:
            self._write(self._csv, _line(row), os.O_APPEND)
        self.rows[tuple(row[name] for name in KEY)] = row

    def finish(self) -> pd.DataFrame:
        """The table in an order of its own, whatever order the rows came in."""
        frame = as_frame(list(self.rows.values()))
        if self.path is not None and self.path.suffix == ".parquet":
            with atomic_file(self.path) as temporary:
                frame.to_parquet(temporary, engine="pyarrow", index=False)
        return frame

    def _open(self, path: Path) -> list[dict[str, Any]]:
        rows, whole = _read(path) if path.exists() else ([], 0)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if whole == 0:
                self._write(path, _HEADER, os.O_TRUNC)
            elif whole < path.stat().st_size:
                os.truncate(path, whole)  # or the next row would go on where the torn line ends
        except OSError as error:
            raise XrcoreError(f"{path}: cannot be written ({error.strerror or error})") from None
        return rows

    def _write(self, path: Path, text: str, flag: int) -> None:
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


def read_table(path: str | os.PathLike[str]) -> pd.DataFrame:
    """The table that `run` wrote, finished or not; raises XrcoreError for what is not one."""
    path = Path(path)
    _check_suffix(path)
    if not path.exists():
        raise XrcoreError(f"{path}: there is no such table")
    if path.suffix == ".parquet":
        return pd.read_parquet(path, engine="pyarrow")
    return as_frame(_read(path)[0])


def as_frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Rows as a data frame with the types of COLUMNS, sorted by KEY."""
    columns = {name: pd.Series([row[name] for row in rows], dtype=kind) for name, kind in COLUMNS.items()}
    return pd.DataFrame(columns).sort_values(list(KEY), ignore_index=True)


def _check_suffix(path: Path) -> None:
    if path.suffix not in (".csv", ".parquet"):
        raise XrcoreError(f"{path}: a table's name ends in .csv or .parquet")
    if path.suffix == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise XrcoreError(f"{path}: parquet needs pyarrow, which is not installed; install it, or let the name end in .csv")


def _line(row: dict[str, Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow([_text(row[name]) for name in COLUMNS])
    return text.getvalue()


def _text(value: Any) -> str:
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return ""
    return " ".join(value.split()) if isinstance(value, str) else repr(value)  # repr gives a float back as it was


def _read(path: Path) -> tuple[list[dict[str, Any]], int]:
    """Rows, and how many bytes from the beginning hold whole lines."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise XrcoreError(f"{path}: cannot be read ({error.strerror or error})") from None
    lines = data[: data.rfind(b"\n") + 1].splitlines(keepends=True)
    if not lines and not _HEADER.encode().startswith(data):
        lines = [data]
    if not lines:
        return [], 0
    if lines[0] != _HEADER.encode():
        raise XrcoreError(f"{path}: is not a table of this version; choose another file")
    rows, whole = [], len(lines[0])
    for number, line in enumerate(lines[1:], 2):
        try:
            rows.append(_parsed(line.decode()))
        except ValueError:
            if number == len(lines):  # a crash of the machine can leave a whole line of nothing
                break
            raise XrcoreError(f"{path}: line {number} is broken; remove it, and its case is measured again") from None
        whole += len(line)
    return rows, whole


def _parsed(line: str) -> dict[str, Any]:
    (texts,) = csv.reader([line])
    return {name: _value(text, kind) for (name, kind), text in zip(COLUMNS.items(), texts, strict=True)}


def _value(text: str, kind: str) -> Any:
    if kind == "str":
        return text
    if kind == "float64":
        return float(text) if text else math.nan
    if not text and kind != "int64":
        return None
    if kind == "boolean":
        if text not in _BOOLEANS:
            raise ValueError(text)
        return _BOOLEANS[text]
    return int(text)
