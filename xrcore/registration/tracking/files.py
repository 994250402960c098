"""track.jsonl, a line a frame as it is found, and track.csv: written, read, and gone on with."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from xrcore._util.atomic import atomic_file, check_writable
from xrcore._util.conversion import as_numbers
from xrcore._util.errors import XrcoreError, is_number
from xrcore._util.input_files import checked_path
from xrcore._util.machine import package_versions
from xrcore._util.text_files import read_bytes
from xrcore.geometry import Pose, geometry_from_dict
from xrcore.geometry.pose import NAMES
from xrcore.registration.tracking.motion import Motion
from xrcore.registration.tracking.result import Track, TrackedFrame

FILES = ("track.jsonl", "track.csv")
SMOOTHED = "smoothed.csv"
_LARGEST = 1_000_000_000  # bytes
_COLUMNS = ("frame", "name", *NAMES, *(f"sd_{name}" for name in NAMES))
_VERDICT = ("trusted", "confidence", "checked", "searched", "similarity", "distance", "seconds", "reasons")


def write_track(folder: str | os.PathLike[str], track: Track) -> None:
    """See `Track.save`."""
    check_writable(folder, *FILES)
    with atomic_file(Path(folder) / FILES[0]) as temporary, temporary.open("w", encoding="utf-8") as file:
        for line in (header(track), *map(_row, track.frames)):
            file.write(_line(line))
    write_csv(Path(folder) / FILES[1], track)


def write_csv(path: Path, track: Track) -> None:
    """A row a frame: pose, standard deviations, verdict."""
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        table = csv.writer(file)
        table.writerow((*_COLUMNS, *_VERDICT))
        for number, frame in enumerate(track.frames):
            variances = [math.nan] * 6 if frame.covariance is None else frame.covariance.diagonal().clamp_min(0).tolist()
            numbers = [f"{value:.6g}" for value in (*frame.pose.numbers[0].tolist(), *map(math.sqrt, variances))]
            row = _row(frame)
            name = track.names[number] if number < len(track.names) else ""
            verdict = [f"{row[key]:.6g}" if isinstance(row[key], float) else row[key] for key in _VERDICT[:-1]]
            table.writerow((number, name, *numbers, *verdict, "; ".join(frame.reasons)))


def read_track(folder: str | os.PathLike[str]) -> Track:
    """See `Track.load`."""
    path = checked_path("Track.load", folder) / FILES[0]
    head, frames = _read(path)
    if not frames:
        raise XrcoreError(f"{path}: holds no frame yet")
    try:
        isocenter = as_numbers(head["isocenter"], 3)
        assert isocenter is not None
        return Track(
            frames=tuple(frames),
            carm=geometry_from_dict(head["carm"]),
            isocenter=torch.tensor(isocenter, dtype=torch.float64),
            motion=Motion(**head["motion"]),
            names=tuple(map(str, head.get("names", ()))),
        )
    except (KeyError, TypeError, AssertionError, ValueError):
        raise XrcoreError(f"{path}: its first line does not say what was tracked; the file is damaged") from None


def header(track: Track, **more: Any) -> dict[str, Any]:
    """First line of track.jsonl; more: what the command was given."""
    return {
        "carm": track.carm.to_dict(),
        "isocenter": torch.as_tensor(track.isocenter).tolist(),
        "motion": vars(track.motion),
        "names": list(track.names),
        "versions": package_versions("numpy", "torch"),
        **more,
    }


def known_frames(folder: Path, inputs: Mapping[str, Any]) -> list[TrackedFrame]:
    """Frames that an earlier run of the same inputs left; none where there was no run.

    Raises XrcoreError where the folder holds a track of other inputs.
    """
    path = folder / FILES[0]
    if not path.exists():
        return []
    head, frames = _read(path)
    if not frames:
        return []
    if head.get("inputs") != json.loads(json.dumps(inputs)):
        raise XrcoreError(f"{folder}: holds a track of other inputs or options; choose another --out, or remove {path.name}")
    if len(frames) > len(inputs["frames"]):
        raise XrcoreError(f"{path}: holds more frames than there are X-rays; the file is damaged")
    return frames


def appender(folder: Path, head: Mapping[str, Any], known: list[TrackedFrame], stale: Sequence[str] = ()) -> Callable[[TrackedFrame], None]:
    """A function that appends a frame to track.jsonl, on the disk when it returns; with the first, `known` is written before it.

    stale: files that are removed before the first is written.
    """
    path = folder / FILES[0]
    before: list[Mapping[str, Any]] = [head, *map(_row, known)]

    def append(frame: TrackedFrame) -> None:
        if before:
            for name in stale:
                (folder / name).unlink(missing_ok=True)
            with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
                file.writelines(map(_line, (*before, _row(frame))))
            before.clear()
            return
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(_line(_row(frame)))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise XrcoreError(f"{path}: cannot be written ({error.strerror or error})") from None

    return append


def _row(frame: TrackedFrame) -> dict[str, Any]:
    return {
        **vars(frame),
        "pose": frame.pose.numbers[0].tolist(),
        "covariance": None if frame.covariance is None else [[_text(v) for v in row] for row in frame.covariance.tolist()],
        "reasons": list(frame.reasons),
    }


def _text(value: float) -> float | str:
    """JSON has no infinity."""
    return value if math.isfinite(value) else str(value)


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=True, allow_nan=False) + "\n"


def _read(path: Path) -> tuple[dict[str, Any], list[TrackedFrame]]:
    """First line and frames; a last line that is not complete was being written when a run ended, and is left out."""
    lines = read_bytes(path, _LARGEST).decode("utf-8", "replace").split("\n")
    rows = []
    for number, line in enumerate(lines[:-1], 1):
        try:
            rows.append(json.loads(line))
        except (ValueError, RecursionError):
            raise XrcoreError(f"{path}: line {number} is damaged") from None
    if not rows or not isinstance(rows[0], dict):
        raise XrcoreError(f"{path}: holds no track")
    return rows[0], [_frame(row, f"{path}: line {number}") for number, row in enumerate(rows[1:], 2)]


def _frame(row: Any, where: str) -> TrackedFrame:
    try:
        covariance = (
            None if row["covariance"] is None else torch.tensor([[float(v) for v in r] for r in row["covariance"]], dtype=torch.float64)
        )
        numbers = {key: row[key] for key in ("similarity", "confidence", "distance", "seconds")}
        flags = {key: row[key] for key in ("trusted", "checked", "searched")}
        if not all(map(is_number, numbers.values())) or not all(isinstance(flag, bool) for flag in flags.values()):
            raise TypeError
        if covariance is not None and (covariance.shape != (6, 6) or covariance.isnan().any()):
            raise TypeError
        pose = as_numbers(row["pose"], 6)
        if pose is None:
            raise TypeError
        return TrackedFrame(pose=Pose(pose), covariance=covariance, reasons=tuple(map(str, row["reasons"])), **numbers, **flags)
    except (KeyError, TypeError, ValueError, OverflowError):
        raise XrcoreError(f"{where} is no frame of a track; the file is damaged") from None
