"""The state that widgets share by observing it: a CT, a C-arm, a beam and a pose."""

from __future__ import annotations

from typing import Any

from traitlets import Any as AnyTrait
from traitlets import Bool, HasTraits, Instance, TraitType, observe

from xrcore._util.errors import XrcoreError, is_number, require
from xrcore.beam import Beam
from xrcore.ct import Volume
from xrcore.geometry import CArm, Pose
from xrcore.geometry.pose import NAMES, require_one_pose
from xrcore.geometry.presets import PAPER_CARM
from xrcore.widgets.volume_sources import SPACING, GivenVolume, VolumeSource
from xrcore.xray import Xray


class _SixNumbers(TraitType[Any, Any]):
    """Six finite numbers, checked before they are set, even while notifications are held."""

    def validate(self, obj: Any, value: Any) -> tuple[float, ...]:
        try:
            numbers = tuple(float(v) for v in value)
        except (TypeError, ValueError):
            numbers = ()
        holds = len(numbers) == 6 and all(map(is_number, numbers))
        require(type(obj).__name__, "numbers", value, holds, f"six finite numbers, {', '.join(NAMES)}")
        return numbers


def require_xray(xray: Xray | None) -> Xray:
    """Return the X-ray of a state; raise XrcoreError where there is none yet."""
    if xray is None:
        raise XrcoreError("there is no X-ray yet; simulate one, or read one from a file")
    return xray


class PoseState(HasTraits):
    """A CT, a C-arm, a beam and the pose shown: traitlets' traits, to `observe`.

    Parameters
    ----------
    volume : Volume or VolumeSource
        The CT, or where volumes of a patient come from: `CtFile`, `BuiltInPhantom`, or anything with `volume(spacing)`.
    carm : CArm
        Default the paper's.
    beam : Beam, optional
        Default 90 kV.
    pose : Pose, optional
        The pose to begin with, one; default zero.

    Attributes
    ----------
    numbers : tuple of float
        The six numbers of the pose [deg, mm].
    volume : Volume
        The CT.
    carm : CArm
        The C-arm.
    beam : Beam
        The beam.
    patient : VolumeSource
        Where `volume` comes from.
    running : bool
        Whether a computation moves the pose; widgets then leave it.
    notes : tuple of str
        What reading the CT had to say; in a `Session` the X-ray, too.

    Raises
    ------
    XrcoreError
        For numbers that are no pose; those from before stay.
    """

    volume = Instance(Volume)
    carm = Instance(CArm)
    beam = Instance(Beam, ())
    numbers = _SixNumbers((0.0,) * 6)
    patient = AnyTrait()
    running = Bool(False)

    def __init__(
        self, volume: Volume | VolumeSource, carm: CArm = PAPER_CARM, *, beam: Beam | None = None, pose: Pose | None = None
    ) -> None:
        owner = type(self).__name__
        require(owner, "volume", volume, isinstance(volume, Volume | VolumeSource), "a Volume, or a CtFile to read one")
        require(owner, "carm", carm, isinstance(carm, CArm), "a CArm")
        self.notes: tuple[str, ...] = ()
        patient: VolumeSource = GivenVolume(volume) if isinstance(volume, Volume) else volume
        self._read = self._volume_of(patient)
        super().__init__(volume=self._read, patient=patient, carm=carm, beam=Beam() if beam is None else beam)
        if pose is not None:
            self.pose = pose

    def choose(self, patient: VolumeSource) -> None:
        """Show another patient.

        Parameters
        ----------
        patient : VolumeSource
            Where the CT comes from.

        Raises
        ------
        XrcoreError
            If the CT cannot be read; the one from before stays.
        """
        self._read = self._volume_of(patient)
        with self.hold_trait_notifications():
            self.patient, self.volume = patient, self._read

    def _volume_of(self, patient: VolumeSource) -> Volume:
        volume = patient.volume(SPACING)
        self.notes = volume.notes
        return volume

    @observe("volume")
    def _given(self, change: Any) -> None:
        if change["new"] is not self._read:
            self.patient = GivenVolume(change["new"])

    @property
    def pose(self) -> Pose:
        """The pose shown, float64; set it with one pose."""
        return Pose(list(self.numbers))

    @pose.setter
    def pose(self, pose: Pose) -> None:
        require_one_pose(type(self).__name__, "pose", pose)
        self.numbers = tuple(pose.numbers.detach()[0].double().tolist())

    def set(self, **numbers: float) -> None:
        """Change some of the six numbers by name.

        Parameters
        ----------
        **numbers : float
            rx, ry, rz [deg], tx, ty, tz [mm].

        Raises
        ------
        XrcoreError
            For another name, or a value that is no finite number.
        """
        if unknown := numbers.keys() - set(NAMES):
            raise XrcoreError(f"{type(self).__name__}: a pose has no {sorted(unknown)[0]!r}; it has {', '.join(NAMES)}")
        self.numbers = tuple(numbers.get(name, value) for name, value in zip(NAMES, self.numbers, strict=True))

    def carm_with(self, pixels: int) -> CArm:
        """Give the C-arm other pixels, as for a picture.

        Parameters
        ----------
        pixels : int
            Along the detector's longer side.

        Returns
        -------
        CArm
            The same detector.
        """
        rows, cols = (max(1, round(side * pixels / max(self.carm.shape))) for side in self.carm.shape)
        return self.carm.resized((rows, cols))

    def code(self) -> str:
        """Write the pose as Python.

        Returns
        -------
        str
            `xr.Pose(rx=..., ...)`, rounded to a thousandth, finer than any registration; zeros are left out.
        """
        parts = [f"{name}={value:.10g}" for name, value in zip(NAMES, (round(v, 3) for v in self.numbers), strict=True) if value]
        return f"xr.Pose({', '.join(parts)})" if parts else "xr.Pose.zero()"
