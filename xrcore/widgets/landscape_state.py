"""What a landscape is looked at about, and what was found. No widget in it."""

from __future__ import annotations

from typing import Any

from traitlets import Dict, Float, HasTraits, Instance, Tuple, Unicode, validate

from xrcore._util.errors import XrcoreError
from xrcore.beam import Beam
from xrcore.ct import Volume
from xrcore.geometry import Pose
from xrcore.geometry.pose import NAMES
from xrcore.registration.convergence_basin import Returns, returns
from xrcore.registration.similarities import SIMILARITIES
from xrcore.registration.similarity_profiles import REACH, Plane, Profiles, plane, profiles
from xrcore.xray import Xray


class LandscapeState(HasTraits):
    """An X-ray, a CT and the pose to look about; then the choices, then the results.

    selected: the similarity that is looked at. pair: names of the numbers of the map. rotation, translation: reach of the lines, in
    deg and mm. truth: where descents should come back to; default the pose looked about.
    profiles, plane: None until `compute`. returns: by similarity, what `descend` found.
    Raises XrcoreError for a choice that does not exist.
    """

    xray = Instance(Xray, allow_none=True)
    volume = Instance(Volume, allow_none=True)
    beam = Instance(Beam, ())
    center = Instance(Pose, kw={})
    truth = Instance(Pose, allow_none=True)
    selected = Unicode("zncc")
    pair = Tuple(("ry", "tx"))
    rotation = Float(REACH[0])
    translation = Float(REACH[3])
    profiles = Instance(Profiles, allow_none=True)
    plane = Instance(Plane, allow_none=True)
    returns = Dict()

    @property
    def reach(self) -> tuple[float, ...]:
        """Of the six lines [deg, mm]."""
        return (self.rotation,) * 3 + (self.translation,) * 3

    @property
    def descendable(self) -> bool:
        """Whether descents can climb the selected similarity."""
        return SIMILARITIES[self.selected].least_squares

    def compute(self) -> None:
        """Profiles and map about `center`; what descents found before is forgotten."""
        xray, volume = self._subjects()
        found = profiles(xray, volume, self.center, reach=self.reach, beam=self.beam)
        with self.hold_trait_notifications():
            self.profiles, self.returns, self.plane = found, {}, self._plane(xray, volume, self.center)

    def compute_plane(self) -> None:
        """The map alone, about the pose of the profiles."""
        xray, volume = self._subjects()
        self.plane = self._plane(xray, volume, self.center if self.profiles is None else self.profiles.center)

    def descend(self) -> Returns:
        """From where along the lines descents on the selected similarity come back."""
        xray, volume = self._subjects()
        if self.profiles is None:
            self.compute()
        assert self.profiles is not None
        found: Returns = returns(
            xray, volume, self.profiles.center, self.selected, home=self.truth, reach=self.profiles.offsets[:, -1].tolist(), beam=self.beam
        )
        self.returns = {**self.returns, self.selected: found}
        return found

    def forget(self) -> None:
        """What was found belongs to another X-ray, CT or beam."""
        with self.hold_trait_notifications():
            self.profiles, self.plane, self.returns = None, None, {}

    def _plane(self, xray: Xray, volume: Volume, center: Pose) -> Plane:
        first, second = self.pair
        reach = dict(zip(NAMES, self.reach, strict=True))
        return plane(xray, volume, center, (first, second), reach=(reach[first], reach[second]), beam=self.beam)

    def _subjects(self) -> tuple[Xray, Volume]:
        if self.xray is None or self.volume is None:
            raise XrcoreError("there is no X-ray yet; simulate one, or read one from a file")
        return self.xray, self.volume

    @validate("selected")
    def _known(self, proposal: Any) -> str:
        if proposal["value"] not in SIMILARITIES:
            raise XrcoreError(f"LandscapeState: {proposal['value']!r} is no similarity; choose one of {', '.join(SIMILARITIES)}")
        return str(proposal["value"])

    @validate("pair")
    def _different(self, proposal: Any) -> tuple[str, ...]:
        pair = tuple(proposal["value"])
        if len(pair) != 2 or pair[0] == pair[1] or set(pair) - set(NAMES):
            raise XrcoreError(f"LandscapeState: a pair is two different ones of {', '.join(NAMES)}, got {pair!r}")
        return pair

    @validate("center")
    def _one(self, proposal: Any) -> Pose:
        pose: Pose = proposal["value"]
        if len(pose) != 1:
            raise XrcoreError(f"LandscapeState: expected one pose, got a batch of {len(pose)}")
        return pose.detach()

    @validate("rotation", "translation")
    def _far(self, proposal: Any) -> float:
        value = float(proposal["value"])
        if not 0 < value <= 1000:
            raise XrcoreError(f"LandscapeState: {proposal['trait'].name} must be a positive reach, got {value:g}")
        return value
