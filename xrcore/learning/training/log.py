"""The training log: a progress bar, and log.csv."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from tqdm import tqdm

from xrcore._util.atomic import atomic_file
from xrcore._util.errors import XrcoreError
from xrcore._util.text_files import read_bytes

CSV = "log.csv"
_LARGEST = 1 << 26  # bytes of it that are read
_TRAINING = ("training_mtre_mm", "training_success")
COLUMNS = (
    *("images", "seconds", "rendering_share", "learning_rate", "loss", "parts", "validation_mtre_mm", "validation_success"),
    *_TRAINING,
)


class Log:
    """Rows in a folder's log.csv, each appended when it is known, and a progress bar on stderr.

    Parameters
    ----------
    folder : Path, optional
        That exists; without one only the bar.
    total : int
        Images of the training.
    bar : bool
        Whether there is one.
    done : int
        Images at which a resumed training goes on; rows beyond are removed.
    """

    def __init__(self, folder: Path | None, total: int, *, bar: bool, done: int = 0) -> None:
        self.folder = folder
        self._bar = tqdm(total=total, initial=done, unit="img", disable=not bar, dynamic_ncols=True, mininterval=0.5)
        if folder is not None:
            kept = [row for row in read_log(folder) if int(row["images"]) <= done] if done else []
            with atomic_file(folder / CSV) as temporary:
                temporary.write_text(_lines(kept, header=True), encoding="utf-8", newline="")

    def advance(self, images: int, **shown: float) -> None:
        """Move the bar.

        Parameters
        ----------
        images : int
            Seen since the last call.
        **shown : float
            Values beside the bar.
        """
        self._bar.set_postfix({k: f"{v:.2f}" for k, v in shown.items()}, refresh=False)
        self._bar.update(images)

    def row(self, row: dict[str, Any]) -> None:
        """Write a row.

        Parameters
        ----------
        row : dict[str, Any]
            Values by column; a missing one stays empty.

        Raises
        ------
        XrcoreError
            If it cannot be written.
        """
        if self.folder is None:
            return
        try:
            with open(self.folder / CSV, "a", encoding="utf-8", newline="") as file:
                file.write(_lines([{k: _text(v) for k, v in row.items()}]))
        except OSError as error:
            raise XrcoreError(f"{self.folder / CSV}: cannot be written ({error.strerror or error})") from None

    def close(self) -> None:
        """End the bar."""
        self._bar.close()


def read_log(folder: Path) -> list[dict[str, str]]:
    """Read a training's log.csv.

    Parameters
    ----------
    folder : Path
        Of the training.

    Returns
    -------
    list of dict
        Rows; none where there is no log. What a kill left of a last line is left out, columns that came later are empty.
    """
    path = folder / CSV
    if not path.exists():
        return []
    text = read_bytes(path, _LARGEST).decode(errors="replace")
    reader = csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1]))
    missing = set(COLUMNS) - set(reader.fieldnames or ())
    if not missing <= set(_TRAINING) or not set(reader.fieldnames or ()) <= set(COLUMNS):
        return []
    rows = [row for row in reader if row["images"].isdigit() and None not in row and None not in row.values()]
    return [row | dict.fromkeys(missing, "") for row in rows]


def _lines(rows: list[dict[str, Any]], *, header: bool = False) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _text(value: Any) -> Any:
    if isinstance(value, dict):
        return " ".join(f"{k}={v:.4g}" for k, v in value.items())
    return f"{value:.6g}" if isinstance(value, float) else value
