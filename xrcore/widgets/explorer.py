"""PoseExplorer: what the C-arm would see from here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets as ipw
import torch

from xrcore._util.errors import XrcoreError
from xrcore.ct import Volume
from xrcore.figures import display_image
from xrcore.figures.encoding import array_png
from xrcore.geometry import CArm, Pose
from xrcore.geometry.presets import PAPER_CARM
from xrcore.renderer import render
from xrcore.widgets.canvas import Canvas
from xrcore.widgets.choices import VIEWS, CtSource, beams, patients
from xrcore.widgets.copy_button import CopyButton
from xrcore.widgets.gestures import HINT, PoseGestures, turned
from xrcore.widgets.panel import Panel
from xrcore.widgets.patient_choice import PatientChoice
from xrcore.widgets.refresh import Refresher
from xrcore.widgets.sliders import PoseSliders
from xrcore.widgets.state import ViewState

_DRAFT_SPACING = 4.0  # [mm], of the CT that drafts are rendered from, at half the pixels


class PoseExplorer(Panel):
    """A live DRR under six sliders.

    volume: default the built-in phantom. state: to share with other views; it then says volume and C-arm.
    choices: patients to choose from, by name, each with `volume(spacing)`; default all that are at hand.
    Moving the sliders or the picture changes `state.numbers`; `pose` is that pose.
    """

    def __init__(
        self,
        volume: Volume | CtSource | None = None,
        carm: CArm = PAPER_CARM,
        *,
        state: ViewState | None = None,
        choices: Mapping[str, CtSource] | None = None,
    ) -> None:
        if state is not None and (volume is not None or carm is not PAPER_CARM):
            raise XrcoreError("PoseExplorer: give a volume and a C-arm, or a state, which has them")
        choices = dict(patients() if choices is None else choices)
        if state is None:
            state = ViewState(next(iter(choices.values())) if volume is None else volume, carm)
        self.state = state
        self.canvas = Canvas("DRR at the pose of the sliders", hint=HINT)
        self.gestures = PoseGestures(self.canvas, state, self.reset)
        self._sliders = PoseSliders(state)
        self._home = state.pose
        self._refresh = Refresher(self._draw)
        self.code = ipw.Text(disabled=True, layout=ipw.Layout(width="330px")).add_class("xr-code")
        self.copy = CopyButton(description="copy as code")
        self.patient = PatientChoice(state, self, choices)
        self.beam = ipw.Dropdown(options=beams(state.beam), value=state.beam, description="beam").add_class("xr-beam")
        for box in (self.patient, self.beam):
            box.style.description_width = "62px"
        views = [self._button(name, lambda _, name=name: self.look(name)) for name in VIEWS]  # type: ignore[misc]
        reset = self._button("reset", lambda _: self.reset())
        controls = ipw.VBox(
            [
                self.patient,
                self.beam,
                ipw.HBox(views, layout=ipw.Layout(flex_flow="row wrap", max_width="420px")),
                self._sliders,
                ipw.HBox([reset, self.copy]),
                self.code,
            ]
        )
        super().__init__(ipw.HBox([self.canvas, controls], layout=ipw.Layout(grid_gap="16px", flex_flow="row wrap")), name="explorer")
        self.beam.observe(lambda change: setattr(state, "beam", change["new"]), names="value")
        self.watch(state, self._changed, "numbers", "volume", "carm", "beam")
        self._changed()

    @property
    def pose(self) -> Pose:
        """The pose shown."""
        return self.state.pose

    def look(self, view: str) -> None:
        """Go to a view by name: "AP", "lateral", "inlet", "outlet", "oblique"."""
        self.state.pose = turned(Pose.zero(), **VIEWS[view])

    def reset(self) -> None:
        """Back to the pose that it began with."""
        self.state.pose = self._home

    def picture(self, *, draft: bool = False) -> Any:
        """The DRR, windowed to [0, 1], (H, W); a draft has half the pixels."""
        state = self.state
        volume, carm = state.volume, state.carm
        if draft:
            rows, cols = carm.shape
            volume, carm = volume.coarser(_DRAFT_SPACING), carm.resized((max(rows // 2, 1), max(cols // 2, 1)))
        with torch.no_grad():
            return display_image(render(volume, carm, state.pose, state.beam))

    def still(self) -> bytes:
        return array_png(self.picture())

    def close(self) -> None:
        for part in (
            (self._refresh.cancel, self._sliders.close, self.gestures.close, self.patient.close) if "patient" in self.__dict__ else ()
        ):
            part()
        super().close()

    def _changed(self, _: Any = None) -> None:
        self.code.value = self.copy.text = self.state.code()
        if self.state.beam != self.beam.value:
            given = self.state.beam
            self.beam.options, self.beam.value = beams(given), given
        self._refresh()

    def _draw(self, draft: bool) -> None:
        with self.reporting():
            self.canvas.show(self.picture(draft=draft))
            rows, cols = self.state.carm.shape
            self.say(f"{rows} × {cols} pixels{', half as many each way while moving' if draft else ''}")

    @staticmethod
    def _button(name: str, act: Callable[[Any], None]) -> ipw.Button:
        button = ipw.Button(description=name, layout=ipw.Layout(width="auto")).add_class(f"xr-to-{name.lower()}")
        button.on_click(act)
        return button
