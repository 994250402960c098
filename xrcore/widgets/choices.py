"""What a reader may choose from: patients, beams, views."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from companion.experiments.patients import PATIENTS, Phantom
from xrcore._util.errors import XrcoreError
from xrcore.beam import Beam
from xrcore.ct import Volume, read_ct


class CtSource(Protocol):
    """Where volumes of one patient come from: `volume(spacing)` [mm]."""

    def volume(self, spacing: float) -> Volume: ...


SPACING = 2.0  # [mm], of the CTs that a widget reads

# Of the pelvis, which gave inlet and outlet their names. Inlet: the beam comes from the head's side, the detector moves to the feet.
VIEWS: dict[str, dict[str, float]] = {
    "AP": {},
    "lateral": {"ry": 90.0},
    "inlet": {"rx": -40.0},
    "outlet": {"rx": 40.0},
    "oblique": {"ry": 45.0},
}

BEAMS: dict[str, Beam] = {
    "90 kV": Beam(),
    "60 kV": Beam(kilovolts=60),
    "120 kV": Beam(kilovolts=120),
    "60 keV, one energy": Beam.monochromatic(60.0),
}


def beams(given: Beam) -> list[tuple[str, Beam]]:
    """Names and beams to choose from, the one given among them."""
    known = list(BEAMS.items())
    return known if given in BEAMS.values() else [("the beam given", given), *known]


@dataclass(frozen=True, eq=False)
class Given:
    """A volume that somebody handed over: it has the voxels it has."""

    given: Volume

    def volume(self, spacing: float) -> Volume:
        return self.given


@dataclass(frozen=True)
class CtFile:
    """A CT on the disk. options: of `read_ct`."""

    file: Path
    options: Mapping[str, Any] = field(default_factory=dict)

    def volume(self, spacing: float) -> Volume:
        """The CT at `spacing` [mm]; raises XrcoreError where it cannot be read."""
        return read_ct(self.file, spacing, **self.options)


def patients() -> dict[str, CtSource]:
    """The patients at hand: two phantoms, and those of the paper's whose CTs were fetched."""
    found: dict[str, CtSource] = {"phantom": Phantom(), "phantom with implant": Phantom(implant=True)}
    for patient in PATIENTS:
        try:
            there = patient.file.exists()
        except XrcoreError:  # no data on this machine
            break
        if there:
            found[f"{patient.number} {patient.name}"] = patient
    return found
