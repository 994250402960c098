"""Read sequences of X-rays: multi-frame files, and folders or lists of images, of one camera or of several."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from xrcore._util.errors import XrcoreError, require
from xrcore._util.file_suffixes import XRAY_SUFFIXES
from xrcore._util.input_files import check_file
from xrcore.ct.dicom_tags import frame_count, is_dicom, read_dataset, tag
from xrcore.registration.view import View, views_of
from xrcore.registration.view_reading import read_views
from xrcore.xray.reading import read_xray

Place = tuple[Path, int | None]  # a file and, of a multi-frame one, the frame


@dataclass(frozen=True)
class Frames:
    """A sequence that is read as it is walked: each item the views of one instant.

    Parameters
    ----------
    places : tuple of tuple
        For each instant, for each camera, the file and, of a multi-frame one, the frame.
    carm : path, optional
        As for `read_xray`.
    rig : sequence of path, or str, optional
        As for `read_views`.
    detector : str, optional
        As for `read_xray`.
    """

    places: tuple[tuple[Place, ...], ...]
    carm: Path | None = None
    rig: str | Sequence[str | os.PathLike[str]] | None = None
    detector: str | None = None

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, number: int) -> list[View]:
        several = self.places[number]
        if self.rig is None:
            ((path, frame),) = several
            return list(views_of("read_frames", read_xray(path, self.carm, detector=self.detector, frame=frame)))
        # of several files each has its own frame number, which is the same or not there
        frames = {frame for _, frame in several}
        frame = frames.pop() if len(frames) == 1 else None
        if frames:
            raise XrcoreError(f"{several[0][0]}: several frames, unlike {several[-1][0]}; give sequences of one kind")
        return read_views([path for path, _ in several], self.rig, detector=self.detector, frame=frame)

    def __iter__(self) -> Iterator[list[View]]:
        return (self[number] for number in range(len(self)))

    def after(self, count: int) -> Frames:
        """Leave out the first frames.

        Parameters
        ----------
        count : int
            How many.

        Returns
        -------
        Frames
            The others.
        """
        return Frames(self.places[count:], self.carm, self.rig, self.detector)

    @property
    def files(self) -> tuple[Path, ...]:
        """All that the frames are read from, each once."""
        return tuple(dict.fromkeys(path for several in self.places for path, _ in several))

    @property
    def names(self) -> tuple[str, ...]:
        """Each frame's (first) file, and its frame number there."""
        return tuple(path.name if frame is None else f"{path.name}#{frame}" for ((path, frame), *_) in self.places)


def read_frames(
    sources: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    carm: str | os.PathLike[str] | None = None,
    *,
    rig: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = None,
    detector: str | None = None,
) -> Frames:
    """Find the X-rays of a sequence; they are read one by one as it is walked.

    Parameters
    ----------
    sources : path or sequence of path
        Multi-frame DICOM or TIFF files, folders of images, patterns such as `cam1/*.tif`, or single images. Images of a folder or a
        pattern come in the order of the numbers in their names. Without a rig all are one sequence; with one, each is a camera's.
    carm : path, optional
        As for `read_xray`, for all frames.
    rig : path or sequence of path, optional
        As for `read_views`: where the cameras stood.
    detector : str, optional
        As for `read_xray`.

    Returns
    -------
    Frames
        With as many items as there are instants.

    Raises
    ------
    XrcoreError
        If there are no files, or not as many of each camera.
    """
    given = [sources] if isinstance(sources, (str, os.PathLike)) else list(sources) if isinstance(sources, Sequence) else []
    paths = bool(given) and all(isinstance(one, (str, os.PathLike)) for one in given)
    require("read_frames", "sources", sources, paths, "a path, or a list of paths")
    parts = [_places(os.fspath(source)) for source in given]
    at = None if carm is None else Path(carm)
    if rig is None:
        return Frames(tuple((place,) for part in parts for place in part), at, None, detector)
    counts = [len(part) for part in parts]
    if len(set(counts)) > 1:
        raise XrcoreError(f"{' and '.join(map(str, given))}: {' and '.join(map(str, counts))} frames; each camera must have as many")
    files = rig if isinstance(rig, str) and rig == "angles" else [rig] if isinstance(rig, (str, os.PathLike)) else list(rig)
    return Frames(tuple(zip(*parts, strict=True)), at, files, detector)


def _places(source: str) -> list[Place]:
    """Files of a folder or a pattern in order, or the frames of a file."""
    if os.path.isdir(source):
        seen = (path for path in Path(source).iterdir() if not path.name.startswith("."))  # others are of the system, such as ._1.png
        found = [path for path in seen if path.suffix.lower() in XRAY_SUFFIXES and path.is_file()]
        if not found:
            raise XrcoreError(f"{source}: no images in this folder ({', '.join(XRAY_SUFFIXES)})")
        return [place for path in sorted(found, key=_by_number) for place in _frames_of(path)]
    if not os.path.lexists(source) and glob.has_magic(source):
        matched = [Path(path) for path in glob.glob(source)]
        if not matched:
            raise XrcoreError(f"{source}: no file matches this pattern")
        return [place for path in sorted(matched, key=_by_number) for place in _frames_of(path)]
    return _frames_of(Path(source))


def _by_number(path: Path) -> list[tuple[int, str]]:
    """Order of names in which 10 comes after 9."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", path.name)]


def _frames_of(path: Path) -> list[Place]:
    check_file(path)
    if is_dicom(path):
        count = frame_count(read_dataset(path), path)
        if count > path.stat().st_size:
            raise XrcoreError(f"{path}: {tag('NumberOfFrames')} is {count}, more than the file has bytes; damaged")
    else:
        try:
            with Image.open(path, formats=("PNG", "TIFF")) as image:
                count = getattr(image, "n_frames", 1)
        except Exception:  # a damaged file can raise anything in a decoder
            raise XrcoreError(f"{path}: cannot be read as PNG or TIFF; damaged, truncated or not an image") from None
    return [(path, None)] if count == 1 else [(path, frame) for frame in range(count)]
