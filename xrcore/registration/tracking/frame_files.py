"""Find the files of a sequence, and their order: what is not read, or comes otherwise than it was given, is said."""

from __future__ import annotations

import glob
import mimetypes
import os
import re
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image
from pydicom.dataset import Dataset

from xrcore._util.errors import XrcoreError
from xrcore._util.file_suffixes import DICOM_SUFFIXES, VOLUME_SUFFIXES, XRAY_SUFFIXES
from xrcore._util.input_files import check_file, open_file
from xrcore._util.suppress_stderr import suppress_library_output
from xrcore.ct.dicom_tags import frame_count, is_dicom, number, read_dataset, tag

Place = tuple[Path, int | None]  # a file and, of a multi-frame one, the frame
_KINDS = {**dict.fromkeys(DICOM_SUFFIXES, "DICOM"), ".png": "PNG", ".tif": "TIFF", ".tiff": "TIFF"}
_SHOWN = 3  # names in a message
# orders in which shells put names: of bytes, in any case, without regard to punctuation
_SHELLS = (str, str.casefold, lambda name: re.sub(r"[\W_]", "", name.casefold()))


def files_of(source: str, beside: Collection[str], notes: list[str]) -> list[Path]:
    """The files of a folder or a pattern in the order of the numbers in their names; of a file itself.

    beside: real paths of files that say how frames are meant, such as a mask's, and are none.
    """
    if os.path.isdir(source):
        return _in_folder(source, beside, notes)
    if not os.path.lexists(source) and glob.has_magic(source):
        matched = [Path(path) for path in glob.glob(source) if os.path.realpath(path) not in beside]
        if not matched:
            raise XrcoreError(f"{source}: no file matches this pattern")
        return sorted(matched, key=_by_number)
    return [Path(source)]


def _in_folder(source: str, beside: Collection[str], notes: list[str]) -> list[Path]:
    seen = sorted((path for path in Path(source).iterdir() if not path.name.startswith(".")), key=_by_number)  # others are of the system
    files = [path for path in seen if not path.is_dir() and os.path.realpath(path) not in beside]
    found = [path for path in files if path.suffix.lower() in XRAY_SUFFIXES]
    if not found:
        found = [path for path in files if _has_mark(path)]
    kinds = sorted({_KINDS.get(path.suffix.lower(), "DICOM") for path in found})
    if not found:
        raise XrcoreError(f"{source}: no images in this folder ({', '.join(XRAY_SUFFIXES)}, or DICOM without a suffix)")
    if len(kinds) > 1:
        pattern = os.path.join(source, f"*{found[0].suffix}")
        raise XrcoreError(f"{source}: holds {' and '.join(kinds)} files; give those of one kind, as by the pattern '{pattern}'")
    left = [f"{path.name}{os.sep}" if path.is_dir() else path.name for path in seen if path not in found and _may_be_frames(path, beside)]
    if left:
        notes.append(f"{source}: not read: {_some(left)}; frames are its {len(found)} {kinds[0]} files")
    return found


def _may_be_frames(path: Path, beside: Collection[str]) -> bool:
    """Whether somebody may take this for frames: a folder, an image, a film, a volume, or DICOM."""
    if path.is_dir():
        return True
    kind = (mimetypes.guess_type(path.name)[0] or "").partition("/")[0]
    image = kind in ("image", "video") or path.name.lower().endswith(VOLUME_SUFFIXES)
    return os.path.realpath(path) not in beside and (image or _has_mark(path))


def _has_mark(path: Path) -> bool:
    """Whether a file has DICOM's mark, or cannot be looked at; a DICOMDIR has it, and no image."""
    try:
        return path.name != "DICOMDIR" and is_dicom(path)
    except XrcoreError:
        return True


def in_order(paths: Sequence[Path], notes: list[str]) -> list[Path]:
    """Files that were given one by one: in the order of the numbers in their names where a shell put them in another, else as given."""
    given, natural = list(paths), sorted(paths, key=_by_number)
    if given == natural:
        return given
    first, other = next((a.name, b.name) for a, b in zip(natural, given, strict=True) if a != b)
    names = [str(path) for path in given]
    if any(names == sorted(names, key=key) for key in _SHELLS):
        notes.append(f"frames come in the order of the numbers in their names, {first} before {other}")
        return natural
    notes.append(f"frames come in the order given, {other} before {first}, which is not that of the numbers in their names")
    return given


def _by_number(path: Path) -> tuple[list[tuple[int, str]], str]:
    """Order of paths in which 10 comes after 9."""
    parts = re.split(r"(\d+)", str(path))
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts], str(path)


class _Header(NamedTuple):
    frames: int
    size: tuple[int, int] | None = None  # rows and columns
    instance: float | None = None  # of DICOM


def places_of(paths: Sequence[Path], notes: list[str]) -> list[Place]:
    """The frames of files; of several, one that is damaged counts as one frame, of which reading it says why."""
    headers = []
    for path in paths:
        with open_file(path):
            pass
        try:
            headers.append(_header(path))
        except XrcoreError:
            if len(paths) == 1 or path.suffix.lower() not in XRAY_SUFFIXES:
                raise
            headers.append(_Header(1))
    instances = [header.instance for header in headers if header.instance is not None]
    if len(set(instances)) == len(paths) and instances != sorted(instances):
        notes.append(f"frames come in the order of their names, {paths[0].name} first, which is not that of {tag('InstanceNumber')}")
    sizes: dict[tuple[int, int], str] = {}  # and the first file of each
    for path, header in zip(paths, headers, strict=True):
        if header.size is not None:
            sizes.setdefault(header.size, path.name)
    if len(sizes) > 1:
        several = ", ".join(f"{rows} x {cols} ({name})" for (rows, cols), name in list(sizes.items())[:_SHOWN])
        notes.append(f"frames are of several sizes: {several}; the geometry must be right for all")
    return [
        place
        for path, header in zip(paths, headers, strict=True)
        for place in ([(path, None)] if header.frames == 1 else [(path, frame) for frame in range(header.frames)])
    ]


def _header(path: Path) -> _Header:
    check_file(path)
    if is_dicom(path):
        data = read_dataset(path, ("NumberOfFrames", "InstanceNumber", "Rows", "Columns"))
        count = frame_count(data, path)
        if count > path.stat().st_size:
            raise XrcoreError(f"{path}: {tag('NumberOfFrames')} is {count}, more than the file has bytes; damaged")
        rows, cols, instance = (_number_or_none(data, keyword, path) for keyword in ("Rows", "Columns", "InstanceNumber"))
        return _Header(count, None if rows is None or cols is None else (int(rows), int(cols)), instance)
    try:
        with suppress_library_output(), Image.open(path, formats=("PNG", "TIFF")) as image:
            return _Header(getattr(image, "n_frames", 1), (image.height, image.width))
    except Exception:  # a damaged file can raise anything in a decoder
        raise XrcoreError(f"{path}: cannot be read as PNG or TIFF; damaged, truncated or not an image") from None


def _number_or_none(data: Dataset, keyword: str, path: Path) -> float | None:
    """None also where it makes no sense: reading the frame says that, if it matters."""
    try:
        return number(data, keyword, path)
    except XrcoreError:
        return None


def given_twice(places: Sequence[Sequence[Place]]) -> tuple[str, ...]:
    """A note on files that are given more than once."""
    instants = [tuple((os.path.realpath(path), frame) for path, frame in several) for several in places]
    counts = Counter(instants)
    again = dict.fromkeys(several[0][0].name for several, own in zip(places, instants, strict=True) if counts[own] > 1)
    return (f"given more than once: {_some(list(again))}",) if again else ()


def _some(names: Sequence[str]) -> str:
    """Names, the first few."""
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
