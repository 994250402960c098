"""AttentionViewer: what a trained network says of an X-ray, where it looks, and how far refinement has to go from there."""

from __future__ import annotations

import os
from typing import Any

import ipywidgets as ipw
import numpy as np
import torch
from numpy.typing import NDArray

from xrcore._util.errors import XrcoreError
from xrcore.beam import Beam
from xrcore.ct import Volume
from xrcore.figures import array_png, attention_overlay, display_image, error_map, figure_png, panels_figure, spread_over
from xrcore.geometry import Pose
from xrcore.learning.models import PoseRegressor
from xrcore.widgets.attention_state import AttentionState
from xrcore.widgets.attention_table import poses_table
from xrcore.widgets.panel import Panel
from xrcore.widgets.refresh import Refresher
from xrcore.widgets.session import Session
from xrcore.widgets.sliders import PoseSliders
from xrcore.widgets.state import ViewState
from xrcore.widgets.verdict import verdict
from xrcore.xray import Xray

_TITLES = {"xray": "X-ray", "attention": "attention", "initial": "initial: the network", "final": "final: refined"}
_ALL = "all heads"
_NO_ATTENTION = "this network has no attention to show; train one with attention=True"
_KEY = (
    '<span style="color:#ff291f">■</span> X-ray only &nbsp; <span style="color:#1473ff">■</span> DRR only &nbsp; '
    '<span style="color:#ff84ff">■</span> both agree'
)


class AttentionViewer(Panel):
    """X-ray, attention over it, and error maps at the network's pose and at the refined one.

    model: a PoseRegressor, or the folder of one. volume: the CT that it was trained on. xray: default one that is simulated, by the model's
    C-arm from the pose of the sliders. truth: the pose of `xray`, if known. beam: assumed, default 90 kV. session: to be followed, instead.
    A model that does not fit X-ray or CT says so in the page. `state` holds X-ray and results; `source` is from where X-rays are simulated.
    """

    state: AttentionState | None = None
    source: ViewState | None = None
    _sliders: PoseSliders | None = None
    _refresh: Refresher | None = None

    def __init__(
        self,
        model: PoseRegressor | str | os.PathLike[str],
        volume: Volume | None = None,
        xray: Xray | None = None,
        *,
        truth: Pose | None = None,
        beam: Beam | None = None,
        session: Session | None = None,
    ) -> None:
        if session is not None:
            if volume is not None or xray is not None:
                raise XrcoreError("AttentionViewer: give a volume and an X-ray, or a session, which has them")
            volume, xray, truth, beam = session.volume, session.xray, session.truth, session.beam
        for name, value, kind in (("volume", volume, Volume), ("xray", xray, Xray)):
            if not isinstance(value, kind) and (value is not None or name == "volume"):
                raise XrcoreError(f"AttentionViewer: {name} must be a {kind.__name__}, got {type(value).__name__}")
        self._pictures: dict[str, tuple[str, NDArray | None]] = {}
        self._build()
        panels = ipw.HBox([ipw.VBox([self.captions[name], self.images[name]]) for name in _TITLES], layout=_wrapping())
        choices = ipw.HBox([self.opacity, self.head, self.refining, ipw.HTML(_KEY)], layout=_wrapping())
        results = ipw.VBox([self.table, self.outcome])
        below = ipw.HBox([results], layout=_wrapping())
        super().__init__(panels, choices, below, name="attention")
        with self.reporting():
            if not isinstance(model, PoseRegressor):
                model = PoseRegressor.load(model)
            self.state = AttentionState(model=model, volume=volume, beam=Beam() if beam is None else beam)
            self._refresh = Refresher(self._update)
            self.state.observe(self._seen, names="xray")
            self.state.observe(self._predicted, names="prediction")
            self.state.observe(self._found, names="refined")
            if session is not None:
                self.watch(session, self._follow, "xray", "volume", "beam")
            if session is not None and xray is None:
                self.say("no X-ray yet")
                return
            assert volume is not None
            if xray is None:
                below.children = (self._simulating(volume, model), results)
            else:
                self.state.look_at(xray, truth)
            self._refresh()

    def still(self) -> bytes | None:
        if not self._pictures:
            return None
        panels = [(title, *self._pictures.get(name, ("", None))) for name, title in _TITLES.items()]
        return figure_png(panels_figure(panels, "X-ray" if self.source is None else "simulated X-ray"))

    def close(self) -> None:
        if self._refresh is not None:
            self._refresh.cancel()
        if self._sliders is not None:
            self._sliders.close()
        super().close()

    # What it is made of

    def _build(self) -> None:
        self.captions = {name: ipw.HTML(_caption(title)).add_class(f"xr-caption-{name}") for name, title in _TITLES.items()}
        self.images = {name: ipw.Image(format="png", layout=ipw.Layout(width="216px")).add_class(f"xr-image-{name}") for name in _TITLES}
        self.opacity = ipw.FloatSlider(
            description="opacity", min=0, max=1, step=0.05, value=0.65, readout=False, layout=ipw.Layout(width="240px")
        ).add_class("xr-opacity")
        self.head = ipw.Dropdown(options=[_ALL], layout=ipw.Layout(width="110px")).add_class("xr-head")
        self.refining = ipw.Checkbox(value=True, description="refine", indent=False, layout=ipw.Layout(width="80px")).add_class("xr-refine")
        self.table = ipw.HTML()
        self.outcome = ipw.HTML()
        for control in (self.opacity, self.head):
            control.observe(self._overlaid, names="value")
        self.refining.observe(self._wanted, names="value")

    def _simulating(self, volume: Volume, model: PoseRegressor) -> ipw.Widget:
        self.source = ViewState(volume, model.carm, pose=_drawn(model, 0))
        self._sliders = PoseSliders(self.source)
        for slider in self._sliders.sliders.values():
            slider.continuous_update = False  # simulating and predicting take longer than a frame
        self.seed = ipw.BoundedIntText(value=0, min=0, max=9999, description="seed", layout=ipw.Layout(width="150px")).add_class("xr-seed")
        self.seed.style.description_width = "62px"
        self.protocol = ipw.Dropdown(
            options=[("as acquired", True), ("bare DRR", False)], description="X-ray", layout=ipw.Layout(width="200px")
        ).add_class("xr-protocol")
        self.protocol.style.description_width = "50px"
        self.seed.observe(self._reseeded, names="value")
        self.protocol.observe(self._moved, names="value")
        self.watch(self.source, self._moved, "numbers")
        return ipw.VBox([ipw.HBox([self.seed, self.protocol]), self._sliders])

    def _follow(self, change: Any) -> None:
        """The session has another X-ray, CT or beam."""
        session, state = change["owner"], self.state
        if state is None or self._refresh is None:
            return
        state.volume, state.beam = session.volume, session.beam
        state.look_at(session.xray, session.truth)
        if session.xray is not None:
            self._refresh()
        else:
            self.say("no X-ray yet")

    # From the page to the state

    def _reseeded(self, change: Any) -> None:
        if self.source is None or self.state is None:
            return
        before = self.source.numbers
        self.source.pose = _drawn(self.state.model, change["new"])
        if self.source.numbers == before:
            self._moved()  # the noise is another

    def _moved(self, _: Any = None) -> None:
        if self.state is not None and self._refresh is not None:
            self.state.xray = None  # to be simulated
            self._refresh()

    def _wanted(self, change: Any) -> None:
        if change["new"] and self._refresh is not None:
            self._refresh()

    def _update(self, draft: bool) -> None:
        """Whatever is missing; a draft does without refinement, which follows when things rest."""
        state = self.state
        if state is None:
            return
        with self.reporting():
            if state.xray is None and self.source is not None:
                state.simulate(self.source.pose, seed=self.seed.value, acquired=self.protocol.value)
            if state.prediction is None:
                state.predict()
            if self.refining.value and not draft and state.refined is None:
                self.say("refining ...")
                state.refine()
            self.say("" if state.attention is not None else _NO_ATTENTION)
        if state.xray is None:
            self._blank()

    # From the state to the page

    def _seen(self, _: Any) -> None:
        state = self.state
        if state is None or state.xray is None:
            return
        self._blank()
        rows, cols = state.xray.carm.shape
        self._show("xray", f"{rows} × {cols}", display_image(state.xray.image, state.xray.mask))

    def _predicted(self, _: Any) -> None:
        state = self.state
        if state is None or state.prediction is None:
            return
        heads = 0 if state.attention is None else len(state.attention)
        names = [_ALL, *(f"head {i + 1}" for i in range(heads))]
        if list(self.head.options) != names:
            self.head.options = names
        self.head.disabled = self.opacity.disabled = not heads
        self._overlaid()
        self._judge("initial", state.prediction)
        self._tabulate()

    def _overlaid(self, _: Any = None) -> None:
        state = self.state
        if state is None or state.xray is None or state.prediction is None:
            return
        if state.attention is None:
            self._show("attention", "none", None)
            return
        which = self.head.index - 1  # the first is their mean
        weight = state.attention.mean(0) if which < 0 else state.attention[which]
        mask = state.xray.mask.numpy()
        grey = display_image(state.xray.image, mask)
        picture = attention_overlay(grey, spread_over(weight, mask), mask, opacity=self.opacity.value)
        self._show("attention", f"mean of {len(state.attention)} heads" if which < 0 else self.head.value, picture)

    def _found(self, _: Any) -> None:
        if self.state is not None and self.state.refined is not None:
            self._judge("final", self.state.refined.pose)
            self._tabulate()

    def _judge(self, name: str, pose: Pose) -> None:
        state = self.state
        if state is None or state.xray is None:
            return
        image = state.drr(pose)
        measures = state.measures(pose, image)
        remark = f"NCC {measures['NCC']:.3f}"
        if "mTRE" in measures:
            remark = f"mTRE {measures['mTRE']:.1f} mm, {remark}"
        self._show(name, remark, error_map(state.xray.image, image, state.xray.mask))

    def _tabulate(self) -> None:
        state = self.state
        if state is None:
            return
        columns = {"truth": state.truth, "network": state.prediction, "refined": state.refined.pose if state.refined else None}
        self.table.value = poses_table({name: pose for name, pose in columns.items() if pose is not None})
        self.outcome.value = verdict(state.refined)

    def _show(self, name: str, remark: str, picture: NDArray | None) -> None:
        self._pictures[name] = (remark, picture)
        self.captions[name].value = _caption(_TITLES[name], remark)
        self.images[name].value = array_png(np.ones((2, 2)) if picture is None else picture)

    def _blank(self) -> None:
        for name in _TITLES:
            self._show(name, "", None)
        self.table.value = self.outcome.value = ""


def _drawn(model: PoseRegressor, seed: int) -> Pose:
    """A pose from the ranges that the model was trained for, to a tenth."""
    limits = torch.tensor(model.ranges, dtype=torch.float64)
    share = 2 * torch.rand(6, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) - 1
    return Pose((limits * share).round(decimals=1))


def _caption(title: str, remark: str = "") -> str:
    return f'<div style="line-height:1.25"><b>{title}</b><br><span style="color:#6b6b6b;font-size:90%">{remark}&nbsp;</span></div>'


def _wrapping() -> ipw.Layout:
    return ipw.Layout(flex_flow="row wrap", grid_gap="8px", align_items="flex-start")
