"""Read the X-rays of one instant as views of a calibrated system."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import torch

from xrcore._util.errors import XrcoreError, is_whole, naming, require
from xrcore._util.input_files import checked_paths
from xrcore.geometry import CArm, rigid
from xrcore.registration.view import View
from xrcore.xray.reading import read_xray, read_xray_as_stored
from xrcore.xray.rig_file import read_rig

ANGLES = "angles"


def read_views(
    xrays: Sequence[str | os.PathLike[str]],
    rig: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    carm: CArm | str | os.PathLike[str] | None = None,
    detector: str | None = None,
    frame: int | None = None,
) -> list[View]:
    """Read X-rays of one instant, and where their cameras stood.

    Parameters
    ----------
    xrays : sequence of path
        DICOM, TIFF or PNG, one for each camera.
    rig : path or sequence of path
        A rig.yaml (see `read_rig`); a MayaCam 2.0 calibration for each camera, as XMALab and Autoscoper write it; or "angles": DICOM
        files of one C-arm that turned about its isocentre, or of a biplane system with one isocentre, whose angles say it; or CT
        localizers of one frame of reference, whose tags do.
    carm : CArm or path, optional
        As for `read_xray`, for all of them: what the tags leave out; with "angles" only.
    detector : str, optional
        As for `read_xray`; with "angles" only.
    frame : int, optional
        Of multi-frame files, counted from 0.

    Returns
    -------
    list of View
        In the order of the X-rays.

    Raises
    ------
    XrcoreError
        If there are not as many cameras as X-rays, or a file cannot be read.
    """
    require("read_views", "xrays", xrays, not isinstance(xrays, (str, os.PathLike)), "a list of paths")
    paths = [Path(path) for path in checked_paths("read_views", "xrays", xrays)]
    require("read_views", "frame", frame, frame is None or is_whole(frame), "a whole number, or None")
    real = [os.path.realpath(path) for path in paths]
    if twice := [path for path, own in zip(paths, real, strict=True) if real.count(own) > 1]:
        raise XrcoreError(f"{twice[0]}: given for two cameras; each has its own X-ray")
    files = checked_paths("read_views", "rig", rig)
    if rig == ANGLES:
        return _in_one_space([_by_angles(path, carm, detector, frame) for path in paths])
    if detector is not None:
        raise XrcoreError("read_views: detector is for rig='angles'; a rig's cameras say where they stand")
    if carm is not None:
        raise XrcoreError("read_views: carm is for rig='angles'; a rig holds each camera's geometry")
    cameras = [camera for file in files for camera in read_rig(file)]
    if len(cameras) != len(xrays):
        raise XrcoreError(f"{', '.join(map(str, files))}: {len(cameras)} cameras for {len(paths)} X-rays")
    views = []
    for path, camera in zip(paths, cameras, strict=True):
        with naming(str(path)):
            xray = read_xray_as_stored(path, camera.file, frame)
        try:
            views.append(View(xray=xray, camera_from_rig=torch.tensor(camera.camera_from_rig, dtype=torch.float64)))
        except XrcoreError as error:
            raise XrcoreError(f"{camera.file.path}: {str(error).removeprefix('View: ')}") from None
    return views


def _in_one_space(views: list[View]) -> list[View]:
    """The views; raises XrcoreError where some are localizers that do not share their space with all others."""
    spaces = {(view.xray.world_from_camera is not None, view.xray.frame_of_reference) for view in views}
    if len(spaces) > 1:
        raise XrcoreError("read_views: CT localizers of different frames of reference, or beside other X-rays; give a rig.yaml")
    return views


def _by_angles(path: Path, carm: CArm | str | os.PathLike[str] | None, detector: str | None, frame: int | None) -> View:
    xray = read_xray(path, carm, detector=detector, frame=frame)
    if xray.pose is None:
        raise XrcoreError(f"{path}: holds no angles of the C-arm, so that the rig is not known; give a rig.yaml")
    if xray.world_from_camera is not None:
        return View(xray=xray, camera_from_rig=rigid.invert(xray.world_from_camera))
    # the rig's frame is the zero pose's, its origin the isocentre
    placed = xray.pose.camera_from_world(xray.carm, torch.zeros(3, dtype=torch.float64))[0]
    return View(xray=xray, camera_from_rig=placed)
