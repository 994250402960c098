"""LandscapeViewer: a similarity along the six numbers about a pose and over two of them, with capture ranges."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ipywidgets as ipw
from traitlets import HasTraits, link

from xrcore._util.errors import XrcoreError, require
from xrcore.beam import Beam
from xrcore.ct import Volume
from xrcore.figures import figure_png, plane_figure, profiles_figure
from xrcore.geometry import Pose
from xrcore.geometry.pose import NAMES
from xrcore.registration.similarities import SIMILARITIES
from xrcore.widgets.html_tables import capture_table
from xrcore.widgets.landscape_state import LandscapeState
from xrcore.widgets.panel import Panel, wrapping
from xrcore.xray import Xray

_SUBJECTS = ("xray", "volume", "beam", "truth")  # of a session


class LandscapeViewer(Panel):
    """Show a similarity along each of the six numbers about a pose, and over two of them, with capture ranges.

    Parameters
    ----------
    xray : Xray
        The X-ray, bone bright.
    volume : Volume
        The CT.
    pose : Pose, optional
        The pose in the middle; default the X-ray's own, or AP.
    beam : Beam, optional
        Default 90 kV.
    truth : Pose, optional
        Where descents should come back to, if known.
    session : Session, optional
        A session, or any object with its traits `xray`, `volume` and `numbers`, instead of the others: its X-ray, as registered once it
        was, and its CT are followed, its pose is taken over at the press of a button.

    Attributes
    ----------
    state : LandscapeState
        Choices and results.

    Raises
    ------
    XrcoreError
        If X-ray, volume and session do not make one subject.
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
            ipw.HBox([self.similarity, self.rotation, self.translation, self.here, self.descend], layout=wrapping("center")),
            self.profiles,
            ipw.HBox([ipw.VBox([ipw.HBox([self.first, self.second]), self.plane]), self.table], layout=wrapping("center")),
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
        with self.errors_shown():
            if self.state.xray is not None:
                self.compute()

    def compute(self) -> None:
        """Compute profiles and map about the state's `center`."""
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

    def snapshot(self) -> bytes | None:
        return bytes(self.profiles.value) or None

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
        for name, control in (("selected", self.similarity), ("rotation", self.rotation), ("translation", self.translation)):
            link((state, name), (control, "value"))
        self.first.observe(self._choose_pair, names="value")
        self.second.observe(self._choose_pair, names="value")
        self.here.on_click(self.guarded(self.look_here))
        self.descend.on_click(self.guarded(self.try_descents))

    def _take(self, xray: Xray | None, volume: Volume | None, pose: Pose | None, beam: Beam | None, truth: Pose | None) -> None:
        require("LandscapeViewer", "xray", xray, isinstance(xray, Xray), "an Xray")
        require("LandscapeViewer", "volume", volume, isinstance(volume, Volume), "a Volume")
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
        self.observe_until_closed(session, self._changed, *(name for name in (*_SUBJECTS, "result") if session.has_trait(name)))
        self.observe_until_closed(session, self._moved, "numbers")
        if self.state.xray is None:
            self.show_message("no X-ray yet")

    def _adopt(self) -> None:
        for name in _SUBJECTS:
            if self._session.has_trait(name):
                setattr(self.state, name, getattr(self._session, name))
        if (result := getattr(self._session, "result", None)) is not None:
            self.state.xray = result.xray  # bone bright

    def _changed(self, _: Any) -> None:
        state = self.state
        before = state.xray, state.volume, state.beam
        self._adopt()
        if any(now is not then for now, then in zip((state.xray, state.volume, state.beam), before, strict=True)):
            state.forget()
            self.show_message("no X-ray yet" if state.xray is None else "another X-ray, CT or beam: press 'about the current pose'")

    def _moved(self, _: Any) -> None:
        if self.state.profiles is not None:
            self.show_message("the pose moved: 'about the current pose' looks there")

    # From the page to the state, and back

    def _choose_pair(self, change: Any) -> None:
        first, second = self.first.value, self.second.value
        if first == second:  # the other gives way
            first, second = (first, change["old"]) if change["owner"] is self.first else (change["old"], second)
        self.state.pair = (first, second)

    def _turned(self, _: Any) -> None:
        self.first.value, self.second.value = self.state.pair
        if self.state.profiles is not None:
            with self.errors_shown(), self._timed("the map"):
                self.state.compute_plane()

    def _reached(self, _: Any) -> None:
        if self.state.profiles is not None:
            with self.errors_shown():
                self.compute()

    def _enable(self, _: Any = None) -> None:
        self.descend.disabled = not self.state.descendable or self.state.xray is None

    def _draw_profiles(self, _: Any = None) -> None:
        state = self.state
        shown = (state.profiles, state.returns.get(state.selected), state.selected)
        if shown == self._shown:  # several changes at once are one picture
            return
        self._shown = shown
        self.profiles.layout.visibility = "hidden" if state.profiles is None else "visible"
        with self.errors_shown():
            if state.profiles is None:
                self.profiles.value, self.table.value = b"", ""
                return
            figure = profiles_figure(state.profiles, state.selected, returns=state.returns.get(state.selected))
            self.profiles.value = figure_png(figure)
            self.table.value = capture_table(state.profiles, state.returns, state.selected)

    def _draw_plane(self, _: Any = None) -> None:
        state = self.state
        self.plane.layout.visibility = "hidden" if state.plane is None else "visible"
        with self.errors_shown():
            self.plane.value = b"" if state.plane is None else figure_png(plane_figure(state.plane, state.selected))

    @contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        self.show_message(f"{what} ...")
        began = time.perf_counter()
        yield
        self.show_message(f"{what}: {time.perf_counter() - began:.1f} s")


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
