"""MetaImage files (.mha, or .mhd with a data file)."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from xrcore._util.errors import XrcoreError
from xrcore._util.input_files import file_size, open_file
from xrcore.ct.voxel_data import (
    DEFLATE_AT_MOST,
    UNITS,
    ImageFile,
    check_grid,
    damage_as_error,
    data_file,
    grid_shape,
    inflated,
    numbers_as_text,
    read_voxels,
    truncated,
    unknown_orientation,
)

_UNSIGNED = {"MET_UCHAR": "u1", "MET_USHORT": "u2", "MET_UINT": "u4", "MET_ULONG": "u4", "MET_ULONG_LONG": "u8"}
_SIGNED = {"MET_CHAR": "i1", "MET_SHORT": "i2", "MET_INT": "i4", "MET_LONG": "i4", "MET_LONG_LONG": "i8"}
_TYPES = {**_UNSIGNED, **_SIGNED, "MET_FLOAT": "f4", "MET_DOUBLE": "f8"}
_AXES = ("TransformMatrix", "Rotation", "Orientation")
_ORIGIN = ("Offset", "Origin", "Position")
_FROM_SIDE = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "I": (2, 1), "S": (2, -1)}  # an axis goes from there: LPS, sign
_BIG_ENDIAN = ("BinaryDataByteOrderMSB", "ElementByteOrderMSB")


def read_metaimage(path: Path) -> ImageFile:
    """Voxels, world_from_voxel and remarks of a MetaImage."""
    header = _Header(path)
    kind = header.text("ElementType")
    if kind not in _TYPES:
        raise XrcoreError(f"{path}: not a MetaImage of numbers (ElementType = {kind[:40]!r})")
    sizes = header.whole("DimSize")
    if header.whole("NDims", default=[len(sizes)]) != [len(sizes)]:
        raise XrcoreError(f"{path}: the header is damaged (NDims is not the number of sizes in DimSize)")
    shape = grid_shape(path, sizes, header.whole("ElementNumberOfChannels", default=[1])[0])
    matrix, notes = _geometry(path, header, len(sizes))

    dtype = np.dtype(_TYPES[kind]).newbyteorder(">" if header.switch(*_BIG_ENDIAN) else "<")
    binary, zipped = header.switch("BinaryData", default=True), header.switch("CompressedData")
    if binary and dtype.itemsize > 1 and not header.has(*_BIG_ENDIAN):
        notes += (f"{path}: it does not say its byte order; little-endian is taken",)
    wanted = math.prod(shape) * dtype.itemsize
    skip = header.whole("HeaderSize", default=[0])[0]
    local = header.entry.upper() == b"LOCAL"
    with open_file(path if local else _data_file(path, header.entry)) as file, damage_as_error(path):
        size = file_size(file)
        start = size - wanted if skip == -1 and not zipped else (header.length if local else 0) + max(skip, 0)  # -1: at the end
        if skip < -1 or start < 0 or start > size:
            raise truncated(path, size, wanted)
        file.seek(start)
        if not binary:
            values, surplus = numbers_as_text(path, file, shape, dtype)
        elif zipped:
            at_most = (size - start) * DEFLATE_AT_MOST
            if wanted > at_most:
                raise truncated(path, size - start, wanted)
            stream = inflated(file.read(2 * wanted + 2**20), wanted + 2**20)
            values, surplus = read_voxels(path, stream, shape, dtype, at_most)
        else:
            values, surplus = read_voxels(path, file, shape, dtype, size - start)
    return ImageFile(values, matrix, notes + surplus)


def metaimage_data_file(path: Path) -> Path | None:
    """The data file of a header, None if the voxels follow in the same file."""
    entry = _Header(path).entry
    return None if entry.upper() == b"LOCAL" else _data_file(path, entry)


def _data_file(path: Path, entry: bytes) -> Path:
    if entry.upper().startswith(b"LIST") or b"%" in entry:
        raise XrcoreError(f"{path}: a MetaImage spread over several files is not read; save it as one .mha")
    return data_file(path, entry)


def _geometry(path: Path, header: _Header, n: int) -> tuple[Float64[ndarray, "4 4"], tuple[str, ...]]:
    spacing = header.numbers("ElementSpacing", "ElementSize")
    origin = header.numbers(*_ORIGIN, default=[0.0] * n)
    axes = header.numbers(*_AXES, default=np.eye(n).ravel().tolist())
    if len(spacing) != n or len(origin) != n or len(axes) != n * n or min(spacing) <= 0:
        raise XrcoreError(f"{path}: the header is damaged (ElementSpacing, Offset or TransformMatrix does not fit {n} dimensions)")
    directions = np.reshape(axes, (n, n)).T  # the file lists one axis after the other
    if not np.allclose(directions.T @ directions, np.eye(n), atol=1e-3):
        raise XrcoreError(f"{path}: its voxel axes are not perpendicular unit vectors; resample it to a straight grid first")
    unit = header.text("DistanceUnits", default="mm").lower()
    if unit not in (*UNITS, "?"):
        raise XrcoreError(f"{path}: its lengths are in {unit[:20]!r}, which is not known; convert them to mm")
    matrix = np.eye(4)
    matrix[:3, :3] = directions[:3, :3] * spacing[:3]
    matrix[:3, 3] = origin[:3]
    matrix[:3] *= UNITS.get(unit, 1.0)
    check_grid(path, matrix)
    notes = _orientation_notes(path, header, directions)
    return matrix, notes if header.has(*_ORIGIN) else (*notes, f"{path}: it has no Offset; the first voxel is taken to lie at 0, 0, 0 mm")


def _orientation_notes(path: Path, header: _Header, directions: Float64[ndarray, "n n"]) -> tuple[str, ...]:
    if not header.has(*_AXES):
        return (unknown_orientation(path, "no TransformMatrix"),)
    code = header.text("AnatomicalOrientation").upper()
    if not set(code) <= _FROM_SIDE.keys() or len(code) < 3:
        return ()
    along = [float(directions[_FROM_SIDE[side][0], k]) * _FROM_SIDE[side][1] for k, side in enumerate(code[:3])]
    if min(along) > 1e-3:
        return ()
    return (f"{path}: its AnatomicalOrientation {code} contradicts its TransformMatrix, which is taken",)


class _Header:
    """Lines `Key = value`, of which ElementDataFile is the last."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._values: dict[str, bytes] = {}
        with open_file(path) as file:
            while "ElementDataFile" not in self._values:
                name, equals, value = file.readline(4096).partition(b"=")
                key = name.strip().decode("latin-1")
                if not equals or len(self._values) > 200:
                    raise XrcoreError(f"{path}: not a MetaImage file, or its header is damaged (no ElementDataFile)")
                if key in self._values:
                    raise XrcoreError(f"{path}: the header is damaged ({key[:40]} stands there twice)")
                self._values[key] = value.strip()
            self.length = file.tell()
        self.entry = self._values["ElementDataFile"]

    def has(self, *names: str) -> bool:
        return any(name in self._values for name in names)

    def text(self, *names: str, default: str = "") -> str:
        """The first of several names for the same."""
        return next((self._values[name].decode("latin-1") for name in names if name in self._values), default)

    def numbers(self, *names: str, default: list[float] | None = None) -> list[float]:
        if not self.has(*names):
            if default is None:
                raise XrcoreError(f"{self._path}: the header is damaged (no {names[0]})")
            return default
        try:
            values = [float(v) for v in self.text(*names).split()]
        except ValueError:
            values = []
        if not values or not all(math.isfinite(v) and abs(v) < 1e9 for v in values):
            raise self._damaged(*names)
        return values

    def whole(self, name: str, default: list[int] | None = None) -> list[int]:
        values = self.numbers(name, default=None if default is None else [float(v) for v in default])
        if any(v != int(v) for v in values):
            raise self._damaged(name)
        return [int(v) for v in values]

    def switch(self, *names: str, default: bool = False) -> bool:
        value = self.text(*names, default=str(default)).lower()
        if value not in ("true", "false", "1", "0"):
            raise self._damaged(*names)
        return value in ("true", "1")

    def _damaged(self, *names: str) -> XrcoreError:
        return XrcoreError(f"{self._path}: the header is damaged ({names[0]} = {self.text(*names)[:60]!r})")
