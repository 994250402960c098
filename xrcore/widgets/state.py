"""What is looked at: a CT, a C-arm, a beam and a pose. Views share it by observing it."""

from __future__ import annotations

import math
from typing import Any

from traitlets import Any as AnyTrait
from traitlets import Bool, HasTraits, Instance, TraitType, observe

from xrcore._util.collect_warnings import remarks
from xrcore._util.errors import XrcoreError
from xrcore.beam import Beam
from xrcore.ct import Volume
from xrcore.geometry import CArm, Pose
from xrcore.geometry.pose import NAMES
from xrcore.geometry.presets import PAPER_CARM
from xrcore.widgets.choices import SPACING, CtSource, Given


class _Six(TraitType[Any, Any]):
    """Six finite numbers, checked as they are set: what is refused is never held, not even while notifications are."""

    def validate(self, obj: Any, value: Any) -> tuple[float, ...]:
        try:
            numbers = tuple(float(v) for v in value)
        except (TypeError, ValueError):
            numbers = ()
        if len(numbers) != 6 or not all(map(math.isfinite, numbers)):
            raise XrcoreError(f"ViewState: a pose is six finite numbers, {', '.join(NAMES)}, got {value!r}")
        return numbers


class ViewState(HasTraits):
    """Traits `volume`, `carm`, `beam` and `numbers`, the six of the pose [deg, mm]; `observe` them as any traitlets' traits.

    volume: a Volume, or where volumes of a patient come from (`CtFile`, `companion.experiments.Phantom`); the trait `patient` is the latter.
    running: whether a computation moves the pose, so that hands should leave it. notes: what reading the CT had to say.
    Raises XrcoreError for numbers that are no pose, and keeps those from before.
    """

    volume = Instance(Volume)
    carm = Instance(CArm)
    beam = Instance(Beam, ())
    numbers = _Six((0.0,) * 6)
    patient = AnyTrait()
    running = Bool(False)

    def __init__(self, volume: Volume | CtSource, carm: CArm = PAPER_CARM, *, beam: Beam | None = None, pose: Pose | None = None) -> None:
        if not isinstance(volume, Volume) and not hasattr(volume, "volume"):
            raise XrcoreError(f"{type(self).__name__}: expected a Volume, or a CtFile to read one, got {type(volume).__name__}")
        if not isinstance(carm, CArm):
            raise XrcoreError(f"{type(self).__name__}: carm must be a CArm, got {type(carm).__name__}")
        self.notes: tuple[str, ...] = ()
        patient: CtSource = Given(volume) if isinstance(volume, Volume) else volume
        self._read = self._volume_of(patient)
        super().__init__(volume=self._read, patient=patient, carm=carm, beam=Beam() if beam is None else beam)
        if pose is not None:
            self.pose = pose

    def choose(self, patient: CtSource) -> None:
        """Another patient. Raises XrcoreError where the CT cannot be read, and keeps the one from before."""
        self._read = self._volume_of(patient)
        with self.hold_trait_notifications():
            self.patient, self.volume = patient, self._read

    def _volume_of(self, patient: CtSource) -> Volume:
        with remarks() as notes:
            volume = patient.volume(SPACING)
        self.notes = tuple(notes)
        return volume

    @observe("volume")
    def _given(self, change: Any) -> None:
        if change["new"] is not self._read:
            self.patient = Given(change["new"])

    @property
    def pose(self) -> Pose:
        """The pose, float64; set it with one pose."""
        return Pose(list(self.numbers))

    @pose.setter
    def pose(self, pose: Pose) -> None:
        if len(pose) != 1:
            raise XrcoreError(f"ViewState: expected one pose, got a batch of {len(pose)}")
        self.numbers = tuple(pose.numbers.detach()[0].double().tolist())

    def set(self, **numbers: float) -> None:
        """Change some of the six numbers by name."""
        if unknown := numbers.keys() - set(NAMES):
            raise XrcoreError(f"ViewState: a pose has no {sorted(unknown)[0]!r}; it has {', '.join(NAMES)}")
        self.numbers = tuple(numbers.get(name, value) for name, value in zip(NAMES, self.numbers, strict=True))

    def code(self) -> str:
        """The pose as Python: `xr.Pose(rx=..., ...)`, rounded to a thousandth, which no registration reaches; zeros are left out."""
        parts = [f"{name}={value:.10g}" for name, value in zip(NAMES, (round(v, 3) for v in self.numbers), strict=True) if value]
        return f"xr.Pose({', '.join(parts)})" if parts else "xr.Pose.zero()"
