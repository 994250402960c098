"""Whose CTs the experiments use, and where they lie."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from jaxtyping import Float
from torch import Tensor

from xrcore.ct import Volume, read_ct
from xrcore.errors import XrcoreError
from xrcore.phantom import pelvis

_VARIABLE = "XRCORE_DATA_MIRROR"


class Subject(Protocol):
    """What an experiment asks of a patient: `number` tells it from others in a table, `volume` is its CT at a spacing [mm]."""

    @property
    def number(self) -> str: ...

    @property
    def name(self) -> str: ...

    def volume(self, spacing: float) -> Volume: ...


def data_root(root: str | os.PathLike[str] | None = None) -> Path:
    """The folder that holds ct/ and xray/: `root`, else what XRCORE_DATA_MIRROR names; raises XrcoreError where there is none."""
    named = root or os.environ.get(_VARIABLE)
    if not named:
        raise XrcoreError(f"the CTs were not found; set {_VARIABLE} to the folder that holds ct/ and xray/")
    folder = Path(named)
    if not folder.is_dir():
        raise XrcoreError(f"{folder}: the CTs were not found; set {_VARIABLE} to the folder that holds ct/ and xray/")
    return folder


@dataclass(frozen=True)
class Patient:
    """number and name as in the paper's Table 3. path: below the data root. options: of `read_ct`. root: see `data_root`."""

    number: str
    name: str
    path: str
    options: dict[str, Any] = field(default_factory=dict)
    root: str | os.PathLike[str] | None = None

    @property
    def file(self) -> Path:
        """Where the CT should be, whether it is there or not."""
        return data_root(self.root) / self.path

    def volume(self, spacing: float) -> Volume:
        """The CT at `spacing` [mm]."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # remarks about these CTs are known
            return read_ct(self.file, spacing=spacing, **self.options)


@dataclass(frozen=True)
class Phantom:
    """A procedural patient (`xrcore.phantom.pelvis`), for experiments without data."""

    seed: int = 0
    implant: bool = False

    @property
    def number(self) -> str:
        return f"phantom-{self.seed}" + ("#" if self.implant else "")

    @property
    def name(self) -> str:
        return "phantom"

    def volume(self, spacing: float) -> Volume:
        """The phantom at `spacing` [mm]."""
        return pelvis(seed=self.seed, spacing=spacing, implant=self.implant)


PATIENTS = (
    Patient("1", "abdomen", "ct/cort_abdomen_dicom"),
    # its publishers zeroed the soft tissue
    Patient("2", "pelvis-bone", "ct/rayemb_pelvis_bone.nii.gz", {"background": 0}),
    Patient("3", "thorax", "ct/totalsegmentator_thorax.nii.gz"),
    Patient("4", "hip", "ct/sts_036.nii.gz"),
    Patient("5", "femur", "ct/sts_040.nii.gz"),
    Patient("6#", "pelvis-implant", "ct/totalsegmentator_pelvis_implant.nii.gz"),
)


def chosen(numbers: str | None = None, root: str | os.PathLike[str] | None = None) -> tuple[Patient, ...]:
    """Patients by number ("1,6#"), default all six; raises XrcoreError for a number that is none, and where the data are not there."""
    folder = data_root(root)
    known = {patient.number: replace(patient, root=folder) for patient in PATIENTS}
    wanted = list(known) if numbers is None else [number.strip() for number in numbers.split(",")]
    for number in wanted:
        if number not in known:
            raise XrcoreError(f"there is no patient {number!r}; choose from {', '.join(known)}")
    return tuple(known[number] for number in wanted)


class Loaded:
    """A subject whose volumes and landmarks are kept once made."""

    def __init__(self, subject: Subject) -> None:
        self.number, self.name = subject.number, subject.name
        self._subject = subject
        self._volumes: dict[float, Volume] = {}
        self._landmarks: dict[tuple[float, int], Float[Tensor, "n 3"]] = {}

    def volume(self, spacing: float) -> Volume:
        if spacing not in self._volumes:
            self._volumes[spacing] = self._subject.volume(spacing)
        return self._volumes[spacing]

    def landmarks(self, spacing: float, count: int) -> Float[Tensor, "n 3"]:
        """`Volume.surface_points` of the volume at `spacing` [mm]."""
        key = (spacing, count)
        if key not in self._landmarks:
            self._landmarks[key] = self.volume(spacing).surface_points(count)
        return self._landmarks[key]
