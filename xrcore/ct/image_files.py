"""Volume files: NIfTI, NRRD and MetaImage -> array and geometry in world space.

Files are checked before they are read: ITK fills a truncated NIfTI with whatever is in memory, and a damaged
MetaImage header can crash it. So NIfTI voxels and all of MetaImage are read here; ITK gives the geometry of
NIfTI (its choice between sform and qform is what segmentation tools follow) and reads NRRD.
"""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import SimpleITK as sitk
from jaxtyping import Float64, Shaped
from numpy import ndarray

from xrcore._util.errors import XrcoreError, require
from xrcore._util.suppress_stderr import suppress_library_output

MOST_VOXELS = 2**30
DEFLATE_AT_MOST = 1040  # zlib cannot shrink further, so a smaller file does not hold what its header says
SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")

_NIFTI_TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}
_META_UNSIGNED = {"MET_UCHAR": "u1", "MET_USHORT": "u2", "MET_UINT": "u4", "MET_ULONG": "u4", "MET_ULONG_LONG": "u8"}
_META_SIGNED = {"MET_CHAR": "i1", "MET_SHORT": "i2", "MET_INT": "i4", "MET_LONG": "i4", "MET_LONG_LONG": "i8"}
_META_TYPES = {**_META_UNSIGNED, **_META_SIGNED, "MET_FLOAT": "f4", "MET_DOUBLE": "f8"}


def read_image(path: str | os.PathLike[str]) -> tuple[Shaped[ndarray, "D H W"], Float64[ndarray, "4 4"]]:
    """Voxels (z, y, x) and world_from_voxel (LPS mm) of a NIfTI, NRRD or MetaImage file.

    Raises XrcoreError for a file that is absent, empty, truncated, damaged, not 3D, or not of these formats.
    """
    path = Path(path)
    check_file(path)
    name = path.name.lower()
    if name.endswith((".nii", ".nii.gz")):
        return _read_nifti(path)
    if name.endswith((".mha", ".mhd")):
        return _read_meta(path)
    if name.endswith((".nrrd", ".nhdr")):
        return _read_nrrd(path)
    if name.endswith((".tif", ".tiff")):
        raise XrcoreError(f"{path}: a TIFF stack has no reliable voxel size; convert it to NIfTI or NRRD, or use xrcore.ct.volume_from_hu")
    raise XrcoreError(f"{path}: not a CT format that is read here; give a DICOM folder or a file ending in {', '.join(SUFFIXES)}")


def checked_path(owner: str, path: str | os.PathLike[str]) -> Path:
    """The path, if it is one."""
    require(owner, "path", path, isinstance(path, (str, os.PathLike)), "a path")
    return Path(path)


def check_file(path: Path) -> None:
    """Raise XrcoreError unless `path` is a readable file with something in it."""
    try:
        if not path.exists():
            raise XrcoreError(f"{path}: no such file or folder")
        if not path.is_file():
            raise XrcoreError(f"{path}: not a file")
        if path.stat().st_size == 0:
            raise XrcoreError(f"{path}: the file is empty")
        with path.open("rb") as file:
            file.read(1)
    except (OSError, ValueError) as error:
        raise XrcoreError(f"{path}: cannot be opened ({getattr(error, 'strerror', None) or error})") from None


def geometry(image: sitk.Image | sitk.ImageFileReader) -> Float64[ndarray, "4 4"]:
    """world_from_voxel of a SimpleITK image, its first three axes."""
    n = image.GetDimension()
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(image.GetDirection()).reshape(n, n)[:3, :3] * np.array(image.GetSpacing())[:3]
    matrix[:3, 3] = image.GetOrigin()[:3]
    return matrix


@contextmanager
def _itk(path: Path, format: str) -> Iterator[sitk.ImageFileReader]:
    """ITK's reader, past the header; its multi-line errors become one line, its warnings stay off the terminal."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.SetImageIO(format)
    try:
        with suppress_library_output():
            reader.ReadImageInformation()
            yield reader
    except RuntimeError as error:
        if "orthonormal" in str(error):
            raise XrcoreError(f"{path}: its voxel axes are not perpendicular (sheared); resample it to a straight grid first") from None
        raise XrcoreError(f"{path}: cannot be read; the file is damaged, truncated or not what its name says") from None


def _shape(path: Path, sizes: list[int], components: int = 1) -> tuple[int, int, int]:
    """(z, y, x) from sizes (x, y, z, ...); trailing ones are dropped."""
    while len(sizes) > 3 and sizes[-1] == 1:
        sizes = sizes[:-1]
    if components != 1:
        raise XrcoreError(f"{path}: each voxel has {components} values; a CT has one (is it a colour or vector image?)")
    if len(sizes) > 3:
        raise XrcoreError(f"{path}: the image is {len(sizes)}D ({' x '.join(map(str, sizes))}); a CT is 3D, extract one volume")
    if len(sizes) < 3:
        raise XrcoreError(f"{path}: the image is {len(sizes)}D; a CT is 3D")
    if min(sizes) < 1:
        raise XrcoreError(f"{path}: the header is damaged (size {' x '.join(map(str, sizes))})")
    if math.prod(sizes) > MOST_VOXELS:
        raise XrcoreError(
            f"{path}: the header claims {' x '.join(map(str, sizes))} voxels, more than {MOST_VOXELS:.0e}; damaged, or crop it"
        )
    x, y, z = sizes
    return z, y, x


def _truncated(path: Path, there: float, wanted: float) -> XrcoreError:
    return XrcoreError(f"{path}: truncated: its header promises {wanted:.0f} bytes of voxels, the file holds {there:.0f}")


def _read_nifti(path: Path) -> tuple[Shaped[ndarray, "D H W"], Float64[ndarray, "4 4"]]:
    zipped = path.name.lower().endswith(".gz")
    try:
        with gzip.open(path) if zipped else path.open("rb") as file:
            head = file.read(544)
            layout = _NiftiHeader(path, head)
            wanted = layout.offset + layout.bytes
            size = path.stat().st_size
            if wanted > size * (DEFLATE_AT_MOST if zipped else 1):
                raise _truncated(path, size, wanted)
            # to the end of the file, where gzip keeps its checksum; in steps, so that a false size allocates nothing
            rest = bytearray(head)
            while chunk := file.read(1 << 24):
                rest += chunk[: max(0, wanted - len(rest))]
    except (OSError, EOFError, zlib.error):
        raise XrcoreError(f"{path}: damaged or truncated: its compressed data end early or fail their checksum") from None
    if len(rest) < wanted:
        raise _truncated(path, len(rest) - layout.offset, layout.bytes)
    with _itk(path, "NiftiImageIO") as reader:
        matrix = geometry(reader)
    voxels = np.frombuffer(rest, dtype=layout.dtype, count=math.prod(layout.shape), offset=layout.offset).reshape(layout.shape)
    if layout.scaled:
        voxels = (voxels * layout.slope + layout.intercept).astype(np.float32)
    return voxels.astype(voxels.dtype.newbyteorder("="), copy=False), matrix


class _NiftiHeader:
    """The part of a NIfTI-1 or -2 header that says where voxels are; raises XrcoreError for nonsense."""

    def __init__(self, path: Path, head: bytes) -> None:
        if len(head) < 348:
            raise XrcoreError(f"{path}: too short to be a NIfTI file ({len(head)} bytes)")
        order: Literal["<", ">"]
        for order in ("<", ">"):
            if (size := struct.unpack_from(order + "i", head)[0]) in (348, 540):
                break
        else:
            raise XrcoreError(f"{path}: not a NIfTI file")
        second = size == 540
        magic = head[4:8] if second else head[344:348]
        if magic[:3] not in (b"n+1", b"n+2") or len(head) < size:
            raise XrcoreError(f"{path}: not a single-file NIfTI (.nii); an .hdr/.img pair or damaged")

        def field(code: str, first: int, then: int) -> Any:
            values = struct.unpack_from(order + code, head, then if second else first)
            return values if len(values) > 1 else values[0]

        dim = field("8q" if second else "8h", 40, 16)
        kind = field("h", 70, 12)
        steps = field("8d" if second else "8f", 76, 104)
        self.offset = int(field("q" if second else "f", 108, 168)) if second or math.isfinite(field("f", 108, 168)) else -1
        slope, intercept = field("2d" if second else "2f", 112, 176)
        codes = field("2i" if second else "2h", 252, 344)
        quaternion = field("6d" if second else "6f", 256, 352)
        rows = field("12d" if second else "12f", 280, 400)
        if not 1 <= dim[0] <= 7:
            raise XrcoreError(f"{path}: the header is damaged ({dim[0]} dimensions)")
        if kind in (128, 2304):
            raise XrcoreError(f"{path}: a colour image, not a CT")
        if kind not in _NIFTI_TYPES:
            raise XrcoreError(f"{path}: voxels of NIfTI type {kind} are not read; convert them to 16-bit integers or 32-bit floats")
        self.shape = _shape(path, list(dim[1 : dim[0] + 1]))
        used = list(steps[:4]) + (list(quaternion) if codes[0] > 0 else []) + (list(rows) if codes[1] > 0 else [])
        if not all(math.isfinite(v) and abs(v) < 1e7 for v in used) or min(map(abs, steps[1:4])) == 0:
            raise XrcoreError(f"{path}: the header is damaged: voxel size or orientation is zero or not finite")
        if codes[1] > 0 and abs(np.linalg.det(np.reshape(rows, (3, 4))[:, :3])) < 1e-12:
            raise XrcoreError(f"{path}: the header is damaged: its sform is singular")
        self.dtype = np.dtype(_NIFTI_TYPES[kind]).newbyteorder(order)
        self.bytes = math.prod(self.shape) * self.dtype.itemsize
        if not size <= self.offset <= 2**31:
            raise XrcoreError(f"{path}: the header is damaged (voxels at byte {self.offset})")
        # a slope of 0 means "not scaled" (NIfTI-1 standard)
        self.scaled = math.isfinite(slope) and math.isfinite(intercept) and slope != 0 and (slope, intercept) != (1.0, 0.0)
        self.slope, self.intercept = slope, intercept


def _read_meta(path: Path) -> tuple[Shaped[ndarray, "D H W"], Float64[ndarray, "4 4"]]:
    with path.open("rb") as file:
        header: dict[str, str] = {}
        # the element file is the last line of the header; a header is a few dozen short lines
        while "ElementDataFile" not in header:
            key, equals, value = file.readline(4096).decode("latin-1").partition("=")
            if not equals or len(header) > 200:
                raise XrcoreError(f"{path}: not a MetaImage file, or its header is damaged (no ElementDataFile)")
            header[key.strip()] = value.strip()
        start = file.tell()

    def numbers(*names: str, default: list[float] | None = None) -> list[float]:
        text = next((header[n] for n in names if n in header), None)
        if text is None:
            if default is None:
                raise XrcoreError(f"{path}: the header is damaged (no {names[0]})")
            return default
        try:
            values = [float(v) for v in text.split()]
        except ValueError:
            values = []
        if not values or not all(math.isfinite(v) and abs(v) < 1e9 for v in values):
            raise XrcoreError(f"{path}: the header is damaged ({names[0]} = {text[:60]!r})")
        return values

    def switch(*names: str) -> bool:
        return any(header.get(n, "").lower() in ("true", "1") for n in names)

    kind = header.get("ElementType", "")
    if kind not in _META_TYPES:
        raise XrcoreError(f"{path}: not a MetaImage of numbers (ElementType = {kind[:40]!r})")
    sizes = [int(v) for v in numbers("DimSize")]
    n = len(sizes)
    shape = _shape(path, sizes, int(numbers("ElementNumberOfChannels", default=[1])[0]))
    spacing = numbers("ElementSpacing", "ElementSize")
    origin = numbers("Offset", "Origin", "Position", default=[0.0] * n)
    axes = numbers("TransformMatrix", "Rotation", "Orientation", default=np.eye(n).ravel().tolist())
    if len(spacing) != n or len(origin) != n or len(axes) != n * n or min(spacing) <= 0:
        raise XrcoreError(f"{path}: the header is damaged (ElementSpacing, Offset or TransformMatrix does not fit {n} dimensions)")
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(axes, (n, n))[:3, :3].T * spacing[:3]  # the file lists one axis after the other
    matrix[:3, 3] = origin[:3]
    if not np.allclose(np.reshape(axes, (n, n)) @ np.reshape(axes, (n, n)).T, np.eye(n), atol=1e-3):
        raise XrcoreError(f"{path}: its voxel axes are not perpendicular unit vectors; resample it to a straight grid first")

    dtype = np.dtype(_META_TYPES[kind]).newbyteorder(">" if switch("BinaryDataByteOrderMSB", "ElementByteOrderMSB") else "<")
    if header.get("BinaryData", "True").lower() not in ("true", "1"):
        raise XrcoreError(f"{path}: MetaImage with voxels as text is not read; save it as binary")
    data, start = _meta_data_file(path, header["ElementDataFile"], start)
    wanted = math.prod(shape) * dtype.itemsize
    skip = int(numbers("HeaderSize", default=[0])[0])
    if skip < -1:
        raise XrcoreError(f"{path}: the header is damaged (HeaderSize = {skip})")
    zipped = switch("CompressedData")
    size = data.stat().st_size
    start = size - wanted if skip == -1 and not zipped else start + max(skip, 0)  # -1: the voxels are the end of the file
    if start < 0 or wanted > (size - start) * (DEFLATE_AT_MOST if zipped else 1):
        raise _truncated(path, max(0, size - start), wanted)
    with data.open("rb") as file:
        file.seek(start)
        raw = file.read() if zipped else file.read(wanted)
    if zipped:
        unpack = zlib.decompressobj(zlib.MAX_WBITS | 32)
        try:
            raw = unpack.decompress(raw, wanted + 1)  # one more than there is, so that the checksum is read
        except zlib.error:
            raise XrcoreError(f"{path}: damaged: its compressed voxels cannot be unpacked") from None
        if not unpack.eof and len(raw) <= wanted:
            raise _truncated(path, len(raw), wanted)
    if len(raw) < wanted:
        raise _truncated(path, len(raw), wanted)
    voxels = np.frombuffer(raw, dtype=dtype, count=math.prod(shape)).reshape(shape)
    return voxels.astype(dtype.newbyteorder("="), copy=False), matrix


def _meta_data_file(path: Path, entry: str, start: int) -> tuple[Path, int]:
    """Where the voxels are: the same file after its header, or a file beside it."""
    if entry.upper() == "LOCAL":
        return path, start
    if entry.upper().startswith("LIST") or "%" in entry:
        raise XrcoreError(f"{path}: a MetaImage spread over several files is not read; save it as one .mha")
    data = path.parent / entry
    check_file(data)
    return data, 0


def _read_nrrd(path: Path) -> tuple[Shaped[ndarray, "D H W"], Float64[ndarray, "4 4"]]:
    with path.open("rb") as file:
        head = file.read(1 << 16).split(b"\n\n")[0].split(b"\r\n\r\n")[0].decode("latin-1")
    if not head.startswith("NRRD"):
        raise XrcoreError(f"{path}: not a NRRD file")
    fields = {k.strip().lower().replace(" ", ""): v.strip() for k, _, v in (line.partition(":") for line in head.splitlines())}
    size = path.stat().st_size
    if (entry := fields.get("datafile")) is not None:
        if entry.upper().startswith("LIST") or "%" in entry:
            raise XrcoreError(f"{path}: a NRRD spread over several files is not read; save it as one .nrrd")
        check_file(path.parent / entry)
        size = (path.parent / entry).stat().st_size
    if "spacings" not in fields and "spacedirections" not in fields:
        raise XrcoreError(f"{path}: the header has no voxel size (spacings or space directions)")
    with _itk(path, "NrrdImageIO") as reader:
        shape = _shape(path, list(reader.GetSize()), reader.GetNumberOfComponents())
        matrix = geometry(reader)
        wanted = math.prod(shape)
        if wanted > size * (1 if fields.get("encoding", "raw") == "raw" else DEFLATE_AT_MOST):
            raise _truncated(path, size, wanted)
        voxels = sitk.GetArrayFromImage(reader.Execute())
    if not np.isfinite(matrix).all():
        raise XrcoreError(f"{path}: the header is damaged: voxel size or orientation is not finite")
    return voxels.reshape(shape), matrix
