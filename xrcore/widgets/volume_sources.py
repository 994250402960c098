"""Sources of a widget's volumes: a CT file, the built-in phantom, or a given volume."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from xrcore.ct import Volume, read_ct
from xrcore.phantom import pelvis

SPACING = 2.0  # [mm], of the volumes that a widget asks for


@runtime_checkable
class VolumeSource(Protocol):
    """Interface: gives the CT of one patient at a voxel size."""

    def volume(self, spacing: float) -> Volume:
        """Give the patient's volume.

        Parameters
        ----------
        spacing : float
            Voxel size [mm].

        Returns
        -------
        Volume
            The CT.

        Raises
        ------
        XrcoreError
            If it cannot be read.
        """
        ...


@dataclass(frozen=True, eq=False)
class GivenVolume:
    """A given volume, returned whatever spacing is asked for."""

    given: Volume

    def volume(self, spacing: float) -> Volume:
        return self.given


@dataclass(frozen=True)
class CtFile:
    """A CT on the disk.

    Parameters
    ----------
    file : path
        A NIfTI, NRRD or MetaImage file, or a folder of DICOM slices.
    options : mapping
        Keyword arguments of `xrcore.read_ct`, such as `background`.
    """

    file: Path
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def volume(self, spacing: float) -> Volume:
        """Read the CT.

        Parameters
        ----------
        spacing : float
            Voxel size [mm].

        Returns
        -------
        Volume
            The CT on a grid of that spacing.

        Raises
        ------
        XrcoreError
            If it cannot be read.
        """
        return read_ct(self.file, spacing, **self.options)


@dataclass(frozen=True)
class BuiltInPhantom:
    """The procedural pelvis, a patient without a download.

    Parameters
    ----------
    seed : int
        Which patient.
    implant : bool
        Whether one hip is replaced.
    """

    seed: int = 0
    implant: bool = False

    def volume(self, spacing: float) -> Volume:
        """Make the pelvis.

        Parameters
        ----------
        spacing : float
            Voxel size [mm], 0.5 to 10.

        Returns
        -------
        Volume
            The same patient at every spacing.
        """
        return pelvis(seed=self.seed, spacing=spacing, implant=self.implant)


PHANTOMS: Mapping[str, VolumeSource] = {"phantom": BuiltInPhantom(), "phantom with implant": BuiltInPhantom(implant=True)}
