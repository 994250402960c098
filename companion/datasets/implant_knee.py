"""Biplane fluoroscopy of a knee with a total knee replacement, and the CAD models of its components.

Reads the data set `knee-biplane`: 24 consecutive frame pairs, and the publishers' poses of the femoral component in the first
camera.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from companion.datasets.folders import existing_folder
from xrcore import View, Volume, XrcoreError, read_mesh, read_views
from xrcore.geometry import rigid
from xrcore.utilities import atomic_file, read_bytes

FRAMES = 24
COMPONENTS = {"femur": "femur0.stl", "tibia": "tibia0.stl"}
_SPACING = 0.5  # [mm]
_LARGEST = 2**20  # bytes of the reference
_FIRST = (0, 522)  # number of each camera's first image; every second is there
_VIEW = "  - calibration: {path}\n    pixel_values: intensity\n    mask: circle\n"


@dataclass(frozen=True)
class ImplantKnee:
    """The folder of the data.

    Parameters
    ----------
    folder : Path
        Where the files are.

    Raises
    ------
    XrcoreError
        If there is no such folder.
    """

    folder: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", existing_folder(self.folder, "there is no such folder of the implant's images"))

    def body(self, component: str) -> Volume:
        """Read a component.

        Parameters
        ----------
        component : str
            "femur" or "tibia".

        Returns
        -------
        Volume
            Of cobalt-chrome, its space the CAD model's.
        """
        return read_mesh(self.folder / COMPONENTS[component], "cobalt-chrome", _SPACING)

    def views(self, frame: int, rig: Path) -> list[View]:
        """Read both images of an instant.

        Parameters
        ----------
        frame : int
            0 to 23.
        rig : Path
            Of `write_rig`.

        Returns
        -------
        list of View
            The first camera's, and the second's.
        """
        names = [self.folder / f"cam{i}" / f"{first + 2 * frame:06d}.tif" for i, first in enumerate(_FIRST, 1)]
        return read_views(names, rig)

    def write_rig(self, path: Path) -> None:
        """Write the rig.yaml of both cameras.

        Parameters
        ----------
        path : Path
            Of the file.
        """
        with atomic_file(path) as temporary:
            # JSON quotes a text as YAML does
            paths = [json.dumps(f"{self.folder.resolve()}/camcal{i}.txt", ensure_ascii=False) for i in (1, 2)]
            temporary.write_text("views:\n" + "".join(_VIEW.format(path=path) for path in paths), encoding="utf-8")

    def published(self) -> list[Float[Tensor, "4 4"]]:
        """Read the publishers' poses of the femoral component.

        Returns
        -------
        list of Float[Tensor, "4 4"]
            camera1_from_model [mm] of each frame pair.
        """
        path = self.folder / "fem_poses_cam1.jts"
        lines = read_bytes(path, _LARGEST).decode("ascii", errors="replace").splitlines()
        rows = [numbers for line in lines if (numbers := _six(line.replace(",", " ").split())) is not None]
        if len(rows) < FRAMES:
            raise XrcoreError(f"{path}: the reference holds {len(rows)} poses, not {FRAMES}")
        return [camera_from_model(numbers) for numbers in rows]


def camera_from_model(numbers: Sequence[float]) -> Float[Tensor, "4 4"]:
    """Turn a line of a .jts file into a transform.

    Parameters
    ----------
    numbers : sequence of float
        x, y, z [mm]; z_rot, x_rot, y_rot in a camera frame whose y points up and z to the viewer; z_rot and y_rot in radians with their
        sign turned, x_rot in degrees.

    Returns
    -------
    Float[Tensor, "4 4"]
        Into the camera's frame, y down and z away from the viewer [mm].
    """
    x, y, z, z_rot, x_rot, y_rot = (torch.tensor(value, dtype=torch.float64) for value in numbers)
    turn = _about(2, -z_rot) @ _about(0, torch.deg2rad(x_rot)) @ _about(1, -y_rot)
    flip = torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64))
    return rigid.rigid(flip @ turn @ flip, flip @ torch.stack([x, y, z]))


def _about(axis: int, angle: Tensor) -> Float[Tensor, "3 3"]:
    twist = torch.zeros(6, dtype=torch.float64)
    twist[3 + axis] = angle
    return rigid.exp(twist)[:3, :3]


def _six(words: Sequence[str]) -> list[float] | None:
    """First six words as numbers, or None for a line that holds no pose."""
    try:
        numbers = [float(word) for word in words[:6]]
    except ValueError:
        return None
    return numbers if len(numbers) == 6 else None
