"""The patients of the experiments and the files of their CTs."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from jaxtyping import Float
from torch import Tensor

from companion.datasets.folders import existing_folder
from companion.datasets.store import Store, data_folder
from xrcore import Volume, XrcoreError, read_ct
from xrcore.phantom import pelvis

_VARIABLE = "XRCORE_DATA_MIRROR"


class Subject(Protocol):
    """Interface of a patient in an experiment."""

    @property
    def number(self) -> str:
        """Tells it from others in a table."""

    @property
    def name(self) -> str:
        """Of what it shows."""

    def volume(self, spacing: float) -> Volume:
        """Give its CT.

        Parameters
        ----------
        spacing : float
            Of the voxels [mm].

        Returns
        -------
        Volume
            The CT.
        """


def data_root(root: str | os.PathLike[str] | None = None) -> Path:
    """Find the folder that holds ct/ and xray/.

    Parameters
    ----------
    root : str or path, optional
        The folder; default what XRCORE_DATA_MIRROR names, else where `xrcore data fetch` puts them.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    XrcoreError
        If there is none.
    """
    named = root or os.environ.get(_VARIABLE)
    folder = Path(named) if named else data_folder()
    fetch = "" if named else "run `xrcore data fetch --all-patients`, or "
    return existing_folder(folder, f"the CTs were not found; {fetch}set {_VARIABLE} to the folder that holds ct/ and xray/")


@dataclass(frozen=True)
class Patient:
    """One of the experiments' patients.

    Parameters
    ----------
    number : str
        As in the paper's Table 3.
    name : str
        Also in the data manifest.
    path : str
        Below root; without a root, below the mirror of the data, else below the data folder.
    options : dict
        Of `read_ct`.
    root : str or path or None
        The folder that holds ct/.
    """

    number: str
    name: str
    path: str
    options: dict[str, Any] = field(default_factory=dict)
    root: str | os.PathLike[str] | None = None

    @property
    def file(self) -> Path:
        """Path of the CT, whether it is there or not."""
        folder = data_root(self.root)
        fetched = data_folder() / self.path
        return fetched if self.root is None and not (folder / self.path).exists() and fetched.exists() else folder / self.path

    def volume(self, spacing: float) -> Volume:
        """Read the CT.

        Parameters
        ----------
        spacing : float
            Of the voxels [mm].

        Returns
        -------
        Volume
            The CT.

        Raises
        ------
        XrcoreError
            Saying how to get it, where it is missing or not the manifest's.
        """
        file = Store().find(self.name) if self.root is None else self.file
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # remarks about these CTs are known
            return read_ct(file, spacing=spacing, **self.options)


@dataclass(frozen=True)
class Phantom:
    """A procedural patient (`xrcore.phantom.pelvis`), for experiments without data.

    Parameters
    ----------
    seed : int
        Tells phantoms apart.
    implant : bool
        Whether it has one.
    """

    seed: int = 0
    implant: bool = False

    @property
    def number(self) -> str:
        """The seed, and # for an implant."""
        return f"phantom-{self.seed}" + ("#" if self.implant else "")

    @property
    def name(self) -> str:
        """The same for all."""
        return "phantom"

    def volume(self, spacing: float) -> Volume:
        """Make the phantom.

        Parameters
        ----------
        spacing : float
            Of the voxels [mm].

        Returns
        -------
        Volume
            The phantom.
        """
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


def choose_patients(numbers: str | None = None, root: str | os.PathLike[str] | None = None) -> tuple[Patient, ...]:
    """Choose patients by number.

    Parameters
    ----------
    numbers : str, optional
        Such as "1,6#"; default all six.
    root : str or path, optional
        The folder that holds ct/; see `data_root`.

    Returns
    -------
    tuple of Patient
        In the order of their numbers as given.

    Raises
    ------
    XrcoreError
        For a number that is none, and where the data are not there.
    """
    if root is not None:
        data_root(root)
    known = {patient.number: replace(patient, root=root) for patient in PATIENTS}
    wanted = list(known) if numbers is None else [number.strip() for number in numbers.split(",")]
    for number in wanted:
        if number not in known:
            raise XrcoreError(f"there is no patient {number!r}; choose from {', '.join(known)}")
    patients = tuple(known[number] for number in wanted)
    for patient in patients if root is None else ():
        if not patient.file.exists():
            raise XrcoreError(
                f"patient {patient.number}: {patient.file} was not found; run `xrcore data fetch {patient.name}`, or set {_VARIABLE}"
            )
    return patients


def patients_on_disk() -> dict[str, Patient]:
    """Return those of the six patients whose CTs are on this machine.

    Returns
    -------
    dict of str to Patient
        By number and name; empty where there are no data.
    """
    try:
        return {f"{patient.number} {patient.name}": patient for patient in PATIENTS if patient.file.exists()}
    except XrcoreError:  # no data on this machine
        return {}


class Loaded:
    """A subject whose volumes and landmarks are cached.

    Parameters
    ----------
    subject : Subject
        Whose volumes.
    """

    def __init__(self, subject: Subject) -> None:
        self.number, self.name = subject.number, subject.name
        self._subject = subject
        self._volumes: dict[float, Volume] = {}

    def volume(self, spacing: float) -> Volume:
        """Give the CT.

        Parameters
        ----------
        spacing : float
            Of the voxels [mm].

        Returns
        -------
        Volume
            The same object for the same spacing.
        """
        if spacing not in self._volumes:
            self._volumes[spacing] = self._subject.volume(spacing)
        return self._volumes[spacing]

    def landmarks(self, spacing: float, count: int) -> Float[Tensor, "n 3"]:
        """Give points on the bones.

        Parameters
        ----------
        spacing : float
            Of the voxels [mm].
        count : int
            How many.

        Returns
        -------
        Float[Tensor, "n 3"]
            `Volume.surface_points` of that volume [mm].
        """
        return self.volume(spacing).surface_points(count)
