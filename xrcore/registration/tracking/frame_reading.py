"""Read sequences of X-rays: multi-frame files, and folders or lists of images, of one camera or of several."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

from xrcore._util.errors import XrcoreError, naming, require
from xrcore._util.input_files import checked_paths
from xrcore.geometry import CArm
from xrcore.registration.tracking.frame_files import Place, files_of, given_twice, in_order, places_of
from xrcore.registration.view import View, views_of
from xrcore.registration.view_reading import ANGLES, read_views
from xrcore.xray.carm_file import mask_file
from xrcore.xray.positioner_angles import DETECTOR
from xrcore.xray.reading import read_xray
from xrcore.xray.rig_file import read_rig


@dataclass(frozen=True, repr=False)
class Frames(Sequence[list[View]]):
    """A sequence that is read as it is walked: each item the views of one instant, a slice a shorter sequence.

    Parameters
    ----------
    places : tuple of tuple
        For each instant, for each camera, the file and, of a multi-frame one, the frame.
    carm : CArm or path, optional
        As for `read_xray`.
    rig : sequence of path, or str, optional
        As for `read_views`.
    detector : str, optional
        As for `read_xray`.
    notes : tuple of str
        One-line remarks for the user, such as what is not read.
    """

    places: tuple[tuple[Place, ...], ...]
    carm: CArm | str | os.PathLike[str] | None = None
    rig: str | Sequence[str | os.PathLike[str]] | None = None
    detector: str | None = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.places)

    @overload
    def __getitem__(self, number: int) -> list[View]: ...

    @overload
    def __getitem__(self, number: slice) -> Frames: ...

    def __getitem__(self, number: int | slice) -> list[View] | Frames:
        if isinstance(number, slice):
            return replace(self, places=self.places[number])
        several = self.places[number]
        try:
            return self._read(several)
        except XrcoreError as error:
            path, frame = several[0]
            which = "" if frame is None else f"#{frame}"
            raise XrcoreError(str(error).replace(f"{path}: ", f"{path}{which}: ", 1)) from None

    def _read(self, several: tuple[Place, ...]) -> list[View]:
        if self.rig is None:
            ((path, frame),) = several
            with naming(str(path)):
                return list(views_of("read_frames", read_xray(path, self.carm, detector=self.detector, frame=frame)))
        # of several files each has its own frame number, which is the same or not there
        frames = {frame for _, frame in several}
        frame = frames.pop() if len(frames) == 1 else None
        if frames:
            raise XrcoreError(f"{several[0][0]}: several frames, unlike {several[-1][0]}; give sequences of one kind")
        return read_views([path for path, _ in several], self.rig, carm=self.carm, detector=self.detector, frame=frame)

    def __repr__(self) -> str:
        ends = "" if not self.places else f", {self.names[0]} to {self.names[-1]}"
        return "\n".join([f"Frames: {len(self)}{ends}", *(f"  note: {note}" for note in self.notes)])

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
    carm: CArm | str | os.PathLike[str] | None = None,
    *,
    rig: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = None,
    detector: str | None = None,
) -> Frames:
    """Find the X-rays of a sequence; they are read one by one as it is walked.

    Parameters
    ----------
    sources : path or sequence of path
        Multi-frame DICOM or TIFF files, folders of images, patterns such as `cam1/*.tif`, or single images. Images of a folder or a
        pattern come in the order of the numbers in their names, and so do images given one by one in the order of a shell, 10 before 9.
        Without a rig all are one sequence; with one, each is a camera's.
    carm : CArm or path, optional
        As for `read_xray`, for all frames; with a rig beside "angles" only.
    rig : path or sequence of path, optional
        As for `read_views`: where the cameras stood.
    detector : str, optional
        As for `read_xray`.

    Returns
    -------
    Frames
        With as many items as there are instants; `notes` says what was not read, or comes in another order than it was given.

    Raises
    ------
    XrcoreError
        If there are no files, or not as many of each camera.
    """
    given = [os.fspath(source) for source in checked_paths("read_frames", "sources", sources)]
    require(
        "read_frames", "carm", carm, carm is None or isinstance(carm, (CArm, str, os.PathLike)), "a CArm, the path of a carm.yaml, or None"
    )
    side = detector is None or (isinstance(detector, str) and detector in DETECTOR)
    require("read_frames", "detector", detector, side, f"{' or '.join(DETECTOR)}, or None")
    rigs = None if rig is None else checked_paths("read_frames", "rig", rig)
    rig_files = None if rig == ANGLES else rigs
    if rig_files is not None and carm is not None:
        raise XrcoreError("read_frames: give rig, whose files hold each camera's geometry, or carm, not both")
    notes: list[str] = []
    beside = _beside(carm, rig_files)
    found = [files_of(source, beside, notes) for source in given]
    if rigs is None:
        files = [file for part in found for file in part]
        single = files == [Path(source) for source in given]
        places = [(place,) for place in places_of(in_order(files, notes) if single else files, notes)]
    else:
        parts = [places_of(files, notes) for files in found]
        counts = [len(part) for part in parts]
        if len(set(counts)) > 1:
            raise XrcoreError(f"{' and '.join(given)}: {' and '.join(map(str, counts))} frames; each camera must have as many")
        places = list(zip(*parts, strict=True))
        if len(places) == 1:
            notes.append(f"one instant of {len(given)} cameras; give each camera's frames as a folder, or a pattern in quotes")
    notes += given_twice(places)
    return Frames(tuple(places), carm, ANGLES if rig == ANGLES else None if rigs is None else tuple(rigs), detector, tuple(notes))


def _beside(carm: object, rigs: Sequence[str | os.PathLike[str]] | None) -> set[str]:
    """Real paths of the masks that geometry files name, and of these: no frames, though a folder may hold them."""
    files = [file for path in rigs or () for camera in read_rig(path) for file in camera.files]
    if isinstance(carm, (str, os.PathLike)):
        files += [Path(carm), *filter(None, [mask_file(carm)])]
    return {os.path.realpath(file) for file in files}


def attempts(frames: Iterable[Any], first: int = 0) -> Iterator[Any]:
    """Walk frames; in the place of one of a sequence that cannot be read, the XrcoreError that says why. first: to begin with."""
    if not isinstance(frames, Sequence):
        yield from frames
        return
    for number in range(first, len(frames)):
        try:
            frame = frames[number]
        except XrcoreError as error:
            frame = error
        yield frame
