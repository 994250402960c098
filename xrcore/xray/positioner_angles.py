"""DICOM's positioner angles and patient orientation <-> Pose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from numpy import ndarray
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from xrcore._util.errors import XrcoreError
from xrcore.ct.dicom_tags import number, numbers, tag, text
from xrcore.geometry import CArm, Pose

DETECTOR = ("anterior", "posterior")
_LPS = "RLAPFH"  # DICOM's letters for -x, +x, -y, +y, -z, +z


def stored_angles(tags: Dataset, frame: int, frames: int, path: Path, notes: list[str]) -> tuple[float, float] | None:
    """Primary and secondary angle of a frame [deg] as the file counts them, None if it has neither.

    Of a run in which the positioner moves, increments are the differences to the first frame's angle, or one average change from frame to
    frame (PS3.3 C.8.7.5.1.3). Raises XrcoreError for numbers that are no angles.
    """
    found = [number(tags, f"Positioner{which}Angle", path) for which in ("Primary", "Secondary")]
    if found == [None, None]:
        return None
    if text(tags, "PositionerType").upper() not in ("", "CARM", "COLUMN", "NONE", "RIGID") or text(tags, "Modality") == "MG":
        notes.append(f"positioner angles are not used: they count otherwise for {tag('PositionerType')} {text(tags, 'PositionerType')}")
        return None
    if None in found:
        missing, known = ("Secondary", "Primary") if found[1] is None else ("Primary", "Secondary")
        notes.append(f"there is no {tag(f'Positioner{missing}Angle')} beside {tag(f'Positioner{known}Angle')}; it is taken as 0")
    angles = [0.0, 0.0]
    for k, which in enumerate(("Primary", "Secondary")):
        keyword = f"Positioner{which}Angle"
        steps = numbers(tags, f"{keyword}Increment", None, path) or [0.0]
        if text(tags, "PositionerMotion").upper() == "STATIC" and any(steps):
            notes.append(f"{tag(f'{keyword}Increment')} is not used: {tag('PositionerMotion')} is STATIC")
            steps = [0.0]
        if len(steps) not in (1, frames):
            raise XrcoreError(f"{path}: {tag(f'{keyword}Increment')} holds {len(steps)} values for {frames} frames")
        angles[k] = (found[k] or 0.0) + (steps[frame] if len(steps) > 1 else frame * steps[0])
        if not abs(angles[k]) <= 360:
            raise XrcoreError(f"{path}: {tag(keyword)} of frame {frame} is {angles[k]:g}, not an angle in degrees")
    return angles[0], angles[1]


def pose_from_angles(angles: tuple[float, float], detector: str, carm: CArm) -> Pose | None:
    """The pose of positioner angles (primary, secondary) [deg], centred on the isocentre.

    detector: the side where angles are zero. "anterior" is DICOM's (PS3.3 C.8.7.5.1.2: 0 in front of the patient, primary to the left
    positive, secondary to the head positive); there the pose looks along n = (sin P cos S, -cos P cos S, sin S) in LPS, with the image's
    rows as inferior as they can be. None along the patient's axis, where that says nothing. "posterior" is xrcore's own count: ry and rx.
    """
    primary, secondary = angles
    if detector == "posterior":
        return Pose(ry=primary, rx=secondary)
    p, s = np.deg2rad([primary, secondary])
    z = np.array([np.sin(p) * np.cos(s), -np.cos(p) * np.cos(s), np.sin(s)])
    y = np.array([0.0, 0.0, -1.0]) + z[2] * z
    if np.linalg.norm(y) < 1e-4:
        return None
    y /= np.linalg.norm(y)
    return _pose(np.stack([np.cross(y, z), y, z], 1), carm)


def angles_from_pose(pose: Pose, carm: CArm) -> tuple[float, float]:
    """DICOM's primary and secondary angle [deg] of the direction in which a pose looks."""
    x, y, z = axes_of(pose, carm)[:, 2]
    return float(np.rad2deg(np.arctan2(x, -y))), float(np.rad2deg(np.arcsin(np.clip(z, -1, 1))))


def oriented(tags: Dataset, pose: Pose, detector: str, carm: CArm, notes: list[str]) -> tuple[Pose, tuple[bool, bool]]:
    """The pose with the roll of the stored image, and whether its rows and columns must be flipped (up-down, left-right) to fit.

    PatientOrientation says it where it fits the direction of the beam. Otherwise images from an anterior detector are stored as shown, the
    patient's right on the left: the mirror of what the camera behind the patient sees.
    """
    letters = tags.get("PatientOrientation")
    wanted = [letter_direction(str(v)) for v in letters] if isinstance(letters, MultiValue) else []
    default = pose, (False, detector == "anterior")
    if len(wanted) != 2 or wanted[0] is None or wanted[1] is None:
        shown = "as shown, the patient's right on the left" if detector == "anterior" else "as the pose sees it"
        notes.append(f"no {tag('PatientOrientation')} of two directions: the image is taken {shown}")
        return default
    axes = axes_of(pose, carm)
    along = np.stack([wanted[0], wanted[1]]) @ axes[:, :2]  # rows: the image's columns and rows; columns: the camera's x and y
    if min(abs(along[0, 0]), abs(along[1, 1])) > 0.5:
        return pose, (bool(along[1, 1] < 0), bool(along[0, 0] < 0))
    if min(abs(along[0, 1]), abs(along[1, 0])) > 0.5:
        down = along[1, 0] > 0
        turned = axes @ np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1]] if down else [[0, -1, 0], [1, 0, 0], [0, 0, 1]])
        return _pose(turned, carm), (False, bool((along[0, 1] > 0) == down))
    notes.append(f"{tag('PatientOrientation')} {letters[0]}\\{letters[1]} contradicts the positioner angles, which are used")
    return default


def axes_of(pose: Pose, carm: CArm) -> Float64[ndarray, "3 3"]:
    """The camera's axes in LPS, in columns."""
    return pose.world_from_camera(carm, torch.zeros(3))[0, :3, :3].double().numpy()


def _pose(axes: Float64[ndarray, "3 3"], carm: CArm) -> Pose:
    matrix = np.eye(4)
    matrix[:3, :3] = axes
    matrix[:3, 3] = -carm.source_to_isocenter * axes[:, 2]
    return Pose.from_world_from_camera(torch.from_numpy(matrix), carm, torch.zeros(3))


def axis_letter(direction: Any) -> str:
    """DICOM's letter of the patient axis nearest to an LPS direction."""
    vector = np.asarray(direction, dtype=float)
    axis = int(np.abs(vector).argmax())
    return _LPS[2 * axis + int(vector[axis] > 0)]


def letter_direction(letters: str) -> Float64[ndarray, " three"] | None:
    """LPS direction of the first of DICOM's letters, such as "LH"; None if it is not one."""
    index = _LPS.find(letters[:1].upper()) if letters else -1
    if index < 0:
        return None
    direction = np.zeros(3)
    direction[index // 2] = 2 * (index % 2) - 1
    return direction
