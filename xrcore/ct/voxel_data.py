"""What the readers of volume files share: the checked shape of a grid, and its voxels from raw, compressed or text data."""

from __future__ import annotations

import io
import math
import os
import unicodedata
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from jaxtyping import Float64, Shaped
from numpy import ndarray

from xrcore._util.errors import XrcoreError, shown
from xrcore._util.input_files import check_file

MOST_VOXELS = 2**30
DEFLATE_AT_MOST = 1040  # zlib cannot shrink further, so a smaller file does not hold what its header says
UNITS = {"mm": 1.0, "cm": 10.0, "m": 1000.0, "um": 0.001}  # in mm
_CHUNK = 1 << 24
_MOST_NUMBERS_AS_TEXT = 2**25


class ImageFile(NamedTuple):
    """What a volume file holds."""

    values: Shaped[ndarray, "D H W"]
    world_from_voxel: Float64[ndarray, "4 4"]  # LPS mm
    notes: tuple[str, ...] = ()
    frame_of_reference: str = ""  # DICOM's UID


def grid_shape(path: Path, sizes: Sequence[int], components: int = 1) -> tuple[int, int, int]:
    """(z, y, x) from sizes (x, y, z, ...); trailing ones are dropped."""
    sizes = list(sizes)
    while len(sizes) > 3 and sizes[-1] == 1:
        sizes = sizes[:-1]
    listed = " x ".join(map(str, sizes))
    if components != 1:
        raise XrcoreError(f"{path}: each voxel has {components} values; a CT has one (is it a colour or vector image?)")
    if len(sizes) > 3:
        raise XrcoreError(f"{path}: the image is {len(sizes)}D ({listed}); a CT is 3D, extract one volume")
    if len(sizes) < 3:
        raise XrcoreError(f"{path}: the image is {len(sizes)}D; a CT is 3D")
    if min(sizes) < 1:
        raise XrcoreError(f"{path}: the header is damaged (size {listed})")
    if math.prod(sizes) > MOST_VOXELS:
        raise XrcoreError(f"{path}: the header claims {listed} voxels, more than {MOST_VOXELS:.0e}; damaged, or crop it")
    x, y, z = sizes
    return z, y, x


def perpendicular(matrix: Float64[ndarray, "n n"]) -> bool:
    """Whether the columns are at right angles to each other, within rounding."""
    lengths = np.linalg.norm(matrix, axis=0)
    if not np.isfinite(lengths).all() or lengths.min() < 1e-9:
        return False
    axes = matrix / lengths
    return bool(np.allclose(axes.T @ axes, np.eye(len(matrix)), atol=1e-3))


def check_grid(path: Path | str, matrix: Float64[ndarray, "4 4"]) -> None:
    """Raise XrcoreError unless the axes of the grid are finite and at right angles."""
    lengths = np.linalg.norm(matrix[:3, :3], axis=0)
    if not (np.isfinite(matrix).all() and np.abs(matrix).max() < 1e7 and lengths.min() > 1e-9):
        raise XrcoreError(f"{path}: the header is damaged: its voxel size, orientation or origin is zero or not finite")
    if not perpendicular(matrix[:3, :3]):
        raise XrcoreError(f"{path}: its voxel axes are not perpendicular (sheared); resample it to a straight grid first")


def unknown_orientation(path: Path, missing: str) -> str:
    """The note for a file that does not say how the patient lies."""
    return (
        f"{path}: its orientation is unknown ({missing}): its axes are taken as patient left, posterior and superior; "
        "if that is wrong, the patient is mirrored or turned, which no registration can tell"
    )


def truncated(path: Path, there: float, wanted: float) -> XrcoreError:
    """The error for a file with too few voxels."""
    return XrcoreError(f"{path}: truncated: its header promises {wanted:.0f} bytes of voxels, the file holds {there:.0f}")


@contextmanager
def damage_as_error(path: Path) -> Iterator[None]:
    """Turn what the decompressors and the disk raise into one line."""
    try:
        yield
    except (OSError, EOFError, zlib.error) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise XrcoreError(f"{path}: cannot be read ({error.strerror})") from None
        raise XrcoreError(f"{path}: damaged or truncated: its compressed data end early or fail their checksum") from None


def read_voxels(
    path: Path, stream: BinaryIO, shape: tuple[int, int, int], dtype: np.dtype, at_most: float
) -> tuple[Shaped[ndarray, "D H W"], tuple[str, ...]]:
    """The voxels that come next in a stream, with a note if there are bytes left; `at_most`: bytes that the stream can hold."""
    wanted = math.prod(shape) * dtype.itemsize
    if wanted > at_most:
        raise truncated(path, at_most, wanted)
    content = bytearray()  # grows with what is there, so that a false size allocates nothing
    while len(content) < wanted and (chunk := stream.read(min(_CHUNK, wanted - len(content)))):
        content += chunk
    if len(content) < wanted:
        raise truncated(path, len(content), wanted)
    left = len(stream.read(_CHUNK))  # behind the voxels of a compressed file is their checksum, which this reads, and nothing else
    values = np.frombuffer(content, dtype=dtype, count=math.prod(shape)).reshape(shape)
    return values.astype(dtype.newbyteorder("="), copy=False), surplus(path, left)


def surplus(path: Path, left: int, unit: str = "bytes") -> tuple[str, ...]:
    """The note for a file that holds more than its header says, whose voxels may have moved."""
    more = f"{left if left < _CHUNK else 'many'} {unit}"
    return (f"{path}: it holds {more} more than its header says; if the header is damaged, the voxels are shifted",) if left else ()


def inflated(compressed: bytes, at_most: int) -> BinaryIO:
    """At most so many bytes of a zlib or gzip stream, and what follows it; EOFError if it ends early."""
    unpack = zlib.decompressobj(zlib.MAX_WBITS | 32)
    result = unpack.decompress(compressed, at_most)
    if not unpack.eof and len(result) < at_most:
        raise EOFError
    return io.BytesIO(result + unpack.unused_data[:at_most])


def numbers_as_text(path: Path, stream: BinaryIO, shape: tuple[int, int, int], dtype: np.dtype) -> tuple[ndarray, tuple[str, ...]]:
    """Voxels written as numbers with spaces or line ends between them."""
    count = math.prod(shape)
    if count > _MOST_NUMBERS_AS_TEXT:
        raise XrcoreError(f"{path}: more than {_MOST_NUMBERS_AS_TEXT:.0e} voxels as text; save it as binary")
    words = stream.read(64 * count + 1).split()
    if len(words) < count:
        raise truncated(path, len(words) * dtype.itemsize, count * dtype.itemsize)
    try:
        values = np.array(words[:count], dtype=np.float64)
    except ValueError:
        raise XrcoreError(f"{path}: its voxels are not numbers as text, as its header says; damaged") from None
    if dtype.kind in "iu" and not ((values == np.round(values)) & (values >= np.iinfo(dtype).min) & (values <= np.iinfo(dtype).max)).all():
        raise XrcoreError(f"{path}: its voxels are not numbers of the type that its header says; damaged")
    return values.astype(dtype.newbyteorder("=")).reshape(shape), surplus(path, len(words) - count, "numbers")


def data_file(path: Path, entry: bytes) -> Path:
    """The file that a header names, beside it; its name as the header's bytes, UTF-8 in either normal form, or Latin-1."""
    text = entry.decode("utf-8", "surrogateescape")
    names = [os.fsdecode(entry), *(unicodedata.normalize(form, text) for form in ("NFC", "NFD")), entry.decode("latin-1")]
    candidates = [path.parent / name for name in names]
    found = next((candidate for candidate in candidates if os.path.exists(candidate)), candidates[0])
    try:
        check_file(found)
    except XrcoreError as error:
        reason = str(error).removeprefix(f"{found}: ")
        raise XrcoreError(f"{path}: its data file {shown(text)}: {reason}") from None
    return found
