"""Write a registration as registration.json with a transform, a picture and the X-ray beside, and read a pose from a file."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from xrcore._util.atomic import atomic_folder
from xrcore._util.conversion import as_numbers
from xrcore._util.errors import XrcoreError, is_number, require, shown
from xrcore._util.hashes import file_sha256
from xrcore._util.machine import package_versions
from xrcore._util.pose_text import named_view, pose_file
from xrcore._util.text_files import read_json
from xrcore.beam import Beam
from xrcore.ct import Volume
from xrcore.geometry import CArm, Pose
from xrcore.geometry.pose import NAMES
from xrcore.registration.pictures import save_overlay
from xrcore.registration.result import Registration
from xrcore.xray.writing import write_float_tiff

FILES = ("registration.json", "camera_from_ct.tfm", "overlay.png", "registered_xray.tif")
OF_FURTHER_VIEWS = r"camera_\d+_from_ct\.tfm|overlay_\d+\.png|registered_xray_\d+\.tif"
_DEPENDENCIES = ("numba", "numpy", "SimpleITK", "torch")
_LARGEST_FILE = 1_000_000  # bytes, of a pose file


def write_registration(
    folder: str | os.PathLike[str],
    result: Registration,
    volume: Volume | None = None,
    beam: Beam | None = None,
    *,
    inputs: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
) -> None:
    """Write registration.json and the files it names, or nothing: where registration.json is, the others are its own.

    These are the transform camera_from_ct.tfm, the picture overlay.png and registered_xray.tif, the X-ray as it was registered, NaN
    outside its mask. Of several views each has three, from the second on with its number: camera_2_from_ct.tfm, overlay_2.png.

    Parameters
    ----------
    folder : path
        Made if it does not exist.
    result : Registration
        What was found; of its X-rays, which are bone bright, the pictures are made.
    volume : Volume, optional
        What was registered, for a picture of DRR and X-ray; without it the picture is the one that a notebook shows.
    beam : Beam, optional
        The one assumed; default 90 kV.
    inputs, options : dict, optional
        What was registered, such as the fingerprint of each file; and how. Both only go into registration.json.

    Raises
    ------
    XrcoreError
        If the folder cannot be written.
    """
    require("write_registration", "result", result, isinstance(result, Registration), "a Registration, such as register gives")
    record = to_record(result, inputs=inputs, options=options)
    names = files_of(len(result.views))
    with atomic_folder(folder, record=FILES[0], own=OF_FURTHER_VIEWS) as temporary:
        for number, (view, pose) in enumerate(zip(result.views, result.poses(), strict=True)):
            transform, picture, xray = names[1 + 3 * number : 4 + 3 * number]
            matrix = pose.camera_from_world(view.carm, result.isocenter)[0]
            (temporary / transform).write_text(itk_text(matrix), encoding="ascii")
            save_overlay(temporary / picture, result, volume, beam, number)
            seen = view.xray.to("cpu")
            write_float_tiff(temporary / xray, seen.image.where(seen.mask, math.nan).numpy())
        record["files"] = {name: file_sha256(temporary / name) for name in names[1:]}
        (temporary / FILES[0]).write_text(to_json(record), encoding="utf-8")


def files_of(views: int) -> tuple[str, ...]:
    """Name the files of a registration, registration.json first.

    Parameters
    ----------
    views : int
        Of how many views.

    Returns
    -------
    tuple of str
        Names.
    """
    more = [(f"camera_{number}_from_ct.tfm", f"overlay_{number}.png", f"registered_xray_{number}.tif") for number in range(2, views + 1)]
    return (*FILES, *(name for own in more for name in own))


def _views_record(result: Registration) -> list[dict[str, Any]]:
    """Where each view's camera stands, and the body as it sees it."""
    return [
        {
            "pose": pose.to_dict(),
            "camera_from_world": pose.camera_from_world(view.carm, result.isocenter)[0].tolist(),
            "camera_from_rig": view.camera_from_rig.tolist(),
            "carm": view.carm.to_dict(),
        }
        for view, pose in zip(result.views, result.poses(), strict=True)
    ]


def itk_text(matrix: Float[Tensor, "4 4"]) -> str:
    """What ITK writes for a rigid transform, the CT (LPS, mm) into the camera frame; ITK itself cannot open every path."""
    numbers = matrix[:3, :3].flatten().tolist() + matrix[:3, 3].tolist()
    lines = ["#Insight Transform File V1.0", "#Transform 0", "Transform: AffineTransform_double_3_3"]
    lines += [f"Parameters: {' '.join(map(repr, numbers))}", "FixedParameters: 0.0 0.0 0.0"]
    return "\n".join(lines) + "\n"


def to_record(
    result: Registration,
    *,
    inputs: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What registration.json holds.

    Degrees, mm and seconds; LPS world; matrices by rows; camera_from_world as in `Pose`.

    Parameters
    ----------
    result : Registration
        What was found.
    inputs, options : dict, optional
        What was registered, and how.

    Returns
    -------
    dict
        For `to_json`.
    """
    deviation, carm, isocenter = result.standard_deviation, result.xray.carm, result.isocenter
    return {
        "pose": result.pose.to_dict(),
        "confidence": float(result.confidence),
        "trusted": bool(result.trusted),
        "reasons": list(result.reasons),
        "evidence": vars(result.evidence) if result.evidence else None,
        "similarity": float(result.similarity),
        "similarity_name": result.similarity_name,
        "stop_reason": result.stop_reason,
        "standard_deviation": None if deviation is None else dict(zip(NAMES, deviation, strict=True)),
        "covariance": None if result.covariance is None else result.covariance.tolist(),
        "calibration": None if result.calibration is None else result.calibration.to_dict(),
        "camera_from_world": result.pose.camera_from_world(carm, isocenter)[0].tolist(),
        "world_from_camera": result.pose.world_from_camera(carm, isocenter)[0].tolist(),
        "isocenter": isocenter.tolist(),
        "carm": carm.to_dict(),
        "views": _views_record(result),
        "initial_pose": result.initial.to_dict(),
        "inverted": bool(result.inverted),
        "method": result.method,
        "device": result.device,
        "seconds": float(result.seconds),
        "stages": {name: float(seconds) for name, seconds in result.stages.items()},
        "evaluations": int(result.evaluations),
        "attempts": int(result.attempts),
        "history": [{"level": step.level, "pose": step.pose.numbers[0].tolist(), "similarity": step.similarity} for step in result.history],
        "notes": list(result.notes),
        "inputs": dict(inputs or {}),
        "options": dict(options or {}),
        "versions": package_versions(*_DEPENDENCIES),
    }


def to_json(record: Mapping[str, Any]) -> str:
    """Indented JSON with each row of numbers on one line.

    Parameters
    ----------
    record : dict
        Of what JSON knows.

    Returns
    -------
    str
        What is not finite has become null.
    """
    text = json.dumps(_finite(record), indent=2, ensure_ascii=False, allow_nan=False)
    text = text.encode("utf-8", "backslashreplace").decode()  # bytes of a path that are not UTF-8, as JSON's own escapes
    number = r"-?\d[\d.eE+-]*"
    return re.sub(rf"\[\n\s*({number}(?:,\n\s*{number})*)\n\s*\]", lambda m: "[" + re.sub(r",\s+", ", ", m[1]) + "]", text) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_pose(text: str, carm: CArm, isocenter: Float[Tensor, "3"]) -> Pose:
    """A pose as people give it: a view by name, six numbers, or a JSON file.

    The file is a registration.json, or holds the six numbers by name, as a list, or as a 4x4 `camera_from_world`. Numbers from
    a registration.json whose isocentre or distance was another are carried over by its `camera_from_world`; what lies beside it must be
    what was written with it.

    Parameters
    ----------
    text : str
        A view such as "lateral" (of `docs/conventions.md`), "rx,ry,rz,tx,ty,tz" [deg, mm], or the path of a JSON file.
    carm : CArm
        The camera.
    isocenter : Float[Tensor, "3"]
        Of the CT [mm].

    Returns
    -------
    Pose
        One.

    Raises
    ------
    XrcoreError
        Saying what is missing.
    """
    if (named := named_view(text)) is not None:
        return Pose(named)
    path = pose_file(text)
    if path is None:
        return _six([_number(value) for value in text.split(",")], f"pose {shown(text)}")
    content = read_json(path, _LARGEST_FILE)
    if isinstance(content, list):
        return _six(content, str(path))
    if not isinstance(content, dict):
        raise XrcoreError(f"{path}: expected six numbers, or an object with a pose")
    check_files(path, content.get("files", {}))
    numbers = content.get("pose", content)
    if isinstance(numbers, dict) and set(NAMES) <= numbers.keys():
        numbers = [numbers[name] for name in NAMES]
    elsewhere = isinstance(numbers, list) and _elsewhere(content, carm, isocenter, path)
    if isinstance(numbers, list) and not elsewhere:
        return _six(numbers, str(path))
    if "camera_from_world" in content:
        return _of_matrix(content["camera_from_world"], carm, isocenter, path)
    if elsewhere:
        raise XrcoreError(f"{path}: its pose counts from another isocentre or distance, and it holds no camera_from_world to carry it over")
    raise XrcoreError(f"{path}: holds no pose; expected {', '.join(NAMES)} or camera_from_world")


def check_files(path: Path, hashes: Any) -> None:
    """Raise XrcoreError where a file beside a registration.json is not the one that it names by its hash; one that is missing may be."""
    known = isinstance(hashes, dict) and set(hashes) <= set(files_of(1 + len(hashes))[1:])
    if not (known and all(isinstance(digits, str) for digits in hashes.values())):
        raise XrcoreError(f"{path}: files must name {', '.join(FILES[1:])} with their sha256; the file is damaged")
    for name, digits in hashes.items():
        beside = path.parent / name
        if os.path.lexists(beside) and file_sha256(beside) != digits:
            raise XrcoreError(f"{beside}: not the file that was written with {path.name}: of another registration, or changed since")


def _elsewhere(content: dict[str, Any], carm: CArm, isocenter: Float[Tensor, "3"], path: Path) -> bool:
    """Whether the file's six numbers count from another isocentre or another distance."""
    if not {"isocenter", "carm"} <= content.keys():
        return False
    there = as_numbers(content["isocenter"], 3)
    distance = content["carm"].get("source_to_isocenter") if isinstance(content["carm"], dict) else None
    if there is None or not is_number(distance):
        raise XrcoreError(f"{path}: isocenter must be three numbers and carm hold source_to_isocenter; the file is damaged")
    away = (torch.tensor(there, dtype=torch.float64) - isocenter).abs().max()
    return bool(away > 1e-3 or abs(distance - carm.source_to_isocenter) > 1e-3)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _six(values: Any, where: str) -> Pose:
    numbers = as_numbers(values, 6)
    if numbers is None:
        raise XrcoreError(f"{where}: a pose is six finite numbers, {', '.join(NAMES)}")
    try:
        return Pose(numbers)
    except XrcoreError as error:
        raise XrcoreError(f"{where}: {error}") from None


def _of_matrix(rows: Any, carm: CArm, isocenter: Float[Tensor, "3"], path: Path) -> Pose:
    try:
        matrix = torch.tensor(rows, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        matrix = torch.empty(0)
    if matrix.shape != (4, 4):
        raise XrcoreError(f"{path}: camera_from_world must be a 4x4 matrix")
    try:
        return Pose.from_camera_from_world(matrix, carm, isocenter)
    except XrcoreError as error:
        raise XrcoreError(f"{path}: {error}") from None
