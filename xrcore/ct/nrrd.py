"""NRRD files (.nrrd, or .nhdr with a data file)."""

from __future__ import annotations

import bz2
import gzip
import io
import math
import re
from pathlib import Path
from typing import BinaryIO

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
    numbers_as_text,
    read_voxels,
    truncated,
    unknown_orientation,
)

_SYNONYMS = {
    "int8": "signed char",
    "uint8": "uchar, unsigned char",
    "int16": "short, short int, signed short, signed short int",
    "uint16": "ushort, unsigned short, unsigned short int",
    "int32": "int, signed int",
    "uint32": "uint, unsigned int",
    "int64": "longlong, long long, long long int, signed long long, signed long long int",
    "uint64": "ulonglong, unsigned long long, unsigned long long int",
    "float32": "float",
    "float64": "double",
}
_TYPES = {name: kind for kind, names in _SYNONYMS.items() for name in (kind, f"{kind}_t", *names.split(", "))}
_SPACES = {"lps": (1, 1, 1), "ras": (-1, -1, 1), "las": (1, -1, 1)}  # signs to LPS
_LONG_NAMES = {"left-posterior-superior": "lps", "right-anterior-superior": "ras", "left-anterior-superior": "las"}
_READ_FIELDS = {
    *("type", "dimension", "sizes", "encoding", "endian", "datafile", "lineskip", "byteskip"),
    *("space", "spacedimension", "spacings", "spacedirections", "spaceorigin", "spaceunits"),
}
_OTHER_FIELDS = {
    *("content", "number", "blocksize", "measurementframe", "axismins", "axismaxs", "thicknesses", "centers", "centerings", "labels"),
    *("units", "kinds", "min", "max", "oldmin", "oldmax", "sampleunits"),
}
_ENCODINGS = {"gz": "gzip", "bz2": "bzip2", "txt": "text", "ascii": "text"}
_MOST_HEADER = 1 << 20
_BZIP2_AT_MOST = 50_000_000  # no useful bound: runs of zeros shrink nearly without end


def read_nrrd(path: Path) -> ImageFile:
    """Voxels, world_from_voxel and remarks of a NRRD file."""
    fields, length = _header(path)
    kind = fields.get("type", "")
    if kind.lower() not in _TYPES:
        raise XrcoreError(f"{path}: the header is damaged, or not of numbers (type: {kind[:40]!r})")
    dtype = np.dtype(_TYPES[kind.lower()])
    sizes = _whole(path, fields, "sizes")
    if [len(sizes)] != _whole(path, fields, "dimension"):
        raise XrcoreError(f"{path}: the header is damaged (dimension is not the number of sizes)")
    shape, matrix, notes = _grid(path, fields, sizes)
    encoding = fields.get("encoding", "").lower()
    encoding = _ENCODINGS.get(encoding, encoding)
    if encoding not in ("raw", "text", "hex", "gzip", "bzip2"):
        raise XrcoreError(f"{path}: the header is damaged (encoding: {encoding[:40]!r})")
    if encoding != "text" and dtype.itemsize > 1:
        order = fields.get("endian", "").lower()
        if order not in ("little", "big"):
            raise XrcoreError(f"{path}: the header is damaged (endian: {order[:40]!r}; little or big)")
        dtype = dtype.newbyteorder("<" if order == "little" else ">")
    beside = _data_file(path, fields)
    with open_file(beside or path) as file, damage_as_error(path):
        file.seek(0 if beside else length)
        wanted = math.prod(shape) * dtype.itemsize
        at_most = _skip(path, fields, file, encoding, wanted)
        if encoding == "text":
            values, surplus = numbers_as_text(path, file, shape, dtype)
        else:
            values, surplus = read_voxels(path, _unpacked(path, file, encoding, wanted), shape, dtype, at_most)
    return ImageFile(values, matrix, notes + surplus)


def nrrd_data_file(path: Path) -> Path | None:
    """The data file of a header, None if the voxels follow in the same file."""
    return _data_file(path, _header(path)[0])


def segment_names(path: Path) -> dict[int, str]:
    """The segments' names by label value that 3D Slicer writes into a .seg.nrrd; none for other files."""
    if not path.name.lower().endswith(".nrrd"):
        return {}
    with open_file(path) as file:
        head = re.split(rb"\r?\n\r?\n", file.read(_MOST_HEADER), maxsplit=1)[0].decode("utf-8", "replace")
    said = {(number, key): value.strip() for number, key, value in re.findall(r"(?m)^Segment(\d+)_(Name|LabelValue):=(.*)$", head)}
    pairs = [(value, said.get((number, "Name"), "")) for (number, key), value in said.items() if key == "LabelValue"]
    return {int(value): name for value, name in pairs if value.isdecimal() and name}


def _header(path: Path) -> tuple[dict[str, str], int]:
    """The fields by name, lower case without spaces, and the header's length; text as its bytes in Latin-1."""
    with open_file(path) as file:
        head = file.read(_MOST_HEADER)
    if not re.match(rb"NRRD000[1-6]\r?\n", head):
        raise XrcoreError(f"{path}: not a NRRD file")
    end = re.search(rb"\r?\n\r?\n", head)
    fields: dict[str, str] = {}
    for line in head[: end.start() if end else len(head)].decode("latin-1").splitlines()[1:]:
        name, colon, value = line.partition(":")
        if line.startswith("#") or value.startswith("="):  # a comment, or a key of somebody's own
            continue
        key = name.strip().lower().replace(" ", "")
        if not colon or key in fields or key not in _READ_FIELDS | _OTHER_FIELDS:
            what = "stands there twice" if key in fields else "is no field of NRRD"
            raise XrcoreError(f"{path}: the header is damaged ({line[:60]!r} {what})")
        fields[key] = value.strip()
    if end is None and not {"datafile"} & fields.keys():
        raise XrcoreError(f"{path}: the header is damaged (no empty line ends it)")
    return fields, end.end() if end else len(head)


def _data_file(path: Path, fields: dict[str, str]) -> Path | None:
    entry = fields.get("datafile")
    if entry is None:
        return None
    if entry.upper().startswith("LIST") or "%" in entry:
        raise XrcoreError(f"{path}: a NRRD spread over several files is not read; save it as one .nrrd")
    return data_file(path, entry.encode("latin-1"))


def _skip(path: Path, fields: dict[str, str], file: BinaryIO, encoding: str, wanted: int) -> float:
    """Go to the voxels; the bytes that can follow there."""
    lines, (skip,) = _whole(path, fields, "lineskip", [0])[0], _whole(path, fields, "byteskip", [0])
    if lines < 0 or skip < -1 or (skip and encoding not in ("raw", "text")):
        raise XrcoreError(f"{path}: the header is damaged, or says to skip what cannot be (line skip or byte skip)")
    for _ in range(min(lines, 10_000)):
        file.readline(_MOST_HEADER)
    start = file_size(file) - wanted if skip == -1 else file.tell() + skip
    left = file_size(file) - start
    if start < 0 or left < 0:
        raise truncated(path, file_size(file), wanted)
    file.seek(start)
    return left * {"gzip": DEFLATE_AT_MOST, "bzip2": _BZIP2_AT_MOST}.get(encoding, 1)


def _unpacked(path: Path, file: BinaryIO, encoding: str, wanted: int) -> BinaryIO:
    if encoding == "gzip":
        return gzip.GzipFile(fileobj=file)  # type: ignore[return-value]
    if encoding == "bzip2":
        return bz2.BZ2File(file)  # type: ignore[return-value]
    if encoding == "hex":
        try:
            return io.BytesIO(bytes.fromhex(file.read(3 * wanted + _MOST_HEADER).decode("latin-1")))
        except ValueError:
            raise XrcoreError(f"{path}: its voxels are not hexadecimal digits, as its header says; damaged") from None
    return file


def _grid(path: Path, fields: dict[str, str], sizes: list[int]) -> tuple[tuple[int, int, int], Float64[ndarray, "4 4"], tuple[str, ...]]:
    """Shape (z, y, x), world_from_voxel (LPS mm) and remarks."""
    if "spacedirections" not in fields and "spacings" not in fields:
        raise XrcoreError(f"{path}: the header has no voxel size (spacings or space directions)")
    steps = _directions(path, fields, len(sizes)) if "spacedirections" in fields else _spacings(path, fields, len(sizes))
    if sum(step is not None for step in steps) < min(3, len(sizes)):
        raise XrcoreError(f"{path}: the header has no usable voxel size: it gives one for less than three of its {len(sizes)} axes")
    components = math.prod(size for size, step in zip(sizes, steps, strict=True) if step is None)
    shape = grid_shape(path, [size for size, step in zip(sizes, steps, strict=True) if step is not None], components)
    matrix = np.eye(4)
    matrix[:3, :3] = np.array([step[:3] for step in steps if step is not None][:3]).T
    notes: tuple[str, ...] = ()
    if "spaceorigin" in fields:
        matrix[:3, 3] = _vector(path, fields["spaceorigin"])[:3]
    else:
        notes += (f"{path}: it has no space origin; the first voxel is taken to lie at 0, 0, 0 mm",)
    matrix[:3] *= _unit(path, fields)
    space = fields.get("space", "").lower().removesuffix("-time")
    signs = _SPACES.get(_LONG_NAMES.get(space, space[:3] if space in ("lpst", "rast", "last") else space))
    if signs is None or "spacedirections" not in fields:
        notes += (unknown_orientation(path, f"space: {space[:40]!r}" if space else "no space is named"),)
    matrix[:3] *= np.reshape(signs or (1, 1, 1), (3, 1))
    check_grid(path, matrix)
    return shape, matrix, notes


def _directions(path: Path, fields: dict[str, str], count: int) -> list[list[float] | None]:
    """The step along each axis, None for one that is not of space."""
    text = fields["spacedirections"]
    parts = re.findall(r"none|\([^()]*\)|\S+", text, re.IGNORECASE)
    found = [None if part.lower() == "none" else _vector(path, part) for part in parts]
    if len(found) != count:
        raise XrcoreError(f"{path}: the header has no usable voxel size (space directions: {text[:60]!r})")
    return found


def _spacings(path: Path, fields: dict[str, str], count: int) -> list[list[float] | None]:
    """The same from lengths: the first three that are numbers go along x, y, z; nan is an axis that is not of space."""
    try:
        lengths = [float(word) for word in fields["spacings"].split()]
    except ValueError:
        lengths = []
    of_space = [k for k, length in enumerate(lengths) if not math.isnan(length)]
    if len(lengths) != count or not all(0 < lengths[k] < 1e7 for k in of_space):
        raise XrcoreError(f"{path}: the header has no usable voxel size (spacings: {fields['spacings'][:60]!r})")
    found: list[list[float] | None] = [None] * count
    for place, k in enumerate(of_space):
        found[k] = (lengths[k] * np.eye(max(3, count))[place]).tolist()
    return found


def _vector(path: Path, text: str) -> list[float]:
    try:
        values = [float(word) for word in text.strip()[1:-1].split(",")]
    except ValueError:
        values = []
    if len(values) < 3 or (text.strip()[:1], text.strip()[-1:]) != ("(", ")") or not all(map(math.isfinite, values)):
        raise XrcoreError(f"{path}: the header is damaged ({text[:60]!r} is not a vector of numbers)")
    return values


def _unit(path: Path, fields: dict[str, str]) -> float:
    """Of its lengths, in mm; what is not named is mm."""
    units = {unit.lower() for unit in re.findall(r'"([^"]*)"', fields.get("spaceunits", ""))} - {"", "none", "???"}
    known = {UNITS.get(unit, UNITS.get({"millimeter": "mm", "microns": "um"}.get(unit, ""))) for unit in units}
    if len(known) > 1 or None in known:
        raise XrcoreError(f"{path}: its lengths are in {', '.join(sorted(units))[:60]!r}, which is not known; convert them to mm")
    return next(iter(known), None) or 1.0


def _whole(path: Path, fields: dict[str, str], name: str, default: list[int] | None = None) -> list[int]:
    text = fields.get(name)
    if text is None and default is not None:
        return default
    if text is None or not re.fullmatch(r"-?\d{1,12}(\s+-?\d{1,12})*", text):
        raise XrcoreError(f"{path}: the header is damaged ({name}: {(text or '')[:60]!r})")
    return [int(word) for word in text.split()]
