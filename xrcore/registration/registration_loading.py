"""Read a registration from its files."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from xrcore._util.errors import XrcoreError
from xrcore._util.input_files import check_file, checked_path
from xrcore._util.text_files import read_json
from xrcore.geometry import Pose
from xrcore.geometry.pose import NAMES
from xrcore.geometry.slot_scan import geometry_from_dict
from xrcore.registration.calibration import Calibration
from xrcore.registration.events import Step, StopReason
from xrcore.registration.registration_files import FILES, check_files, files_of
from xrcore.registration.result import Evidence, Registration
from xrcore.registration.view import View
from xrcore.xray.image import Xray
from xrcore.xray.raster import read_raster


def load_registration(folder: str | os.PathLike[str]) -> Registration:
    """Read registration.json and the X-rays beside it; raises XrcoreError, naming the file, for what is damaged or missing."""
    path = checked_path("Registration.load", folder) / FILES[0]
    record = read_json(path)
    if not isinstance(record, dict) or not {"pose", "stop_reason"} <= record.keys():
        raise XrcoreError(f"{path}: not the record of a registration")
    if not isinstance(record.get("views"), list) or not record["views"]:
        raise XrcoreError(f"{path}: names no X-rays: written by an older version; register again, or read its pose alone")
    check_files(path, record.get("files"))
    names = files_of(len(record["views"]))[3::3]
    try:
        views = tuple(_view(path.parent / name, view) for name, view in zip(names, record["views"], strict=True))
        result = _registration(record, views)
        _check_places(record, result)
        return result
    except XrcoreError:
        raise
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise XrcoreError(f"{path}: the record is damaged ({' '.join(str(error).split())})") from None


def _check_places(record: dict[str, Any], result: Registration) -> None:
    """Raise ValueError where poses and cameras do not put the body where the record's matrices do, as after an edit by hand."""
    for number, (view, pose) in enumerate(zip(result.views, result.poses(), strict=True), 1):
        said = _matrix(record["views"][number - 1]["camera_from_world"], 4)
        if not torch.allclose(pose.camera_from_world(view.carm, result.isocenter)[0], said, atol=1e-3):
            raise ValueError(f"pose, carm and isocenter do not give the camera_from_world of view {number}")


def _view(path: Path, record: dict[str, Any]) -> View:
    check_file(path)
    values = np.asarray(read_raster(path)[0], dtype=np.float32)
    seen = np.isfinite(values)
    image, mask = torch.from_numpy(np.where(seen, values, 0.0)), torch.from_numpy(seen)
    try:
        xray = Xray(image=image, mask=mask, carm=geometry_from_dict(record["carm"]), bone_bright=True)
        return View(xray=xray, camera_from_rig=record["camera_from_rig"])
    except XrcoreError as error:
        raise XrcoreError(f"{path}: {error}") from None


def _registration(record: dict[str, Any], views: tuple[View, ...]) -> Registration:
    evidence = record["evidence"]
    return Registration(
        pose=_pose(record["pose"]),
        similarity=_number(record["similarity"], math.nan),
        covariance=None if record["covariance"] is None else _matrix(record["covariance"]),
        stop_reason=StopReason(record["stop_reason"]),
        initial=_pose(record["initial_pose"]),
        method=str(record["method"]),
        similarity_name=str(record["similarity_name"]),
        evaluations=int(record["evaluations"]),
        views=views,
        isocenter=torch.tensor(record["isocenter"], dtype=torch.float64).reshape(3),
        seconds=float(record["seconds"]),
        history=tuple(
            Step(level=int(step["level"]), pose=Pose(step["pose"]), similarity=_number(step["similarity"], math.nan))
            for step in record["history"]
        ),
        inverted=record["inverted"] is True,
        attempts=int(record["attempts"]),
        evidence=None if evidence is None else _evidence(**evidence),
        confidence=_share(record["confidence"]),
        trusted=record["trusted"] is True,
        reasons=tuple(map(str, record["reasons"])),
        notes=tuple(map(str, record["notes"])),
        stages={str(name): float(seconds) for name, seconds in record["stages"].items()},
        device=str(record["device"]),
        calibration=None if record.get("calibration") is None else _calibration(**record["calibration"]),
    )


def _evidence(view: int | None, **measures: float | None) -> Evidence:
    return Evidence(**{name: _number(value, math.inf) for name, value in measures.items()}, view=view)


def _calibration(names: list[str], covariance: list[list[float | None]], **numbers: list[float]) -> Calibration:
    given, found, prior = (tuple(map(float, numbers[name])) for name in ("given", "found", "prior"))
    if not len(names) == len(given) == len(found) == len(prior):
        raise ValueError("a calibration names each number once")
    return Calibration(tuple(map(str, names)), given, found, prior, _matrix(covariance, 6 + len(names)))


def _pose(numbers: dict[str, float]) -> Pose:
    return Pose([numbers[name] for name in NAMES])


def _number(value: float | None, unknown: float) -> float:
    """A number; JSON has null where it was not finite."""
    return unknown if value is None else float(value)


def _share(value: float) -> float:
    if not 0 <= float(value) <= 1:
        raise ValueError(f"confidence {value}")
    return float(value)


def _matrix(rows: list[list[float | None]], size: int = 6) -> Float[Tensor, "n n"]:
    return torch.tensor([[_number(value, math.inf) for value in row] for row in rows], dtype=torch.float64).reshape(size, size)
