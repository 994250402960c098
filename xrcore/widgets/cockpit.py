"""RegistrationCockpit: load or simulate an X-ray, register it, watch, compare and save."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import ipywidgets as ipw

from xrcore._util.errors import XrcoreError
from xrcore.ct import Volume
from xrcore.figures import array_png, convergence_figure, figure_png
from xrcore.geometry import CArm
from xrcore.geometry.presets import PAPER_CARM
from xrcore.registration.presets import PRESETS
from xrcore.registration.similarities import SIMILARITIES
from xrcore.widgets.choices import BeamDropdown
from xrcore.widgets.comparison import Comparison
from xrcore.widgets.debounce import DebouncedDrawing
from xrcore.widgets.gestures import PoseGestures
from xrcore.widgets.html_tables import pose_table, verdict_html
from xrcore.widgets.input_forms import InputForms
from xrcore.widgets.panel import Panel
from xrcore.widgets.session import Session
from xrcore.widgets.sliders import PoseSliders
from xrcore.widgets.volume_sources import PHANTOMS, VolumeSource
from xrcore.xray import Xray

_PACE = 0.12  # [s] a step stays: the search takes half a second, too fast to be seen
_CURVE = 0.4  # [s] between two drawings of a growing curve, which take longer than a step
_WIDE = {"description_width": "72px"}


class RegistrationCockpit(Panel):
    """Load or simulate an X-ray, set or drag a start, register, watch, stop, compare, save.

    `cockpit.session.register()` registers as the button does, and returns the `Registration`.

    Parameters
    ----------
    volume : Volume or VolumeSource, optional
        The CT; default the first of `patients`.
    xray : Xray, optional
        The X-ray, where there is one already.
    carm : CArm
        Default the paper's; an X-ray that is read brings its own.
    session : Session, optional
        A session to share with other widgets or to drive from code, instead of the three above.
    patients : mapping of str to VolumeSource
        Patients to choose from, by name; default two built-in phantoms.

    Raises
    ------
    XrcoreError
        If a session is given beside what it brings.
    """

    def __init__(
        self,
        volume: Volume | VolumeSource | None = None,
        xray: Xray | None = None,
        *,
        carm: CArm = PAPER_CARM,
        session: Session | None = None,
        patients: Mapping[str, VolumeSource] = PHANTOMS,
    ) -> None:
        if session is None:
            session = Session(next(iter(patients.values())) if volume is None else volume, xray, carm=carm)
        elif volume is not None or xray is not None or carm is not PAPER_CARM:
            raise XrcoreError("RegistrationCockpit: give a volume, an X-ray and a C-arm, or a session, which has them")
        session.pace = session.pace or _PACE
        self.session = session
        self.inputs = InputForms(session, self, patients)
        self._task: asyncio.Task[None] | None = None
        self._updating_slider, self._drawn = False, 0.0
        self._curve_of: tuple[Any, ...] | None = None
        self.comparison = Comparison(session)
        self.gestures = PoseGestures(self.comparison.canvas, session, self.back)
        self.sliders = PoseSliders(session)
        self.method = ipw.Dropdown(options=list(PRESETS), value=session.method, description="method", style=_WIDE).add_class("xr-method")
        self.similarity = ipw.Dropdown(options=["auto", *SIMILARITIES], value=session.similarity, description="similarity", style=_WIDE)
        self.similarity.add_class("xr-similarity")
        self.beam = BeamDropdown(session, self, style=_WIDE)
        self.register_button = ipw.Button(description="Register", button_style="primary", layout=ipw.Layout(width="110px")).add_class(
            "xr-register"
        )
        self.stop_button = ipw.Button(description="Stop", disabled=True, layout=ipw.Layout(width="80px")).add_class("xr-stop")
        self.back_button = ipw.Button(description="Back to the start", layout=ipw.Layout(width="130px")).add_class("xr-back")
        self.stage = ipw.HTML().add_class("xr-stage")
        self.curve = ipw.Image(format="png", layout=ipw.Layout(width="388px", height="256px")).add_class("xr-curve")
        self.step = ipw.IntSlider(description="step", max=1, disabled=True, style=_WIDE, layout=ipw.Layout(width="388px")).add_class(
            "xr-step"
        )
        self.table = ipw.HTML()
        self.outcome = ipw.HTML()
        self.folder = ipw.Text(value="result", description="folder", style=_WIDE, layout=ipw.Layout(width="300px")).add_class("xr-folder")
        self.save_button = ipw.Button(description="Save", disabled=True, layout=ipw.Layout(width="80px")).add_class("xr-save")
        self.destination = ipw.HTML().add_class("xr-destination")
        self._redraw = DebouncedDrawing(self._draw)
        right = ipw.VBox(
            [
                ipw.HBox([self.register_button, self.stop_button, self.back_button]),
                self.stage,
                self.sliders,
                self.method,
                self.similarity,
                self.beam,
                self.curve,
                self.step,
            ],
        )
        middle = ipw.HBox([self.comparison, right], layout=ipw.Layout(grid_gap="12px", flex_flow="row wrap"))
        super().__init__(
            *(self.inputs, middle, self.table, self.outcome),
            ipw.HBox([self.folder, self.save_button, self.destination], layout=ipw.Layout(flex_flow="row wrap")),
            name="cockpit",
            note_at=1,
        )

        self.register_button.on_click(lambda _: self.register())
        self.stop_button.on_click(lambda _: session.stop())
        self.back_button.on_click(lambda _: self.back())
        self.save_button.on_click(lambda _: self._save())
        self.method.observe(lambda change: setattr(session, "method", change["new"]), names="value")
        self.similarity.observe(lambda change: setattr(session, "similarity", change["new"]), names="value")
        self.comparison.mode.observe(lambda _: self._draw(draft=False), names="value")
        self.comparison.structures.observe(lambda _: self._redraw(), names="value")
        self.folder.observe(self._show_destination, names="value")
        self.step.observe(self._replay, names="value")
        self.observe_until_closed(session, self._update_pose, "numbers", "volume", "carm", "beam", "xray", "labels")
        self.observe_until_closed(session, self._update_controls, "stage", "running", "result", "xray")
        self.observe_until_closed(session, self._update_curve, "history")
        self.observe_until_closed(session, self._update_choices, "method", "similarity")
        self._update_pose()
        self._update_controls()
        self._show_destination()

    def register(self) -> None:
        """Register as the button does: in the event loop, so that the page stays alive; without one, at once."""
        try:
            self._task = asyncio.get_running_loop().create_task(self._run())
        except RuntimeError:
            asyncio.run(self._run())

    async def _run(self) -> None:
        self.show_message("")
        with self.errors_shown():
            await self.session.run()

    def back(self) -> None:
        """Return to the start of the last registration."""
        if not self.session.running:
            self.session.pose = self.session.start

    def snapshot(self) -> bytes:
        return array_png(self.comparison.picture()[0])

    def close(self) -> None:
        if "_redraw" in self.__dict__:
            if self._task is not None and not self._task.done():
                self.session.stop()
            self._redraw.cancel()
            for part in (self.inputs, self.comparison, self.gestures, self.sliders, self.beam):
                part.close()
        super().close()

    def _update_pose(self, _: Any = None) -> None:
        self._redraw()
        with self.errors_shown():
            self.table.value = pose_table(self.session)

    def _draw(self, draft: bool) -> None:
        with self.errors_shown():
            self.comparison.draw(draft=draft)

    def _update_controls(self, _: Any = None) -> None:
        session = self.session
        busy = session.running
        for control in (self.register_button, self.back_button, self.method, self.similarity, self.beam, *self.sliders.sliders.values()):
            control.disabled = busy
        self.register_button.disabled = busy or session.xray is None
        self.stop_button.disabled = not busy
        self.save_button.disabled = session.result is None
        self.stage.value = f'<span style="color:#666">{escape(session.stage or self._next_press())}</span>'
        self.outcome.value = verdict_html(session.result)
        with self.errors_shown():
            self.table.value = pose_table(session)
        if not busy:
            self._update_curve()

    def _next_press(self) -> str:
        if self.session.xray is None:
            return "press Simulate an X-ray, or read one under Read files"
        return "" if self.session.running or self.session.result else "set a start, then press Register"

    def _update_curve(self, _: Any = None) -> None:
        """Update the curve and its slider from the history; not at every step while it grows quickly."""
        session = self.session
        if session.running and time.perf_counter() - self._drawn < _CURVE:
            return
        steps = len(session.history)
        known = (session.history, session.truth)
        self.step.disabled = session.running or steps < 2
        self._updating_slider = True
        self.step.max = max(steps - 1, 1)
        self.step.value = max(steps - 1, 0)
        self._updating_slider = False
        if self._curve_of is None or any(a is not b for a, b in zip(known, self._curve_of, strict=True)):
            self._curve_of = known
            self._draw_curve()
            self._drawn = time.perf_counter()

    def _draw_curve(self, at: int | None = None) -> None:
        session = self.session
        history = session.history
        errors = None if session.truth is None else [found[0] for step in history if (found := session.errors(step.pose))]
        self.curve.value = figure_png(convergence_figure(history, errors, at=at))

    def _replay(self, change: Any) -> None:
        history = self.session.history
        if self._updating_slider or self.session.running or not 0 <= change["new"] < len(history):
            return
        result = self.session.result
        at_the_end = result is not None and change["new"] == len(history) - 1  # its last step may be a small one that nobody rendered
        self.session.pose = result.pose if result and at_the_end else history[change["new"]].pose
        self._draw_curve(change["new"])

    def _update_choices(self, _: Any) -> None:
        session = self.session
        self.method.value, self.similarity.value = session.method, session.similarity

    def _save(self) -> None:
        with self.errors_shown():
            files = self.session.save(self.folder.value)
            self.show_message(f"written to {_absolute(self.folder.value)}: " + ", ".join(file.name for file in files))
            self._show_destination(done=True)

    def _show_destination(self, _: Any = None, *, done: bool = False) -> None:
        text = f"{'written' if done else 'writes'} to {_absolute(self.folder.value)}" if self.folder.value.strip() else "name a folder"
        self.destination.value = f'<span style="color:#666;overflow-wrap:anywhere">{escape(text)}</span>'


def _absolute(folder: str) -> Path:
    return Path(folder).absolute()
