"""LandscapeViewer: how a similarity sees the poses about one, and from where a registration finds it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ipywidgets as ipw
from traitlets import HasTraits

from xrcore._util.errors import XrcoreError
from xrcore.beam import Beam
from xrcore.ct import Volume
from xrcore.figures.encoding import figure_png
from xrcore.figures.profiles import plane_figure, profiles_figure
from xrcore.geometry import Pose
from xrcore.geometry.pose import NAMES
from xrcore.registration.similarities import SIMILARITIES
from xrcore.widgets.landscape_state import LandscapeState
from xrcore.widgets.landscape_table import table
from xrcore.widgets.panel import Panel
from xrcore.xray import Xray

_SUBJECTS = ("xray", "volume", "beam", "truth")


class LandscapeViewer(Panel):
    """Similarity along each of the six numbers about a pose, and over two of them, with capture ranges.

    pose: to look about; default the X-ray's own, or AP. beam: default 90 kV. truth: where descents should come back to, if known.
    session: a `Session`, or any object with its traits `xray`, `volume` and `numbers`, instead of the others: its X-ray and CT are
    followed, its pose is taken over at the press of a button. `state` holds choices and results.
    """

    def __init__(
        self,
        xray: Xray | None = None,
        volume: Volume | None = None,
        pose: Pose | None = None,
        *,
        beam: Beam | None = None,
        truth: Pose | None = None,
        session: Any = None,
    ) -> None:
        self.state = LandscapeState()
        self._session = session
        self._shown: tuple[Any, ...] = ()
        self._build()
        super().__init__(
            ipw.HBox([self.similarity, self.rotation, self.translation, self.here, self.descend], layout=_wrapping()),
            self.profiles,
            ipw.HBox([ipw.VBox([ipw.HBox([self.first, self.second]), self.plane]), self.table], layout=_wrapping()),
            name="landscape",
        )
        self.state.observe(self._draw_profiles, names=["selected", "returns", "profiles"])
        self.state.observe(self._draw_plane, names=["selected", "plane"])
        self.state.observe(self._reached, names=["rotation", "translation"])
        self.state.observe(self._turned, names="pair")
        self.state.observe(self._enable, names=["selected", "xray"])
        self._enable()
        if session is None:
            self._take(xray, volume, pose, beam, truth)
        else:
            if xray is not None or volume is not None or pose is not None:
                raise XrcoreError("LandscapeViewer: give an X-ray, a volume and a pose, or a session, which has them")
            self._follow(session)
        with self.reporting():
            if self.state.xray is not None:
                self.compute()

    def compute(self) -> None:
        """Profiles and map about the state's `center`."""
        with self._timed(f"{len(SIMILARITIES)} similarities of the same DRRs"):
            self.state.compute()

    def look_here(self) -> None:
        """Look about the session's current pose."""
        self.state.center = Pose(list(self._session.numbers))
        self.compute()

    def try_descents(self) -> None:
        """Descend from along the lines and show which starts come back."""
        with self._timed(f"descents on {self.state.selected}"):
            self.state.descend()

    def still(self) -> bytes | None:
        return bytes(self.profiles.value) or None

    # What it is made of

    def _build(self) -> None:
        state = self.state
        self.similarity = ipw.Dropdown(options=list(SIMILARITIES), value=state.selected, description="similarity").add_class(
            "xr-similarity"
        )
        self.rotation = _reach("turn by [°]", 5, 90, state.rotation).add_class("xr-rotation")
        self.translation = _reach("shift by [mm]", 10, 200, state.translation).add_class("xr-translation")
        self.here = ipw.Button(description="about the current pose", layout=_fitting()).add_class("xr-here")
        self.here.layout.display = "none"
        self.descend = ipw.Button(
            description="try descents", tooltip="start least squares along each line and see where it ends", layout=_fitting()
        ).add_class("xr-descend")
        self.first, self.second = (
            ipw.Dropdown(options=list(NAMES), value=value, description=label, layout=ipw.Layout(width="130px")).add_class(f"xr-{name}")
            for value, label, name in zip(state.pair, ("map of", "and"), ("first", "second"), strict=True)
        )
        for box in (self.first, self.second):
            box.style.description_width = "50px"
        self.profiles = ipw.Image(format="png", layout=ipw.Layout(width="1000px", max_width="100%")).add_class("xr-profiles")
        self.plane = ipw.Image(format="png", layout=ipw.Layout(width="410px", max_width="100%")).add_class("xr-plane")
        self.table = ipw.HTML().add_class("xr-captures")
        for image in (self.profiles, self.plane):
            image.layout.visibility = "hidden"
        self.similarity.observe(lambda change: setattr(state, "selected", change["new"]), names="value")
        self.rotation.observe(lambda change: setattr(state, "rotation", change["new"]), names="value")
        self.translation.observe(lambda change: setattr(state, "translation", change["new"]), names="value")
        self.first.observe(self._choose_pair, names="value")
        self.second.observe(self._choose_pair, names="value")
        self.here.on_click(lambda _: self._try(self.look_here))
        self.descend.on_click(lambda _: self._try(self.try_descents))

    def _take(self, xray: Xray | None, volume: Volume | None, pose: Pose | None, beam: Beam | None, truth: Pose | None) -> None:
        for name, value, kind in (("xray", xray, Xray), ("volume", volume, Volume)):
            if not isinstance(value, kind):
                raise XrcoreError(f"LandscapeViewer: {name} must be a {kind.__name__}, got {type(value).__name__}")
        state = self.state
        assert xray is not None
        state.xray, state.volume, state.truth = xray, volume, truth
        state.beam = Beam() if beam is None else beam
        state.center = pose if pose is not None else xray.pose if xray.pose is not None else Pose.zero()

    # Following a session

    def _follow(self, session: HasTraits) -> None:
        missing = [name for name in ("xray", "volume", "numbers") if not session.has_trait(name)]
        if missing:
            raise XrcoreError(f"LandscapeViewer: the session has no trait {missing[0]!r}")
        self.here.layout.display = ""
        self._adopt()
        self.state.center = Pose(list(session.numbers))  # type: ignore[attr-defined]
        self.watch(session, self._changed, *(name for name in _SUBJECTS if session.has_trait(name)))
        self.watch(session, self._moved, "numbers")
        if self.state.xray is None:
            self.say("no X-ray yet")

    def _adopt(self) -> None:
        for name in _SUBJECTS:
            if self._session.has_trait(name):
                setattr(self.state, name, getattr(self._session, name))

    def _changed(self, change: Any) -> None:
        self._adopt()
        if change["name"] != "truth":
            self.state.forget()
            self.say("no X-ray yet" if self.state.xray is None else "another X-ray, CT or beam: press 'about the current pose'")

    def _moved(self, _: Any) -> None:
        if self.state.profiles is not None:
            self.say("the pose moved: 'about the current pose' looks there")

    # From the page to the state, and back

    def _choose_pair(self, change: Any) -> None:
        first, second = self.first.value, self.second.value
        if first == second:  # the other gives way
            first, second = (first, change["old"]) if change["owner"] is self.first else (change["old"], second)
        self.state.pair = (first, second)

    def _turned(self, _: Any) -> None:
        self.first.value, self.second.value = self.state.pair
        if self.state.profiles is not None:
            with self.reporting(), self._timed("the map"):
                self.state.compute_plane()

    def _reached(self, _: Any) -> None:
        self.rotation.value, self.translation.value = self.state.rotation, self.state.translation
        if self.state.profiles is not None:
            self._try(self.compute)

    def _enable(self, _: Any = None) -> None:
        self.descend.disabled = not self.state.descendable or self.state.xray is None

    def _draw_profiles(self, _: Any = None) -> None:
        state = self.state
        shown = (state.profiles, state.returns.get(state.selected), state.selected)
        if shown == self._shown:  # several changes at once are one picture
            return
        self._shown = shown
        self.similarity.value = state.selected
        self.profiles.layout.visibility = "hidden" if state.profiles is None else "visible"
        with self.reporting():
            if state.profiles is None:
                self.profiles.value, self.table.value = b"", ""
                return
            figure = profiles_figure(state.profiles, state.selected, returns=state.returns.get(state.selected))
            self.profiles.value = figure_png(figure)
            self.table.value = table(state.profiles, state.returns, state.selected)

    def _draw_plane(self, _: Any = None) -> None:
        state = self.state
        self.plane.layout.visibility = "hidden" if state.plane is None else "visible"
        with self.reporting():
            self.plane.value = b"" if state.plane is None else figure_png(plane_figure(state.plane, state.selected))

    def _try(self, act: Any) -> None:
        with self.reporting():
            act()

    @contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        self.say(f"{what} ...")
        began = time.perf_counter()
        yield
        self.say(f"{what}: {time.perf_counter() - began:.1f} s")


def _reach(label: str, low: float, high: float, value: float) -> ipw.FloatSlider:
    return ipw.FloatSlider(
        description=label,
        min=low,
        max=high,
        step=5,
        value=value,
        readout_format=".0f",
        continuous_update=False,  # a second of work
        style={"description_width": "95px"},
        layout=ipw.Layout(width="275px"),
    )


def _fitting() -> ipw.Layout:
    return ipw.Layout(width="auto")


def _wrapping() -> ipw.Layout:
    return ipw.Layout(flex_flow="row wrap", grid_gap="8px", align_items="center")
