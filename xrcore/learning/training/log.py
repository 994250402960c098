"""What a training tells while it runs: a progress bar, log.csv and TensorBoard events."""

from __future__ import annotations

import csv
import io
from contextlib import suppress
from pathlib import Path
from typing import Any

from tqdm import tqdm

from xrcore._util.errors import XrcoreError

CSV = "log.csv"
_EVENTS = "events"
COLUMNS = ("images", "seconds", "rendering_share", "learning_rate", "loss", "parts", "validation_mtre_mm", "validation_success")


class Log:
    """Rows in `folder`/log.csv and events beside it, and a bar on stderr. Without a folder only the bar; without `bar` nothing."""

    def __init__(self, folder: Path | None, total: int, *, bar: bool, done: int = 0) -> None:
        self.folder = folder
        self._bar = tqdm(total=total, initial=done, unit="img", disable=not bar, dynamic_ncols=True, mininterval=0.5)
        self._writer: Any = None
        if folder is not None:
            kept = [row for row in read_log(folder) if int(row["images"]) <= done] if done else []
            self._write(kept, "w")
            self._writer = _event_writer(folder, done)

    def advance(self, images: int, **shown: float) -> None:
        """The bar alone."""
        self._bar.set_postfix({k: f"{v:.2f}" for k, v in shown.items()}, refresh=False)
        self._bar.update(images)

    def row(self, row: dict[str, Any]) -> None:
        """A line of the CSV and its events."""
        if self.folder is None:
            return
        parts = row.get("parts", {})
        self._write([{k: _text(v) for k, v in row.items()}], "a")
        if self._writer is not None:
            scalars = {k: v for k, v in row.items() if isinstance(v, float)} | {f"loss_{k}": v for k, v in parts.items()}
            try:
                for name, value in scalars.items():
                    self._writer.add_scalar(name, value, row["images"])
            except OSError as error:
                raise XrcoreError(f"{self.folder / _EVENTS}: cannot be written ({error.strerror or error})") from None

    def close(self) -> None:
        self._bar.close()
        if self._writer is not None:
            # events lost to a full disk are in the CSV or have been complained about
            with suppress(OSError):
                self._writer.close()

    def _write(self, rows: list[dict[str, Any]], mode: str) -> None:
        assert self.folder is not None
        text = io.StringIO()
        writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
        if mode == "w":
            writer.writeheader()
        writer.writerows(rows)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with open(self.folder / CSV, mode, encoding="utf-8", newline="") as file:
                file.write(text.getvalue())
        except OSError as error:
            raise XrcoreError(f"{self.folder / CSV}: cannot be written ({error.strerror or error})") from None


def read_log(folder: Path) -> list[dict[str, str]]:
    """Rows of a training's log.csv, [] where there is none; what a kill left of a last line is left out."""
    path = folder / CSV
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8", errors="replace")
    reader = csv.DictReader(io.StringIO(text[: text.rfind("\n") + 1]))
    if reader.fieldnames is None or set(reader.fieldnames) != set(COLUMNS):
        return []
    return [row for row in reader if row["images"].isdigit() and None not in row and None not in row.values()]


def _text(value: Any) -> Any:
    if isinstance(value, dict):
        return " ".join(f"{k}={v:.4g}" for k, v in value.items())
    return f"{value:.6g}" if isinstance(value, float) else value


def _event_writer(folder: Path, done: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:  # an installation without its dependencies
        return None
    try:
        return SummaryWriter(str(folder / _EVENTS), purge_step=done + 1 if done else None)
    except OSError as error:
        raise XrcoreError(f"{folder / _EVENTS}: cannot be written ({error.strerror or error})") from None
