"""Volume files with headers of any content, written field by field."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

SHAPE = (8, 12, 10)  # z, y, x
VOXELS = np.random.default_rng(0).integers(-1000, 1500, SHAPE).astype(np.int16)
SPACING, ORIGIN = (2.0, 2.5, 3.0), (-20.0, 5.0, 100.0)
LPS = np.array([[2.0, 0, 0, -20], [0, 2.5, 0, 5], [0, 0, 3, 100], [0, 0, 0, 1]])  # world_from_voxel of all of them
RAS = np.diag([-1.0, -1.0, 1.0, 1.0]) @ LPS


def write_nifti(
    path: Path,
    *,
    second: bool = False,
    order: str = "<",
    sform: int = 1,
    qform: int = 1,
    affine: np.ndarray = RAS,
    more: bytes = b"",
    **fields: Any,
) -> Path:
    """NIfTI-1 or -2, compressed if named so; codes of the two forms, which both say `affine`, and then any fields of the header."""
    kind = nibabel.Nifti2Header if second else nibabel.Nifti1Header
    header = kind(endianness=order)
    header.set_data_shape(SHAPE[::-1])
    header.set_data_dtype(np.int16)
    header.set_zooms(SPACING)
    header.set_qform(affine, qform, strip_shears=True)
    header.set_sform(affine, sform)
    header.set_slope_inter(1, 0)
    header["vox_offset"] = header.single_vox_offset
    header["magic"] = header.single_magic
    for name, value in fields.items():
        header[name] = value
    content = header.binaryblock + bytes(4) + VOXELS.astype(f"{order}i2").tobytes() + more
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


NRRD = {
    "type": "int16",
    "dimension": "3",
    "space": "left-posterior-superior",
    "sizes": "10 12 8",
    "space directions": "(2,0,0) (0,2.5,0) (0,0,3)",
    "endian": "little",
    "encoding": "raw",
    "space origin": "(-20,5,100)",
}
META = {
    "ObjectType": "Image",
    "NDims": "3",
    "BinaryData": "True",
    "BinaryDataByteOrderMSB": "False",
    "CompressedData": "False",
    "TransformMatrix": "1 0 0 0 1 0 0 0 1",
    "Offset": "-20 5 100",
    "ElementSpacing": "2 2.5 3",
    "DimSize": "10 12 8",
    "ElementType": "MET_SHORT",
}


def write_nrrd(path: Path, fields: dict[str, str | None] | None = None, data: bytes | None = None) -> Path:
    """NRRD with some fields changed, added or (None) left out; a "data file" gets the voxels beside it."""
    lines = {name: value for name, value in (NRRD | (fields or {})).items() if value is not None}
    content = VOXELS.astype("<i2").tobytes() if data is None else data
    header = "NRRD0004\n# made by a test\n" + "".join(f"{name}: {value}\n" for name, value in lines.items())
    return _write(path, header.encode(), content, lines.get("data file"), b"\n")


def write_metaimage(path: Path, fields: dict[str, str | None] | None = None, data: bytes | None = None) -> Path:
    """MetaImage likewise; "ElementDataFile" is LOCAL unless given."""
    lines = {name: value for name, value in (META | (fields or {})).items() if value is not None}
    beside = lines.pop("ElementDataFile", "LOCAL")
    content = VOXELS.astype("<i2").tobytes() if data is None else data
    header = "".join(f"{name} = {value}\n" for name, value in lines.items()) + f"ElementDataFile = {beside}\n"
    return _write(path, header.encode(), content, None if beside == "LOCAL" else beside, b"")


def _write(path: Path, header: bytes, content: bytes, beside: str | None, end: bytes) -> Path:
    if beside is None:
        path.write_bytes(header + end + content)
    else:
        path.write_bytes(header)
        (path.parent / beside).write_bytes(content)
    return path
