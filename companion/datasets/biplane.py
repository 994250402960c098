"""Biplane videoradiography as Brown University's X-ray software stores it: calibrations, frames, and CT crops of single bones.

Reads the wrist data that accompany Autoscoper (BrownBiomechanics/Autoscoper, sample data "Wrist").
"""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Shaped
from numpy import ndarray
from PIL import Image, ImageSequence
from scipy import ndimage
from torch import Tensor

from companion.datasets.folders import existing_folder
from xrcore import CArm, Volume, Xray, XrcoreError
from xrcore.geometry import rigid
from xrcore.utilities import read_bytes

CAMERAS = (1, 2)
BONES = {"radius": "rad", "ulna": "uln"}
VOXEL = (0.39625, 0.39625, 0.625)  # x, y, z [mm]; the files' own tags are wrong
_PIXEL = 0.235  # [mm], nominal: K fixes rays, not the detector's size, and no result depends on it
_KEYS = {"image size": 1, "camera matrix": 3, "rotation": 3, "translation": 3}  # and how many lines follow each
_HU_OFFSET = 1024.0  # fat in the marrow then has -50 to -100 HU
_BONE_PER_HU = 0.0005886  # [g/cm3], the slope of `ct.materials.density_of` above water
_RIM = 24  # [pixels] the field's edge is vignetted


@dataclass(frozen=True, kw_only=True, eq=False)
class Camera:
    """A calibrated view: `x_camera = camera_from_rig @ x_rig` [mm], `pixel = K x_camera / z` with K of `carm`.

    Parameters
    ----------
    carm : CArm
        The intrinsics.
    camera_from_rig : Float[Tensor, "4 4"]
        Where the camera stands [mm].
    """

    carm: CArm
    camera_from_rig: Float[Tensor, "4 4"]


@dataclass(frozen=True)
class WristBiplane:
    """The folder of the wrist data: two cameras, simultaneous frames, radius and ulna.

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
        object.__setattr__(self, "folder", existing_folder(self.folder, "there is no such folder of biplane data"))

    @property
    def frames(self) -> tuple[int, ...]:
        """Numbers of the frames that both cameras have."""
        found = [{int(p.suffixes[-2][1:]) for p in self.folder.glob(f"xr_rad_uln_cam{c:02d}_UND.*.tif")} for c in CAMERAS]
        return tuple(sorted(set.intersection(*found)))

    def camera(self, number: int) -> Camera:
        """Read a camera's calibration.

        Parameters
        ----------
        number : int
            1 or 2.

        Returns
        -------
        Camera
            See `read_calibration`.
        """
        return read_calibration(self.folder / f"xr_calib_wrist_cam{number:02d}.txt")

    def xray(self, camera: int, frame: int) -> Xray:
        """Read one frame of one camera.

        Parameters
        ----------
        camera : int
            1 or 2.
        frame : int
            One of `frames`.

        Returns
        -------
        Xray
            See `read_frame`.
        """
        return read_frame(self.folder / f"xr_rad_uln_cam{camera:02d}_UND.{frame:04d}.tif", self.camera(camera).carm)

    def bone(self, name: str, *, mirrored: bool = False) -> Volume:
        """Read the CT crop of a bone.

        Parameters
        ----------
        name : str
            "radius" or "ulna".
        mirrored : bool
            See `read_bone`.

        Returns
        -------
        Volume
            See `read_bone`.
        """
        if name not in BONES:
            raise XrcoreError(f"biplane: no bone {name!r}; choose {' or '.join(BONES)}")
        return read_bone(self.folder / f"{BONES[name]}_dcm_cropped.tif", mirrored=mirrored)


def read_calibration(path: str | os.PathLike[str]) -> Camera:
    """Read a camera from a text file with the blocks "image size", "camera matrix", "rotation" and "translation".

    Hartley and Zisserman's convention: x_camera = R x_rig + t [mm], pixel centres at integers from the top left, nothing flipped.
    The C-arm's isocentre lies at the rig's origin's depth; the detector's pixels have a nominal size, as K does not tell theirs.

    Parameters
    ----------
    path : str or path
        Of the text file.

    Returns
    -------
    Camera
        The calibrated view.

    Raises
    ------
    XrcoreError
        Naming the file and the block that is missing or makes no sense.
    """
    path = Path(path)
    blocks = _blocks(path)
    rotation = torch.from_numpy(blocks["rotation"])
    off = float((rotation @ rotation.T - torch.eye(3, dtype=torch.float64)).abs().max())
    if off > 1e-4 or torch.linalg.det(rotation) < 0:
        raise XrcoreError(f"{path}: its rotation is not one (off by {off:.2g}); check the file")
    camera_from_rig = rigid.rigid(_orthonormal(rotation), torch.from_numpy(blocks["translation"])[:, 0])
    depth = float(camera_from_rig[2, 3])
    if depth <= 0:
        raise XrcoreError(f"{path}: the rig's origin lies behind the camera (z = {depth:g} mm); is the transform inverted?")
    columns, rows = blocks["image size"][0]
    try:
        carm = CArm.from_intrinsics(
            torch.from_numpy(blocks["camera matrix"]), (int(rows), int(columns)), source_to_isocenter=depth, pixel_spacing=_PIXEL
        )
    except XrcoreError as error:
        raise XrcoreError(f"{path}: {error}") from None
    return Camera(carm=carm, camera_from_rig=camera_from_rig)


def read_frame(path: str | os.PathLike[str], carm: CArm) -> Xray:
    """Read a frame, stored as intensity (bright where unattenuated), as an attenuation image.

    Attenuation is -log(value / 255), up to the unknown gain and gamma of the camera. The mask is the round field of view less its
    vignetted rim.

    Parameters
    ----------
    path : str or path
        A TIFF of one page of 8 bit.
    carm : CArm
        Of the camera.

    Returns
    -------
    Xray
        Without a pose.

    Raises
    ------
    XrcoreError
        Naming the file.
    """
    path = Path(path)
    values, *more = _pages(path)
    if more or values.ndim != 2 or values.dtype != np.uint8:
        raise XrcoreError(f"{path}: expected one page of 8 bit grey values, got {1 + len(more)} of {values.dtype} {values.shape}")
    if values.shape != carm.shape:
        raise XrcoreError(
            f"{path}: {values.shape[0]} x {values.shape[1]} pixels, but the calibration says {carm.shape[0]} x {carm.shape[1]}"
        )
    attenuation = -np.log(np.maximum(values.astype(np.float32), 0.5) / 255)
    try:
        return Xray(image=torch.from_numpy(attenuation), carm=carm, mask=torch.from_numpy(_field(values)))
    except XrcoreError as error:
        raise XrcoreError(f"{path}: {error}") from None


def read_bone(path: str | os.PathLike[str], *, mirrored: bool = False, voxel: tuple[float, float, float] = VOXEL) -> Volume:
    """Read a bone's crop of the CT, a multi-page TIFF of 12 bit values (HU + 1024, 0 where other tissue was masked out).

    The radiographs show the bone inside soft tissue, the crop shows it in nothing. So the volume holds what the bone adds to the water
    it displaces, 0.0005886 g/cm3 per HU above 0: its DRR is the bone's shadow on an otherwise even forearm. Values at 4095 are
    saturated cortex.
    The first page is the distal end and becomes the top: z is up, x along columns, y up the rows, so that columns, rows and pages are
    right-handed as stored. Nothing in the files says so; the radius does.
    Either way round it fits one camera, for a radiograph hardly tells a bone from its mirror image, but only this way both at once
    (gradient ZNCC 0.57 and 0.57, the other way 0.56 and 0.13).

    Parameters
    ----------
    path : str or path
        Of the TIFF.
    mirrored : bool
        The other way round, the other wrist, to try that.
    voxel : (float, float, float)
        Size along x, y, z [mm].

    Returns
    -------
    Volume
        Of one material, "bone".

    Raises
    ------
    XrcoreError
        Naming the file.
    """
    path = Path(path)
    pages = _pages(path)
    if len(pages) < 2 or any(page.shape != pages[0].shape or page.ndim != 2 or page.dtype != np.uint16 for page in pages):
        raise XrcoreError(f"{path}: expected a stack of 16 bit grey pages, got {len(pages)} of {pages[0].dtype} {pages[0].shape}")
    values = np.stack(pages)
    hu = torch.from_numpy(values.astype(np.float32)) - _HU_OFFSET
    density = torch.where(torch.from_numpy(values > 0), _BONE_PER_HU * hu.clamp_min(0), 0.0)
    if not (density > 0).any():
        raise XrcoreError(f"{path}: no voxel is denser than water; a crop of a bone, 12 bit, is expected")
    x, y, z = voxel
    matrix = torch.diag(torch.tensor([x, y if mirrored else -y, -z, 1.0], dtype=torch.float64))
    return Volume(density=density[None].contiguous(), materials=("bone",), world_from_voxel=matrix)


def _blocks(path: Path) -> dict[str, Float[ndarray, "r c"]]:
    try:
        lines = [line.strip() for line in read_bytes(path, 100_000).decode("ascii").splitlines()]
    except UnicodeDecodeError:
        raise XrcoreError(f"{path}: not a text file; a calibration of a camera is expected") from None
    lines = [line for line in lines if line]
    blocks = {}
    for key, count in _KEYS.items():
        if key not in lines:
            raise XrcoreError(f"{path}: no block {key!r}; a calibration has {', '.join(_KEYS)}")
        first = lines.index(key) + 1
        try:
            rows = [[float(n) for n in re.split(r"[,\s]+", line)] for line in lines[first : first + count]]
        except ValueError:
            rows = []
        width = {"image size": 2, "translation": 1}.get(key, 3)
        if len(rows) != count or any(len(row) != width or not all(map(math.isfinite, row)) for row in rows):
            raise XrcoreError(f"{path}: block {key!r} must be {count} lines of {width} numbers")
        blocks[key] = np.array(rows, dtype=np.float64)
    return blocks


def _orthonormal(rotation: Float[Tensor, "3 3"]) -> Float[Tensor, "3 3"]:
    """The nearest rotation: files keep a dozen digits."""
    u, _, vt = torch.linalg.svd(rotation)
    return u @ vt


def _field(values: Shaped[ndarray, "H W"]) -> Bool[ndarray, "H W"]:
    """The bright round field less its rim."""
    parts, count = ndimage.label(values > 0.25 * np.median(values[values > 0]))
    if count == 0:
        return np.ones(values.shape, dtype=bool)
    largest = parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))
    # a field is convex; bones that leave it are dark notches in its rim, and holes
    seen = np.logical_or.accumulate
    field = seen(largest, 1) & seen(largest[:, ::-1], 1)[:, ::-1]
    kept = ndimage.minimum_filter(field, 2 * _RIM + 1, mode="constant", cval=0).astype(bool)
    return kept if kept.any() else field


def _pages(path: Path) -> list[Shaped[ndarray, "..."]]:
    try:
        with Image.open(path, formats=("TIFF",)) as image:
            return [np.array(page) for page in ImageSequence.Iterator(image)]
    except Exception:  # a damaged file can raise anything in a decoder
        raise XrcoreError(f"{path}: cannot be read as a TIFF; absent, damaged, truncated or not one") from None
