"""RegistrationCockpit: from an X-ray and a CT to a pose, with everything to see on the way."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from html import escape
from typing import Any

import ipywidgets as ipw

from companion.experiments.patients import Phantom
from xrcore._util.errors import XrcoreError
from xrcore.ct import Volume
from xrcore.figures.convergence import convergence_figure
from xrcore.figures.encoding import array_png, figure_png
from xrcore.geometry import CArm
from xrcore.geometry.presets import PAPER_CARM
from xrcore.registration.settings import PRESETS, Settings, settings_for
from xrcore.registration.similarities import SIMILARITIES
from xrcore.widgets.choices import CtSource, beams
from xrcore.widgets.comparison import Comparison
from xrcore.widgets.gestures import PoseGestures
from xrcore.widgets.panel import Panel
from xrcore.widgets.refresh import Refresher
from xrcore.widgets.session import Session
from xrcore.widgets.sliders import PoseSliders
from xrcore.widgets.sources import Sources
from xrcore.widgets.verdict import pose_table, verdict
from xrcore.xray import Xray

_PACE = 0.12  # [s] a step stays: the search takes half a second, too fast to be seen
_CURVE = 0.4  # [s] between two drawings of a growing curve, which take longer than a step
_WIDE = {"description_width": "72px"}


class RegistrationCockpit(Panel):
    """Load or simulate an X-ray, set or drag a start, register, watch, stop, compare, save.

    volume: default the built-in phantom. session: the state, to share with other views, or to drive from code; it then brings the rest.
    `cockpit.session.register()` registers as the button does, and returns the `Registration`.
    """

    def __init__(
        self, volume: Volume | CtSource | None = None, xray: Xray | None = None, *, carm: CArm = PAPER_CARM, session: Session | None = None
    ) -> None:
        if session is None:
            session = Session(Phantom() if volume is None else volume, xray, carm=carm)
        elif volume is not None or xray is not None or carm is not PAPER_CARM:
            raise XrcoreError("RegistrationCockpit: give a volume, an X-ray and a C-arm, or a session, which has them")
        session.pace = session.pace or _PACE
        self.session = session
        self.sources = Sources(session, self)
        self._task: asyncio.Task[None] | None = None
        self._replaying, self._drawn = False, 0.0
        self._curve_of: tuple[Any, ...] | None = None
        self.comparison = Comparison(session)
        self.gestures = PoseGestures(self.comparison.canvas, session, self.back)
        self.sliders = PoseSliders(session)
        self.method = ipw.Dropdown(options=list(PRESETS), value=session.method, description="method", style=_WIDE).add_class("xr-method")
        self.similarity = ipw.Dropdown(options=["auto", *SIMILARITIES], value=session.similarity, description="similarity", style=_WIDE)
        self.similarity.add_class("xr-similarity")
        self.beam = ipw.Dropdown(options=beams(session.beam), value=session.beam, description="beam", style=_WIDE).add_class("xr-beam")
        self.go = ipw.Button(description="Register", button_style="primary", layout=ipw.Layout(width="110px")).add_class("xr-register")
        self.halt = ipw.Button(description="Stop", disabled=True, layout=ipw.Layout(width="80px")).add_class("xr-stop")
        self.again = ipw.Button(description="Back to the start", layout=ipw.Layout(width="130px")).add_class("xr-back")
        self.stage = ipw.HTML().add_class("xr-stage")
        self.curve = ipw.Image(format="png", layout=ipw.Layout(width="440px", height="290px")).add_class("xr-curve")
        self.step = ipw.IntSlider(description="step", max=1, disabled=True, style=_WIDE, layout=ipw.Layout(width="420px")).add_class(
            "xr-step"
        )
        self.table = ipw.HTML()
        self.outcome = ipw.HTML()
        self.folder = ipw.Text(value="result", description="folder", style=_WIDE, layout=ipw.Layout(width="420px")).add_class("xr-folder")
        self.keep = ipw.Button(description="Save", disabled=True, layout=ipw.Layout(width="80px")).add_class("xr-save")
        self._refresh = Refresher(self._draw)
        right = ipw.VBox(
            [
                self.sliders,
                self.method,
                self.similarity,
                self.beam,
                ipw.HBox([self.go, self.halt, self.again]),
                self.stage,
                self.curve,
                self.step,
            ],
        )
        middle = ipw.HBox([self.comparison, right], layout=ipw.Layout(grid_gap="20px", flex_flow="row wrap"))
        super().__init__(self.sources, middle, self.table, self.outcome, ipw.HBox([self.folder, self.keep]), name="cockpit", note_at=1)

        self.go.on_click(lambda _: self.register())
        self.halt.on_click(lambda _: session.stop())
        self.again.on_click(lambda _: self.back())
        self.keep.on_click(lambda _: self._save())
        self.method.observe(lambda change: setattr(session, "method", change["new"]), names="value")
        self.similarity.observe(lambda change: setattr(session, "similarity", change["new"]), names="value")
        self.beam.observe(lambda change: setattr(session, "beam", change["new"]), names="value")
        self.comparison.view.observe(lambda _: self._draw(draft=False), names="value")
        self.step.observe(self._replay, names="value")
        self.watch(session, self._moved, "numbers", "volume", "carm", "beam", "xray")
        self.watch(session, self._told, "stage", "running", "result", "xray")
        self.watch(session, self._grown, "history")
        self.watch(session, self._set, "method", "similarity", "beam")
        self._moved()
        self._told()

    def register(self) -> None:
        """What the button does: register in the event loop, so that the page stays alive; without one, at once."""
        try:
            self._task = asyncio.get_running_loop().create_task(self._run())
        except RuntimeError:
            asyncio.run(self._run())

    async def _run(self) -> None:
        self.say("")
        with self.reporting():
            await self.session.run()

    def back(self) -> None:
        """To where the last registration started."""
        if not self.session.running:
            self.session.pose = self.session.start

    def still(self) -> bytes:
        return array_png(self.comparison.picture()[0])

    def close(self) -> None:
        if "_refresh" in self.__dict__:
            if self._task is not None and not self._task.done():
                self.session.stop()
            self._refresh.cancel()
            for part in (self.sources, self.gestures, self.sliders):
                part.close()
        super().close()

    def _moved(self, _: Any = None) -> None:
        self._refresh()
        with self.reporting():
            self.table.value = pose_table(self.session)

    def _draw(self, draft: bool) -> None:
        with self.reporting():
            self.comparison.draw(draft=draft)

    def _told(self, _: Any = None) -> None:
        session = self.session
        busy = session.running
        for control in (self.go, self.again, self.method, self.similarity, self.beam, *self.sliders.sliders.values()):
            control.disabled = busy
        self.go.disabled = busy or session.xray is None
        self.halt.disabled = not busy
        self.keep.disabled = session.result is None
        self.stage.value = f'<span style="color:#666">{escape(session.stage)}</span>' if session.stage else ""
        self.outcome.value = verdict(session.result)
        with self.reporting():
            self.table.value = pose_table(session)
        if not busy:
            self._grown()

    def _grown(self, _: Any = None) -> None:
        """The curve and its slider follow the history; while it grows quickly, not at every step."""
        session = self.session
        if session.running and time.perf_counter() - self._drawn < _CURVE:
            return
        steps = len(session.history)
        known = (session.history, session.truth)
        self.step.disabled = session.running or steps < 2
        self._replaying = True  # the slider follows, it does not lead
        self.step.max = max(steps - 1, 1)
        self.step.value = max(steps - 1, 0)
        self._replaying = False
        if self._curve_of is None or any(a is not b for a, b in zip(known, self._curve_of, strict=True)):
            self._curve_of = known
            self._draw_curve()
            self._drawn = time.perf_counter()

    def _draw_curve(self, at: int | None = None) -> None:
        session = self.session
        history = session.history
        errors = None if session.truth is None else [found[0] for step in history if (found := session.errors(step.pose))]
        self.curve.value = figure_png(convergence_figure(history, errors, at=at, levels=_levels(session.method, session.similarity)))

    def _replay(self, change: Any) -> None:
        history = self.session.history
        if self._replaying or self.session.running or not 0 <= change["new"] < len(history):
            return
        result = self.session.result
        at_the_end = result is not None and change["new"] == len(history) - 1  # its last step may be a small one that nobody rendered
        self.session.pose = result.pose if result and at_the_end else history[change["new"]].pose
        self._draw_curve(change["new"])

    def _set(self, _: Any) -> None:
        session = self.session
        self.method.value, self.similarity.value = session.method, session.similarity
        if session.beam != self.beam.value:
            given = session.beam
            self.beam.options, self.beam.value = beams(given), given

    def _save(self) -> None:
        with self.reporting():
            files = self.session.save(self.folder.value)
            self.say("written: " + ", ".join(map(str, files)))


def _levels(method: str, similarity: str) -> list[str]:
    """What each level of a method's refinements compares."""
    names: list[str] = []
    settings: Settings | None = settings_for(method)
    while settings is not None:
        several = settings.method == "gauss-newton"
        rungs = settings.levels if several else settings.levels[-1:]
        chosen = settings if similarity == "auto" else replace(settings, similarity=similarity)
        for level in rungs:
            means = chosen.similarity_at(level) if several or chosen.similarity != "auto" else "zncc"
            names.insert(rungs.index(level), f"{means}, {level.pixels}")
        settings = settings.first
    return names
