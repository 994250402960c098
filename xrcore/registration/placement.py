"""Where a registered camera stands in the CT's space, and how certain the places are at which it draws points."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from xrcore._util.errors import XrcoreError, is_whole, require
from xrcore._util.text_files import read_json
from xrcore.ct.volume import Volume
from xrcore.geometry import CArm, Pose, rigid
from xrcore.geometry.pose import require_one_pose
from xrcore.registration.registration_files import FILES, read_pose
from xrcore.registration.result import Registration
from xrcore.xray.image import Xray


@dataclass(frozen=True, kw_only=True, eq=False)
class Placement:
    """A registered camera.

    Parameters
    ----------
    pose : Pose
        Of the first view.
    carm : CArm
        The first view's.
    isocenter : Float[Tensor, "3"]
        From which the pose counts, LPS [mm].
    view_carm : CArm
        That of the view itself, which for one X-ray is `carm`.
    camera_from_first : Float[Tensor, "4 4"]
        From the first view's camera frame into the view's own [mm].
    covariance : Float[Tensor, "6 6"] or None
        Of the pose [deg, mm].
    trusted : bool or None
        The registration's verdict; None where nobody judged.
    xray : Xray or None
        As it was registered, bone bright.
    calibrated : bool
        Whether `view_carm` was found with the pose.
    """

    pose: Pose
    carm: CArm
    isocenter: Float[Tensor, "3"]
    view_carm: CArm
    camera_from_first: Float[Tensor, "4 4"]
    covariance: Float[Tensor, "6 6"] | None = None
    trusted: bool | None = None
    xray: Xray | None = None
    calibrated: bool = False

    @property
    def camera_from_world(self) -> Float[Tensor, "4 4"]:
        """LPS [mm] into the view's camera frame."""
        return self.camera_from_first @ self.pose.camera_from_world(self.carm, self.isocenter)[0]

    def project(self, points: Float[Tensor, "n 3"], carm: CArm | None = None) -> Float[Tensor, "n 2"]:
        """Find the pixels at which points are drawn.

        Parameters
        ----------
        points : Float[Tensor, "n 3"]
            LPS [mm].
        carm : CArm, optional
            Of the image, which may be a part of the registered one, or have other pixels; default `view_carm`.

        Returns
        -------
        Float[Tensor, "n 2"]
            (row, col), not a number for points that are not before the source.
        """
        return self._projected(self.pose.numbers.double(), points, carm)

    def covariances(self, points: Float[Tensor, "n 3"], carm: CArm | None = None) -> Float[Tensor, "n 2 2"] | None:
        """Carry the pose's covariance over to where points are drawn.

        Parameters
        ----------
        points : Float[Tensor, "n 3"]
            LPS [mm].
        carm : CArm, optional
            As for `project`.

        Returns
        -------
        Float[Tensor, "n 2 2"] or None
            Of (row, col) [pixels^2]; None where the covariance is not known or not finite.
        """
        if self.covariance is None or not torch.isfinite(self.covariance).all():
            return None
        numbers = self.pose.numbers.double()
        units = torch.eye(6, dtype=torch.float64)

        def place(values: Tensor) -> Tensor:
            return self._projected(values, points, carm)

        by_number = torch.stack([torch.func.jvp(place, (numbers,), (unit[None],))[1] for unit in units], -1)  # type: ignore[misc]
        return by_number @ self.covariance.double() @ by_number.mT

    def image_carm(self, carm: CArm) -> CArm:
        """Find the geometry by which an image is drawn on, and refuse one that the registered geometry cannot be of.

        Parameters
        ----------
        carm : CArm
            The image's.

        Returns
        -------
        CArm
            The image's own; where intrinsics were found with the pose, the one that was found.

        Raises
        ------
        XrcoreError
            If it is of another kind or at another distance, or has as many pixels, but elsewhere.
        """
        own = self.view_carm
        if self.calibrated:
            if carm.shape != own.shape:
                raise XrcoreError("draw: the intrinsics were found with the pose; give the X-ray whole, as it was registered")
            return own
        near = abs(carm.source_to_detector / own.source_to_detector - 1) < 1e-3
        if type(carm) is not type(own) or not near:
            here, there = (f"{type(one).__name__} of source_to_detector {one.source_to_detector:g} mm" for one in (carm, own))
            raise XrcoreError(f"draw: the X-ray is of a {here}, and what was registered of a {there}; give the X-ray that was registered")
        apart = max(abs(a - b) for a, b in zip((*carm.center, *carm.spacing), (*own.center, *own.spacing), strict=True))
        if carm.shape == own.shape and apart > 0.05:
            raise XrcoreError("draw: the X-ray has the registered one's shape, but another pixel spacing or principal point; one is wrong")
        return carm

    def likeness(self, xray: Xray) -> float | None:
        """Compare an image with the one that was registered.

        Parameters
        ----------
        xray : Xray
            The image.

        Returns
        -------
        float or None
            Correlation of the two, negative for an inverted one; None where they have other pixels, or nothing was registered.
        """
        if self.xray is None or self.xray.image.shape != xray.image.shape:
            return None
        both = (self.xray.mask & xray.mask).cpu()
        if both.sum() < 2:
            return None
        return float(torch.corrcoef(torch.stack([self.xray.image.cpu()[both], xray.image.cpu()[both]]).double())[0, 1])

    def _projected(self, numbers: Tensor, points: Tensor, carm: CArm | None) -> Tensor:
        first = Pose(numbers).camera_from_world(self.carm, self.isocenter)[0]
        places = rigid.apply(self.camera_from_first @ first, points.double())
        pixels = (self.view_carm if carm is None else carm).project(places)
        return torch.where(places[:, 2:] > 0, pixels, torch.nan)


def placement_of(
    result: Registration | Pose | str | os.PathLike[str], carm: CArm, *, volume: Volume | None = None, view: int = 0
) -> Placement:
    """Find where a result puts the camera.

    Parameters
    ----------
    result : Registration or Pose or path
        What `register` returned; the folder that `xrcore register` wrote, or its registration.json; or a pose, or a file of one.
    carm : CArm
        The X-ray's.
    volume : Volume, optional
        The CT, which a bare pose needs: it counts from the isocentre.
    view : int
        Which of several views, counted from 0.

    Returns
    -------
    Placement
        Of that view.

    Raises
    ------
    XrcoreError
        If the isocentre is not known, there is no such view, or a file is damaged.
    """
    require("draw", "view", view, is_whole(view) and view >= 0, "a whole number, counted from 0")
    require("draw", "volume", volume, volume is None or isinstance(volume, Volume), "a Volume, such as read_ct gives")
    if isinstance(result, (str, os.PathLike)):
        result = _read(Path(result), carm, volume)
    kind = isinstance(result, (Registration, Pose))
    require("draw", "result", result, kind, "a Registration, the folder of one, or a Pose")
    placement = _of_pose(result, carm, volume) if isinstance(result, Pose) else _of_registration(result, view)
    placement.image_carm(carm)
    return placement


def registered_files(result: str | os.PathLike[str]) -> tuple[str, ...]:
    """Look up which X-rays were registered.

    Parameters
    ----------
    result : path
        The folder that `xrcore register` wrote, or its registration.json.

    Returns
    -------
    tuple of str
        SHA-256 of the file of each view; empty where that is not known.
    """
    read = _said(result, "inputs").get("xray")
    several = read if isinstance(read, list) else [read]
    return tuple(one["sha256"] for one in several if isinstance(one, dict) and isinstance(one.get("sha256"), str))


def other_inputs(result: str | os.PathLike[str], ct: Mapping[str, Any] | None, frame: int | None) -> tuple[str, ...]:
    """Say what of a CT and an X-ray's frame is not what was registered.

    Parameters
    ----------
    result : path
        As for `registered_files`.
    ct : dict, optional
        Fingerprint of the CT.
    frame : int, optional
        Of a multi-frame file.

    Returns
    -------
    tuple of str
        Remarks.
    """
    notes, registered, chosen = [], _said(result, "inputs").get("ct"), _said(result, "options").get("frame")
    if ct is not None and isinstance(registered, dict) and registered.get("sha256") != ct["sha256"]:
        notes.append(f"{ct['path']} is not the CT that was registered (its SHA-256 is another)")
    if frame is not None and is_whole(chosen or 0) and frame != (chosen or 0):
        notes.append(f"frame {frame} is not the one that was registered, {chosen or 0}")
    return tuple(notes)


def _said(result: str | os.PathLike[str], part: str) -> dict[str, Any]:
    """What a registration.json says of its inputs or options; nothing where it says none."""
    path = _record(Path(result))
    content = read_json(path) if path.is_file() else None
    said = content.get(part) if isinstance(content, dict) else None
    return said if isinstance(said, dict) else {}


def _record(path: Path) -> Path:
    return path / FILES[0] if path.is_dir() else path


def _read(path: Path, carm: CArm, volume: Volume | None) -> Registration | Pose:
    """A registration; or with a CT a pose, which any file that holds one says."""
    record = _record(path)
    if not path.exists():
        raise XrcoreError(f"{path}: no such file or folder")
    if record.name == FILES[0] and not record.is_file():
        raise XrcoreError(f"{record.parent}: holds no {FILES[0]}; give what xrcore register wrote")
    if record.name == FILES[0]:
        return Registration.load(record.parent)
    if volume is None:
        raise XrcoreError(f"{path}: says no isocentre; give the CT too, from whose isocentre a pose counts")
    return read_pose(str(path), carm, volume.isocenter)


def _of_registration(result: Registration, view: int) -> Placement:
    if view >= len(result.views):
        raise XrcoreError(f"draw: there is no view {view}; the registration is of {len(result.views)}, counted from 0")
    first, own = result.views[0], result.views[view]
    return Placement(
        pose=result.pose,
        carm=first.carm,
        isocenter=result.isocenter,
        view_carm=own.carm,
        camera_from_first=own.camera_from_rig @ rigid.invert(first.camera_from_rig),
        # of a calibrated one it is the pose's part alone, without what the intrinsics make up for
        covariance=None if result.calibration else result.covariance,
        trusted=None if result.evidence is None else result.trusted,
        xray=own.xray,
        calibrated=result.calibration is not None,
    )


def _of_pose(pose: Pose, carm: CArm, volume: Volume | None) -> Placement:
    require_one_pose("draw", "result", pose)
    if volume is None:
        raise XrcoreError("draw: a pose counts from a CT's isocentre; give the CT by volume=")
    same = torch.eye(4, dtype=torch.float64)
    return Placement(pose=pose, carm=carm, isocenter=volume.isocenter, view_carm=carm, camera_from_first=same)
