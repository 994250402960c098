"""Volume files: NIfTI, NRRD and MetaImage -> array and geometry in world space.

All is read in Python, so that a damaged file or a path of any bytes cannot crash the interpreter or be filled up with what is in memory.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from jaxtyping import Float64
from numpy import ndarray

from xrcore._util.errors import XrcoreError
from xrcore._util.file_suffixes import VOLUME_SUFFIXES
from xrcore._util.input_files import check_file
from xrcore.ct.voxel_data import ImageFile


def read_image(path: str | os.PathLike[str]) -> ImageFile:
    """Voxels (z, y, x), world_from_voxel (LPS mm) and remarks of a NIfTI, NRRD or MetaImage file.

    Raises XrcoreError for a file that is absent, empty, truncated, damaged, not 3D, or not of these formats.
    """
    path = Path(path)
    check_file(path)
    name = path.name.lower()
    if name.endswith((".nii", ".nii.gz")):
        from xrcore.ct.nifti import read_nifti

        return read_nifti(path)
    if name.endswith((".mha", ".mhd")):
        from xrcore.ct.metaimage import read_metaimage

        return read_metaimage(path)
    if name.endswith((".nrrd", ".nhdr")):
        from xrcore.ct.nrrd import read_nrrd

        return read_nrrd(path)
    if name.endswith((".tif", ".tiff")):
        raise XrcoreError(f"{path}: a TIFF stack has no reliable voxel size; convert it to NIfTI or NRRD, or use xrcore.ct.volume_from_hu")
    raise XrcoreError(f"{path}: not a CT format that is read here; give a DICOM folder or a file ending in {', '.join(VOLUME_SUFFIXES)}")


def image_file_parts(path: Path) -> list[Path]:
    """The file, and the data file that its header names, if there is one."""
    name = path.name.lower()
    beside = None
    if name.endswith((".mha", ".mhd")):
        from xrcore.ct.metaimage import metaimage_data_file

        beside = metaimage_data_file(path)
    elif name.endswith((".nrrd", ".nhdr")):
        from xrcore.ct.nrrd import nrrd_data_file

        beside = nrrd_data_file(path)
    return [path] if beside is None else [path, beside]


def geometry(image: sitk.Image) -> Float64[ndarray, "4 4"]:
    """world_from_voxel of a SimpleITK image, its first three axes."""
    n = image.GetDimension()
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(image.GetDirection()).reshape(n, n)[:3, :3] * np.array(image.GetSpacing())[:3]
    matrix[:3, 3] = image.GetOrigin()[:3]
    return matrix
