"""Find the slices among the files of a folder, and what their headers say."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydicom.config import IGNORE
from pydicom.dataset import Dataset
from pydicom.uid import UID

from xrcore._util.errors import XrcoreError
from xrcore._util.file_suffixes import DICOM_SUFFIXES
from xrcore.ct.dicom_tags import frame_count, frame_tags, is_dicom, number, numbers, read_dataset, text

MOST_FILES = 20_000
PLACE = {"position": ("ImagePositionPatient", 3), "orientation": ("ImageOrientationPatient", 6), "pixel_spacing": ("PixelSpacing", 2)}
_TAGS = (
    "SOPClassUID",
    "SeriesInstanceUID",
    "SeriesDescription",
    "Modality",
    "ImageType",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "FrameOfReferenceUID",
)
_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
# what lies beside slices without being any
_DOCUMENTS = (".txt", ".md", ".pdf", ".html", ".htm", ".xml", ".json", ".csv", ".log", ".yaml", ".yml", ".ini", ".inf", ".png", ".jpg")


@dataclass(frozen=True, kw_only=True)
class Slice:
    """What the header says of a slice, enough to group and order: a file, or a frame of one."""

    path: Path
    frame: int
    uid: str
    description: str
    modality: str
    localizer: bool
    shape: tuple[int, int]
    position: list[float] | None
    orientation: list[float] | None
    pixel_spacing: list[float] | None
    frame_of_reference: str


def slices_of(path: Path) -> tuple[list[Slice], list[str]]:
    """The slices of a folder and its subfolders, or of one of their files with the files beside it that are of its series.

    The second list holds remarks on files that were passed over. Raises XrcoreError for a file that cannot be read, and for one that
    should be a slice by its name but is not DICOM: at either end of a series its loss would not show.
    """
    if path.is_dir():
        return _among(list(_files(path)), path)
    own = headers(path)
    if len(own) != 1:
        return own, []
    found, notes = _among([p for p in sorted(path.parent.iterdir()) if not p.is_dir() and not p.name.startswith(".")], path.parent)
    return [one for one in found if one.uid == own[0].uid] or own, notes


def _among(files: list[Path], folder: Path) -> tuple[list[Slice], list[str]]:
    """The slices among files, and a remark on what else there is in the folders of slices."""
    dicom = [p for p in files if is_dicom(p)]
    found = [one for p in dicom for one in headers(p)]
    named = {(p.parent, pattern) for p in {one.path for one in found} for pattern in _patterns(p)}
    folders, passed = {parent for parent, _ in named}, []
    for other in sorted(set(files) - set(dicom)):
        if other.suffix.lower() in DICOM_SUFFIXES or any((other.parent, pattern) in named for pattern in _patterns(other)):
            raise XrcoreError(f"{other}: not a DICOM file (it lacks DICOM's mark); damaged? restore or remove it")
        if other.parent in folders and other.suffix.lower() not in _DOCUMENTS:
            passed.append(other.name)
    return found, [f"{folder}: not DICOM, passed over: {_listed(passed)}"] if passed else []


def _patterns(path: Path) -> set[str]:
    """What names of one series have in common: the suffix, and the name without its numbers."""
    return {re.sub(r"[0-9]+", "#", path.name)} | ({path.suffix.lower()} - {""})


def _files(folder: Path) -> Iterator[Path]:
    """The files of a folder and its subfolders, in the order of their names; hidden ones are left out."""

    def refuse(error: OSError) -> None:
        raise XrcoreError(f"{error.filename}: cannot be opened ({error.strerror})")

    count = 0
    for root, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        shown = sorted(name for name in names if not name.startswith("."))
        count += len(shown)
        if count > MOST_FILES:
            raise XrcoreError(f"{folder}: more than {MOST_FILES} files; give the folder of one CT series")
        yield from (Path(root, name) for name in shown)


def headers(path: Path) -> list[Slice]:
    """The slices of one DICOM file: one, or as many as it has frames; none where it holds no image (a report, a directory)."""
    dataset = read_dataset(path, (*_TAGS, *_GROUPS, *(keyword for keyword, _ in PLACE.values())))
    if "Rows" not in dataset and "Columns" not in dataset and not UID(text(dataset, "SOPClassUID"), IGNORE).name.endswith("Image Storage"):
        return []
    # frames without groups of their own have no places either: one slice stands for them, to be refused with its series
    frames = frame_count(dataset, path) if dataset.get("PerFrameFunctionalGroupsSequence") else 1
    return [_header(frame_tags(dataset, k, path), path, k) for k in range(frames)]


def _header(dataset: Dataset, path: Path, frame: int) -> Slice:
    shape = (int(number(dataset, "Rows", path) or 0), int(number(dataset, "Columns", path) or 0))
    if min(shape) < 1:
        raise XrcoreError(f"{path}: a {text(dataset, 'Modality') or 'DICOM'} file without rows and columns; damaged? restore or remove it")
    return Slice(
        path=path,
        frame=frame,
        uid=text(dataset, "SeriesInstanceUID"),
        description=text(dataset, "SeriesDescription"),
        modality=text(dataset, "Modality"),
        localizer="LOCALIZER" in text(dataset, "ImageType").upper(),
        shape=shape,
        frame_of_reference=text(dataset, "FrameOfReferenceUID"),
        **{name: numbers(dataset, keyword, count, path) for name, (keyword, count) in PLACE.items()},
    )


def _listed(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
