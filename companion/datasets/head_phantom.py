"""Megavolt portal images of a head phantom from eleven gantry angles, and its CT.

Reads the demonstration data of the Tomosynthesis Toolkit (Sarkar et al., Australasian Physical and Engineering Sciences in
Medicine 34, 2011).
The treatment room's axes: x left, y posterior, z superior of the phantom as it lies, in mm from the machine's isocentre.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray
from scipy import ndimage
from torch import Tensor

from xrcore import CArm, Volume, Xray, XrcoreError, read_ct
from xrcore.registration import View
from xrcore.utilities import read_bytes

GANTRY = tuple(range(-20, 21, 4))  # [deg], in the files' order
SHAPE = (512, 512)
CARM = CArm(source_to_detector=1500, source_to_isocenter=1000, shape=SHAPE, pixel_spacing=0.78125)
_TOP = 60  # [pixels] rows that show the couch's end, which the CT lacks
_RIM = 4  # [pixels] the field's penumbra


@dataclass(frozen=True)
class HeadPhantom:
    """The CT of the phantom and its portal images.

    Parameters
    ----------
    ct, images : Path
        Folders of the slices and of the images.
    """

    ct: Path
    images: Path

    def volume(self, spacing: float = 2.0) -> Volume:
        """Read the CT without the scanner's table.

        Parameters
        ----------
        spacing : float
            See `read_ct`.

        Returns
        -------
        Volume
            The head.
        """
        return read_ct(self.ct, spacing=spacing, body=True)

    def view(self, gantry: int) -> View:
        """Read a portal image and where its camera stands in the room.

        Parameters
        ----------
        gantry : int
            One of GANTRY.

        Returns
        -------
        View
            See `read_portal_image` and `camera_from_room`.
        """
        return View(xray=read_portal_image(self.images / image_name(gantry)), camera_from_rig=camera_from_room(gantry))


def image_name(gantry: int) -> str:
    """Name the file of a gantry angle.

    Parameters
    ----------
    gantry : int
        One of GANTRY.

    Returns
    -------
    str
        Without folder.

    Raises
    ------
    XrcoreError
        If there is no image of this angle.
    """
    if gantry not in GANTRY:
        raise XrcoreError(f"head phantom: no image at gantry {gantry}; choose from {', '.join(map(str, GANTRY))}")
    return f"1-{GANTRY.index(gantry) + 2:04d}.raw"


def camera_from_room(gantry: float) -> Float[Tensor, "4 4"]:
    """Place the camera: at 0 the source is anterior, and it moves to the phantom's left as the angle grows.

    Parameters
    ----------
    gantry : float
        Angle [deg].

    Returns
    -------
    Float[Tensor, "4 4"]
        `x_camera = camera_from_room @ x_room` [mm].
    """
    sine, cosine = np.sin(np.deg2rad(gantry)), np.cos(np.deg2rad(gantry))
    distance = CARM.source_to_isocenter
    rows = [[cosine, sine, 0, 0], [0, 0, -1, 0], [-sine, cosine, 0, distance], [0, 0, 0, 1]]
    return torch.tensor(rows, dtype=torch.float64)


def read_portal_image(path: str | os.PathLike[str]) -> Xray:
    """Read an image, 512 x 512 bytes without a header, dark where attenuated, as an attenuation image.

    Attenuation is -log(value / 255), up to the unknown gain and offset. The mask is the octagonal field less its penumbra and the upper
    rows, where the couch ends; the couch's sides, which most views show, stay.

    Parameters
    ----------
    path : str or path
        The file.

    Returns
    -------
    Xray
        Bone bright.

    Raises
    ------
    XrcoreError
        Naming a file of another size, or without a field.
    """
    path = Path(path)
    size = SHAPE[0] * SHAPE[1]
    data = read_bytes(path, 16 * size)
    if len(data) != size:
        raise XrcoreError(f"{path}: holds {len(data)} bytes; a portal image has 512 x 512, without a header")
    values = np.frombuffer(data, dtype=np.uint8).reshape(SHAPE)
    mask = _field(values)
    if not mask.any():
        raise XrcoreError(f"{path}: shows no field, every pixel is about 0; is it a portal image?")
    attenuation = -np.log(np.maximum(values.astype(np.float32), 0.5) / 255)
    return Xray(image=torch.from_numpy(attenuation), carm=CARM, mask=torch.from_numpy(mask))


def _field(values: UInt8[ndarray, "H W"]) -> Bool[ndarray, "H W"]:
    """Where the beam is not blocked."""
    field = ndimage.binary_opening(ndimage.binary_erosion(values > 0, iterations=_RIM), iterations=_RIM)
    field[:_TOP] = False
    return field
