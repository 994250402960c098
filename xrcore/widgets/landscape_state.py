"""State of a LandscapeViewer: X-ray, CT, pose, choices, similarity profiles. Holds data only; usable without a notebook."""

from __future__ import annotations

from typing import Any

from traitlets import Dict, Float, HasTraits, Instance, Tuple, Unicode, validate

from xrcore._util.errors import XrcoreError, require
from xrcore.beam import Beam
from xrcore.ct import Volume
from xrcore.geometry import Pose
from xrcore.geometry.pose import NAMES
from xrcore.registration.convergence_basin import ConvergenceBasin, measure_convergence_basin
from xrcore.registration.similarities import SIMILARITIES
from xrcore.registration.similarity_profiles import REACH, Plane, Profiles, plane, profiles
from xrcore.widgets.state import require_xray
from xrcore.xray import Xray


class LandscapeState(HasTraits):
    """A subject, choices and results: traitlets' traits, to `observe`.

    Attributes
    ----------
    xray : Xray or None
        The X-ray, bone bright.
    volume : Volume or None
        The CT.
    beam : Beam
        The beam of the DRRs.
    center : Pose
        The pose in the middle, one.
    truth : Pose or None
        Where descents should come back to; default `center`.
    selected : str
        The similarity that is shown.
    pair : tuple of str
        Names of the two numbers of the map.
    rotation, translation : float
        Half-widths of the lines [deg], [mm].
    profiles : Profiles or None
        Similarities along the six lines; None until `compute`.
    plane : Plane or None
        Similarities over the map; None until `compute`.
    returns : dict of str to ConvergenceBasin
        By similarity, what `descend` found.

    Raises
    ------
    XrcoreError
        For a choice that does not exist.
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
        """Half-widths of the six lines [deg, mm]."""
        return (self.rotation,) * 3 + (self.translation,) * 3

    @property
    def descendable(self) -> bool:
        """Whether least squares can maximise the selected similarity."""
        return SIMILARITIES[self.selected].least_squares

    def compute(self) -> None:
        """Compute profiles and map about `center`, and forget what descents found before."""
        xray, volume = self._subjects()
        found = profiles(xray, volume, self.center, reach=self.reach, beam=self.beam)
        with self.hold_trait_notifications():
            self.profiles, self.returns, self.plane = found, {}, self._plane(xray, volume, self.center)

    def compute_plane(self) -> None:
        """Compute the map alone, about the pose of the profiles."""
        xray, volume = self._subjects()
        self.plane = self._plane(xray, volume, self.center if self.profiles is None else self.profiles.center)

    def descend(self) -> ConvergenceBasin:
        """Find the starts on the six lines from which a refinement by the selected similarity returns to the pose.

        Returns
        -------
        ConvergenceBasin
            What was found; it is in `returns` too.
        """
        xray, volume = self._subjects()
        if self.profiles is None:
            self.compute()
        assert self.profiles is not None
        found = measure_convergence_basin(
            xray,
            volume,
            self.profiles.center,
            self.selected,
            target=self.truth,
            reach=self.profiles.offsets[:, -1].tolist(),
            beam=self.beam,
        )
        self.returns = {**self.returns, self.selected: found}
        return found

    def forget(self) -> None:
        """Drop the results, which belong to another X-ray, CT or beam."""
        with self.hold_trait_notifications():
            self.profiles, self.plane, self.returns = None, None, {}

    def _plane(self, xray: Xray, volume: Volume, center: Pose) -> Plane:
        first, second = self.pair
        reach = dict(zip(NAMES, self.reach, strict=True))
        return plane(xray, volume, center, (first, second), reach=(reach[first], reach[second]), beam=self.beam)

    def _subjects(self) -> tuple[Xray, Volume]:
        if self.volume is None:
            raise XrcoreError("there is no CT yet; give one")
        return require_xray(self.xray), self.volume

    @validate("selected", "pair", "center", "rotation", "translation")
    def _checked(self, proposal: Any) -> Any:
        name, value = proposal["trait"].name, proposal["value"]
        holds, what = {
            "selected": lambda: (value in SIMILARITIES, f"one of {', '.join(SIMILARITIES)}"),
            "pair": lambda: (len(set(value) & set(NAMES)) == len(value) == 2, f"two different ones of {', '.join(NAMES)}"),
            "center": lambda: (len(value) == 1, "one pose"),
            "rotation": lambda: (0 < value <= 1000, "a positive reach [deg]"),
            "translation": lambda: (0 < value <= 1000, "a positive reach [mm]"),
        }[name]()
        require("LandscapeState", name, value, holds, what)
        return value.detach() if name == "center" else value
