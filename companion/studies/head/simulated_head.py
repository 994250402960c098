"""A simulated head in the files of the real one, with a known pose: for tests, and for a profile without data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom
import roma
import torch
from jaxtyping import Float, Int16
from numpy import ndarray
from pydicom.uid import CTImageStorage, generate_uid
from torch import Tensor

from companion.datasets.head_phantom import CARM, GANTRY, SHAPE, HeadPhantom, camera_from_room, image_name
from companion.studies.head.head_views import BEAM
from xrcore import Pose, render
from xrcore.geometry import rigid

_VOXELS, _SIZE = (60, 72, 64), 4.0  # (z, y, x); [mm]
_ROTATION, _OFFSET = (1.5, -1.0, 0.8), (9.0, -6.0, 20.0)  # [deg]; [mm] of the CT's centre from the isocentre
_GAIN, _NOISE = 230.0, 1.0  # grey values


def write_head(folder: Path, gantry: Sequence[int] = GANTRY, seed: int = 0) -> tuple[HeadPhantom, Float[Tensor, "4 4"]]:
    """Write slices without a DICOM preamble and images without a header, as `datasets.head_phantom` reads them.

    Parameters
    ----------
    folder : Path
        Made where it does not exist.
    gantry : sequence of int
        Angles of the images.
    seed : int
        Of the noise.

    Returns
    -------
    data : HeadPhantom
        What was written.
    room_from_ct : Float[Tensor, "4 4"]
        The true pose [mm].
    """
    data = HeadPhantom(folder / "ct", folder / "epid")
    for part in (data.ct, data.images):
        part.mkdir(parents=True, exist_ok=True)
    _write_slices(data.ct, _hu())
    volume = data.volume()
    turn = roma.rotvec_to_rotmat(torch.deg2rad(torch.tensor(_ROTATION, dtype=torch.float64)))
    room_from_ct = rigid.rigid(turn, torch.tensor(_OFFSET, dtype=torch.float64) - turn @ volume.isocenter)
    generator = np.random.default_rng(seed)
    for angle in gantry:
        pose = Pose.from_camera_from_world(camera_from_room(angle) @ room_from_ct, CARM, volume.isocenter)
        with torch.no_grad():
            attenuation = render(volume, CARM, pose, BEAM)[0].numpy()
        grey = _GAIN * np.exp(-attenuation / 4) + generator.normal(0, _NOISE, SHAPE)  # with the low contrast of the real ones
        grey = np.where(_octagon(), grey.round().clip(1, 255), 0)
        (data.images / image_name(angle)).write_bytes(grey.astype(np.uint8).tobytes())
    return data, room_from_ct


def _hu() -> Int16[ndarray, "D H W"]:
    """A skull with a jaw, a nose, cavities and dense places, and below it a table that is no part of it."""
    z, y, x = np.meshgrid(*((np.arange(n) - (n - 1) / 2) * _SIZE for n in _VOXELS), indexing="ij")

    def ellipsoid(center: tuple[float, float, float], radii: tuple[float, float, float]) -> ndarray:
        return sum(((a - c) / r) ** 2 for a, c, r in zip((x, y, z), center, radii, strict=True)) < 1

    hu = np.full(_VOXELS, -1000, dtype=np.int16)
    skin = ellipsoid((0, 0, 25), (76, 92, 88)) | ellipsoid((0, -28, -55), (52, 55, 58)) | ellipsoid((0, 20, -90), (45, 45, 60))
    hu[skin] = 40
    hu[ellipsoid((0, 0, 25), (70, 86, 82))] = 1100
    hu[ellipsoid((0, 0, 25), (62, 78, 74))] = 30
    for center, radii, value in (
        ((0, -35, -70), (42, 35, 10), 1200),  # jaw
        ((0, -30, -72), (30, 26, 14), 60),
        ((30, -62, 5), (17, 18, 16), 0),  # orbits and sinuses
        ((-30, -62, 4), (17, 18, 16), 0),
        ((22, -55, -28), (14, 16, 14), -900),
        ((-24, -55, -28), (13, 16, 15), -900),
        ((48, 8, -25), (14, 20, 12), 1300),  # petrous bones
        ((-48, 10, -25), (14, 18, 12), 1300),
        ((4, 30, -95), (16, 18, 60), 700),  # spine
        ((20, 25, 50), (6, 6, 6), 1500),
    ):
        hu[ellipsoid(center, radii) & skin] = value
    hu[(y > 112) & (y < 124)] = 100
    return hu


def _write_slices(folder: Path, hu: Int16[ndarray, "D H W"]) -> None:
    study, series, frame = (generate_uid() for _ in range(3))
    for number, plane in enumerate(hu, 1):
        item = pydicom.Dataset()
        item.SOPClassUID, item.SOPInstanceUID = CTImageStorage, generate_uid()
        item.StudyInstanceUID, item.SeriesInstanceUID, item.FrameOfReferenceUID = study, series, frame
        item.Modality, item.InstanceNumber, item.PatientPosition = "CT", number, "HFS"
        first = [-(n - 1) / 2 * _SIZE for n in reversed(hu.shape)]
        item.ImagePositionPatient = [first[0], first[1], first[2] + (number - 1) * _SIZE]
        item.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        item.PixelSpacing, item.SliceThickness = [_SIZE, _SIZE], _SIZE
        item.RescaleIntercept, item.RescaleSlope = -1024, 1
        item.Rows, item.Columns = plane.shape
        item.SamplesPerPixel, item.PhotometricInterpretation = 1, "MONOCHROME2"
        item.BitsAllocated, item.BitsStored, item.HighBit, item.PixelRepresentation = 16, 16, 15, 1
        item.PixelData = (plane + 1024).astype("<i2").tobytes()
        item.save_as(folder / f"1.{number}.img", implicit_vr=True, little_endian=True, enforce_file_format=False)


def _octagon() -> ndarray:
    row, column = (np.abs(np.arange(n) - (n - 1) / 2) for n in SHAPE)
    return (row[:, None] < 252) & (column < 252) & (row[:, None] + column < 440)
