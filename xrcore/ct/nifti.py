"""NIfTI-1 and NIfTI-2 files: the header by nibabel, checked; geometry as the standard says."""

from __future__ import annotations

import gzip
import math
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import Float64
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header
from nibabel.spatialimages import HeaderDataError
from numpy import ndarray

from xrcore._util.errors import XrcoreError
from xrcore._util.input_files import file_size, open_file
from xrcore.ct.voxel_data import DEFLATE_AT_MOST, ImageFile, check_grid, damage_as_error, grid_shape, perpendicular, read_voxels
from xrcore.ct.voxel_data import unknown_orientation as unknown

_LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_UNITS = {1: 1000.0, 3: 0.001}  # metres and micrometres, in mm
_PATIENTS = (1, 2)  # codes of a patient's own space; larger ones are of a template


def read_nifti(path: Path) -> ImageFile:
    """Voxels, world_from_voxel and remarks of a NIfTI file, compressed or not."""
    with open_file(path) as file, damage_as_error(path), np.errstate(all="ignore"):  # what is not finite is refused
        zipped = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        stream: BinaryIO = gzip.GzipFile(fileobj=file) if zipped else file  # type: ignore[assignment]
        header = _header(path, stream.read(Nifti2Header.sizeof_hdr))
        shape, dtype, offset = _layout(path, header)
        matrix, notes = _geometry(path, header, shape)
        at_most = file_size(file) * (DEFLATE_AT_MOST if zipped else 1) - offset
        if at_most > 0:
            stream.seek(offset)
        values, surplus = read_voxels(path, stream, shape, dtype, max(0, at_most))
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if not math.isfinite(slope):
        notes += (f"{path}: its scale (scl_slope) is not a number: values are taken as they are stored",)
    elif slope != 0 and not math.isfinite(intercept):  # a slope of 0 means "not scaled"
        raise XrcoreError(f"{path}: the header is damaged (scl_inter is {intercept})")
    elif slope != 0 and (slope, intercept) != (1.0, 0.0):
        with np.errstate(all="ignore"):
            values = (values * slope + intercept).astype(np.float32)
    return ImageFile(values, matrix, notes + surplus)


def _header(path: Path, head: bytes) -> Nifti1Header:
    """The fields of the header, unchecked."""
    for kind in (Nifti2Header, Nifti1Header):
        if kind.may_contain_header(head):
            header = kind(head[: kind.sizeof_hdr], check=False)
            if header["sizeof_hdr"] != kind.sizeof_hdr:
                break
            if bytes(header["magic"])[:3] not in (b"n+1", b"n+2"):
                raise XrcoreError(f"{path}: not a single-file NIfTI (.nii); an .hdr/.img pair or damaged")
            return header
    raise XrcoreError(f"{path}: not a NIfTI file, or its header is damaged")


def _layout(path: Path, header: Nifti1Header) -> tuple[tuple[int, int, int], np.dtype, int]:
    """Shape (z, y, x), type and first byte of the voxels."""
    dimensions = int(header["dim"][0])
    if not 1 <= dimensions <= 7:
        raise XrcoreError(f"{path}: the header is damaged ({dimensions} dimensions)")
    shape = grid_shape(path, [int(n) for n in header["dim"][1 : dimensions + 1]])
    try:
        dtype = header.get_data_dtype()
    except (HeaderDataError, KeyError):
        raise XrcoreError(f"{path}: the header is damaged (voxels of type {int(header['datatype'])})") from None
    if dtype.fields is not None:
        raise XrcoreError(f"{path}: a colour image, not a CT")
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise XrcoreError(f"{path}: voxels of type {dtype.name} are not read; convert them to 16-bit integers or 32-bit floats")
    if int(header["bitpix"]) != 8 * dtype.itemsize:
        raise XrcoreError(f"{path}: the header is damaged ({int(header['bitpix'])} bits a voxel, but {dtype.name})")
    offset, least = float(header["vox_offset"]), header.single_vox_offset
    if not (math.isfinite(offset) and offset == int(offset) and least <= offset <= 2**31):
        raise XrcoreError(f"{path}: the header is damaged (voxels at byte {offset:g}; {least} is the first that they can start at)")
    return shape, dtype, int(offset)


def _geometry(path: Path, header: Nifti1Header, shape: tuple[int, int, int]) -> tuple[Float64[ndarray, "4 4"], tuple[str, ...]]:
    """world_from_voxel (LPS mm) and remarks.

    The sform counts, which has the voxel size in it (method 3 of the standard). The qform, with the voxel size of pixdim, counts
    where there is no sform, or one that is not of the patient: of a template, or sheared.
    """
    size = np.array(header["pixdim"][1:4], dtype=np.float64)
    sform, qform = _sform(path, header), _qform(path, header, size)
    notes: list[str] = []
    if sform is None and qform is None:
        matrix = np.diag([*size, 1.0])
        notes.append(unknown(path, "its qform and sform codes are 0"))
    elif sform is None or qform is None:
        matrix = _LPS_FROM_RAS @ (sform if qform is None else qform)  # type: ignore[operator]
    else:
        patients = int(header["sform_code"]) in _PATIENTS and perpendicular(sform[:3, :3])
        matrix = _LPS_FROM_RAS @ (sform if patients else qform)
        apart = _apart(sform, qform, shape)
        if apart > 0.1 * np.linalg.norm(matrix[:3, :3], axis=0).min():
            taken = "sform" if patients else "qform"
            notes.append(f"{path}: its qform and sform disagree, by up to {apart:.3g} mm in the image; the {taken} is taken")
    if qform is None and int(header["qform_code"]) > 0:
        notes.append(f"{path}: its qform is damaged; the sform is taken")
    lengths = np.linalg.norm(matrix[:3, :3], axis=0)
    if sform is not None and not np.allclose(lengths, size, rtol=1e-3) and not notes:
        given, counts = (" x ".join(f"{v:.4g}" for v in values) for values in (size, lengths))
        notes.append(f"{path}: its voxel size is {given} mm by pixdim and {counts} mm by the sform, which is taken")
    units = int(header["xyzt_units"]) & 7
    if units in _UNITS:
        matrix[:3] *= _UNITS[units]
        notes.append(f"{path}: its lengths are in {'metres' if units == 1 else 'micrometres'}, converted to mm")
    elif units not in (0, 2):
        notes.append(f"{path}: the unit of its lengths (code {units}) is unknown; mm is taken")
    check_grid(path, matrix)
    return matrix, tuple(notes)


def _sform(path: Path, header: Nifti1Header) -> Float64[ndarray, "4 4"] | None:
    if int(header["sform_code"]) <= 0:
        return None
    return np.array([*(header[name] for name in ("srow_x", "srow_y", "srow_z")), (0, 0, 0, 1)], dtype=np.float64)


def _qform(path: Path, header: Nifti1Header, size: Float64[ndarray, "3"]) -> Float64[ndarray, "4 4"] | None:
    """RAS from voxel by quaternion; a broken one counts as none where there is an sform."""
    if int(header["qform_code"]) <= 0:
        return None
    vector = np.array([header[f"quatern_{axis}"] for axis in "bcd"], dtype=np.float64)
    handedness = float(header["pixdim"][0])  # 0 counts as 1
    broken = not (vector @ vector < 1.001 and handedness in (-1, 0, 1) and (size > 0).all())
    if broken and int(header["sform_code"]) > 0:
        return None
    if broken:
        raise XrcoreError(f"{path}: the header is damaged: its qform is no rotation, or its voxel size is not positive")
    matrix = np.eye(4)
    real = math.sqrt(max(0.0, 1 - float(vector @ vector)))
    vector = vector / math.hypot(real, *vector)
    rotation = (2 * real * real - 1) * np.eye(3) + 2 * np.outer(vector, vector) + 2 * real * np.cross(np.eye(3), vector)
    matrix[:3, :3] = rotation * size * (1, 1, -1 if handedness < 0 else 1)
    matrix[:3, 3] = [header[f"qoffset_{axis}"] for axis in "xyz"]
    return matrix


def _apart(one: Float64[ndarray, "4 4"], other: Float64[ndarray, "4 4"], shape: tuple[int, int, int]) -> float:
    """Largest distance between the places that two matrices give to a corner of the grid [mm]."""
    corners = np.array([[i, j, k, 1] for i in (0, shape[2] - 1) for j in (0, shape[1] - 1) for k in (0, shape[0] - 1)], dtype=np.float64)
    return float(np.linalg.norm(corners @ (one - other).T, axis=1).max())
