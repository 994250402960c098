"""TestSet: true poses and their X-rays, as one frozen object."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, replace
from functools import partial
from typing import ClassVar

import torch

from companion.experiments.patients import Subject
from companion.experiments.seeds import generator, stream
from companion.experiments.setup_digest import digest
from xrcore import Acquisition, CArm, Pose, Xray, render, simulate
from xrcore.geometry import PAPER_CARM
from xrcore.utilities import require

PROTOCOLS = ("acquired", "paper")
RANDOM = "random"


_require = partial(require, "TestSet")


@dataclass(frozen=True)
class TestSet:
    """Cases of one kind, the same for the same seed; more poses leave the first as they were.

    Parameters
    ----------
    name : str
        In tables.
    protocol : str
        "acquired": from a finer grid, another integrator and another spectrum, with noise, scatter, blur and a circular mask;
        "paper": noise-free, from the registration's own renderer and volume (the inverse crime, as the paper's simulated test does).
    poses : int
        How many a patient.
    seed : int
        Of poses and noise.
    rotation, translation : (float, float, float)
        Half-widths of the uniform truths about the zero pose [deg, mm]; default the paper's. Sets that differ in neither these nor the
        seed share their truths.
    acquisition : Acquisition or str or None
        Of the "acquired" X-rays, default `Acquisition()`; "random" draws one for each case.
    carm : CArm
        Of the X-rays.
    spacing, fine_spacing : float
        Of the CT that is registered, and of the one the acquired X-rays come from [mm].
    landmarks : int
        How many points of the registered CT the errors are measured on.

    Raises
    ------
    XrcoreError
        Naming the field that makes no sense.
    """

    __test__: ClassVar[bool] = False  # its name does not make it one of pytest's

    name: str
    _: KW_ONLY
    protocol: str = "acquired"
    poses: int = 50
    seed: int = 0
    rotation: tuple[float, float, float] = (15.0, 15.0, 10.0)
    translation: tuple[float, float, float] = (30.0, 30.0, 30.0)
    acquisition: Acquisition | str | None = None
    carm: CArm = PAPER_CARM
    spacing: float = 2.0
    fine_spacing: float = 1.25
    landmarks: int = 64

    def __post_init__(self) -> None:
        _require("name", self.name, bool(self.name), "given")
        _require("protocol", self.protocol, self.protocol in PROTOCOLS, f"one of {', '.join(PROTOCOLS)}")
        for name in ("rotation", "translation"):
            value = tuple(float(v) for v in getattr(self, name))
            _require(name, value, len(value) == 3 and all(v >= 0 for v in value), "three half-widths, not negative")
            object.__setattr__(self, name, value)
        for name in ("poses", "landmarks"):
            _require(name, getattr(self, name), getattr(self, name) >= 1, "at least 1")
        for name in ("spacing", "fine_spacing"):
            _require(name, getattr(self, name), getattr(self, name) > 0, "positive, in mm")
        if isinstance(self.acquisition, str):
            _require("acquisition", self.acquisition, self.acquisition == RANDOM, f"an Acquisition, {RANDOM!r} or None")
        _require("acquisition", self.acquisition, self.acquisition is None or self.protocol == "acquired", "None for the paper's protocol")

    @property
    def setup(self) -> str:
        """Digest of everything that determines the cases, the name left out."""
        return digest(replace(self, name="-", poses=1))

    def truth(self, patient: Subject, case: int) -> Pose:
        """Draw the true pose of a case.

        Parameters
        ----------
        patient : Subject
            Whose CT.
        case : int
            Its number.

        Returns
        -------
        Pose
            The same for the same seed, patient and number.
        """
        draw = generator("truth", self.seed, patient.number, case)
        return Pose.random(rotation=self.rotation, translation=self.translation, generator=draw)

    def xray(self, patient: Subject, case: int) -> Xray:
        """Make the X-ray of a case.

        Parameters
        ----------
        patient : Subject
            Whose CT.
        case : int
            Its number.

        Returns
        -------
        Xray
            Without the truth.
        """
        truth = self.truth(patient, case)
        if self.protocol == "paper":
            with torch.no_grad():
                return Xray(image=render(patient.volume(self.spacing), self.carm, truth)[0], carm=self.carm)
        settings = self.acquisition
        if isinstance(settings, str):
            settings = Acquisition.random(generator("acquisition", self.seed, patient.number, case))
        seed = stream("noise", self.seed, patient.number, case)
        return simulate(patient.volume(self.fine_spacing), self.carm, truth, settings=settings, seed=seed)
