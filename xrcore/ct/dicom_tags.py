"""Read the tags of DICOM files; also used for X-rays, by `xrcore.xray`."""

from __future__ import annotations

import io
import math
import stat
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from jaxtyping import Float64
from numpy import ndarray
from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import Tag
from pydicom.uid import DeflatedExplicitVRLittleEndian

from xrcore._util.errors import XrcoreError
from xrcore._util.suppress_stderr import suppress_library_output

MOST_BYTES = 2**31  # of a file, also after it was inflated
MOST_READS = 500_000  # of a parser in one file: two or three an element
MOST_NESTED = 2**25  # bytes of one sequence
_FIRST_GROUPS = (0x0002, 0x0008)


def is_dicom(path: Path) -> bool:
    """Whether a file has DICOM's mark, or begins with a first data element as files without preamble do.

    Raises XrcoreError if the file cannot be opened: a slice without permission is not to be taken for something else.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for its writer
            return False
        with path.open("rb") as file:
            head = file.read(132)
    except (OSError, ValueError) as error:
        raise XrcoreError(f"{path}: cannot be opened ({getattr(error, 'strerror', None) or error})") from None
    return head[128:] == b"DICM" or _is_element(head)


def _is_element(head: bytes) -> bool:
    """Whether bytes start with a data element of group 0002 or 0008, with or without its type, in either byte order."""
    for order in ("little", "big"):
        group, element = (int.from_bytes(head[i : i + 2], order) for i in (0, 2))  # type: ignore[arg-type]
        if len(head) >= 8 and group in _FIRST_GROUPS and element < 0x0100:
            explicit = head[4:6].isalpha() and head[4:6].isupper()
            return explicit or int.from_bytes(head[4:8], order) < 0x10000  # type: ignore[arg-type]
    return False


class _CountedReads(io.BufferedReader):
    """A file that is read a limited number of times: endless empty elements end in an error."""

    reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads += 1
        if self.reads > MOST_READS:
            raise ValueError(f"more than {MOST_READS} reads")
        return super().read(size)


def read_dataset(path: Path, tags: Sequence[str] | None = None) -> Dataset:
    """A DICOM dataset: all of it, or the named tags only and no pixels. Raises XrcoreError if it is damaged.

    Damage can surface as any exception of the parser, at reading or when a value is first looked at: hence both are done here.
    """
    if path.stat().st_size > MOST_BYTES:
        raise XrcoreError(f"{path}: larger than {MOST_BYTES / 2**30:g} GiB; a DICOM image is smaller")
    specific: Any = None if tags is None else [Tag(t) for t in tags]
    try:
        with suppress_library_output(), _CountedReads(io.FileIO(path)) as file:
            dataset = _inflated(path, specific)
            if dataset is None:
                dataset = pydicom.dcmread(file, force=True, stop_before_pixels=tags is not None, specific_tags=specific)
            for key in list(dataset.keys()):
                raw = dataset.get_item(key)
                if isinstance(raw, RawDataElement) and raw.VR in (None, "SQ", "UN") and key.group != 0x7FE0 and raw.length > MOST_NESTED:
                    raise ValueError(f"{key} holds {raw.length} bytes")
            _parse_values(dataset)
            return dataset
    except Exception as error:
        raise XrcoreError(f"{path}: cannot be read as DICOM; damaged or truncated ({_brief(error)})") from None


def _parse_values(dataset: Dataset) -> None:
    """Look at all values, also within sequences, which are parsed on access."""
    for element in dataset:
        items = element.value
        if element.VR == "SQ":
            for item in items:
                _parse_values(item)
        elif dictionary_has_tag(element.tag) and dictionary_VR(element.tag) == "SQ":
            raise ValueError(f"{element.keyword} is no sequence")


def _inflated(path: Path, tags: Any) -> Dataset | None:
    """The dataset of a deflated file, which may inflate to `MOST_BYTES`; None for a file that is not."""
    with path.open("rb") as file:
        if file.read(132)[128:] != b"DICM":
            return None
        meta = pydicom.filereader.read_file_meta_info(path)
        if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
            return None
        file.seek(144 + meta.FileMetaInformationGroupLength)
        inflating = zlib.decompressobj(-zlib.MAX_WBITS)
        content = inflating.decompress(file.read(), MOST_BYTES)
    if inflating.unconsumed_tail:
        raise ValueError(f"it inflates to more than {MOST_BYTES / 2**30:g} GiB")
    if not inflating.eof:
        raise ValueError("its deflated part is incomplete")
    with _CountedReads(io.BytesIO(content)) as whole:  # type: ignore[arg-type]
        dataset = pydicom.filereader.read_dataset(whole, False, True, specific_tags=tags)
    dataset.file_meta = meta
    return dataset


def frame_tags(dataset: Dataset, frame: int, path: Path) -> Dataset:
    """The tags of one frame: those of the file, with those of an enhanced object's functional groups beside them.

    Shared and per-frame groups hold sequences, most of one item; what is in that overrides what the file says as a whole.
    Raises XrcoreError if there are not as many groups as frames.
    """
    shared, per_frame = dataset.get("SharedFunctionalGroupsSequence") or [], dataset.get("PerFrameFunctionalGroupsSequence") or []
    if not shared and not per_frame:
        return dataset
    frames = frame_count(dataset, path)
    if per_frame and len(per_frame) != frames:
        raise XrcoreError(f"{path}: {len(per_frame)} functional groups for {frames} frames; the file is damaged")
    flat = Dataset({e.tag: e for e in dataset if e.VR != "SQ"})
    for group in [*shared[:1], *per_frame[frame : frame + 1]]:
        for sequence in group:
            flat.update({sequence.tag: sequence})
            if sequence.VR == "SQ" and len(sequence.value) == 1 and not sequence.tag.is_private:
                flat.update({e.tag: e for e in sequence.value[0]})
    return flat


def plane_axes(orientation: object, spacing: tuple[float, float], path: Path) -> Float64[ndarray, "2 3"]:
    """Unit vectors along a row's pixels and along a column's; raises XrcoreError for tags that name no such plane."""
    axes = np.array(orientation, dtype=float).reshape(2, 3)
    if not np.allclose(axes @ axes.T, np.eye(2), atol=1e-3):
        raise XrcoreError(f"{path}: {tag('ImageOrientationPatient')} is not two perpendicular unit vectors")
    if min(spacing) <= 0:
        raise XrcoreError(f"{path}: {tag('PixelSpacing')} must be positive")
    return axes


def frame_count(dataset: Dataset, path: Path) -> int:
    """How many frames a file says it holds, at least one."""
    return max(1, int(number(dataset, "NumberOfFrames", path) or 1))


def number(dataset: Dataset, keyword: str, path: Path) -> float | None:
    """One number of a tag, None if absent or empty. Raises XrcoreError naming the tag if it is not a finite number."""
    value = dataset.get(keyword)
    if value is None or value == "":
        return None
    if isinstance(value, (list, MultiValue)):
        value = value[0] if len(value) else math.nan
    try:
        result = float(value)
    except (TypeError, ValueError, OverflowError):
        result = math.nan
    if not math.isfinite(result):
        raise XrcoreError(f"{path}: {tag(keyword)} is {str(value)[:40]!r}, not a number")
    return result


def numbers(dataset: Dataset, keyword: str, count: int | None, path: Path) -> list[float] | None:
    """`count` numbers of a tag (None: any), None if absent or empty. Raises XrcoreError naming the tag if they are not that."""
    value = dataset.get(keyword)
    if value is None or value == "" or (isinstance(value, MultiValue) and not len(value)):
        return None
    try:
        result = [float(v) for v in (value if isinstance(value, (list, tuple, MultiValue)) else [value])]
    except (TypeError, ValueError, OverflowError):
        result = []
    if not result or (count is not None and len(result) != count) or not all(map(math.isfinite, result)):
        raise XrcoreError(f"{path}: {tag(keyword)} must be {'' if count is None else f'{count} '}numbers, got {str(value)[:60]!r}")
    return result


def tag(keyword: str) -> str:
    """`Keyword (gggg,eeee)`, as messages name a tag."""
    value = pydicom.datadict.tag_for_keyword(keyword)
    assert value is not None
    return f"{keyword} ({value >> 16:04x},{value & 0xFFFF:04x})"


def text(dataset: Dataset, keyword: str) -> str:
    """A tag as one short printable line, empty if absent."""
    value = dataset.get(keyword)
    return "" if value is None else "".join(c for c in str(value)[:200] if c.isprintable()).strip()


def _brief(error: Exception) -> str:
    line = (str(error).splitlines() or [""])[0]
    return "".join(c for c in line if c.isprintable())[:80] or type(error).__name__
