"""AttentionViewer: a trained network's prediction and attention for an X-ray, and the refinement from it."""

from __future__ import annotations

import os
from typing import Any

import ipywidgets as ipw
import numpy as np
import torch
from numpy.typing import NDArray

from xrcore._util.errors import XrcoreError, require
from xrcore.beam import Beam
from xrcore.ct import Volume
from xrcore.figures import array_png, attention_overlay, display_image, error_map, figure_png, panels_figure, spread_over
from xrcore.geometry import Pose
from xrcore.learning.models import PoseRegressor
from xrcore.widgets.attention_state import AttentionState
from xrcore.widgets.debounce import DebouncedDrawing
from xrcore.widgets.html_tables import difference_table, verdict_html
from xrcore.widgets.panel import Panel, wrapping
from xrcore.widgets.session import Session
from xrcore.widgets.sliders import PoseSliders
from xrcore.widgets.state import PoseState
from xrcore.xray import Xray

_TITLES = {"xray": "X-ray", "attention": "attention", "initial": "initial: the network", "final": "final: refined"}
_ALL = "all heads"
_NO_ATTENTION = "this network has no attention to show; train one with attention=True"
_NO_XRAY = "no X-ray yet"
_LEGEND = (
    '<span style="color:#ff291f">■</span> X-ray only &nbsp; <span style="color:#1473ff">■</span> DRR only &nbsp; '
    '<span style="color:#ff84ff">■</span> both agree'
)


class AttentionViewer(Panel):
    """Show an X-ray, the network's attention over it, and error maps at the network's pose and at the refined one.

    A model that cannot be read, or does not fit X-ray or CT, says so in the page.

    Parameters
    ----------
    model : PoseRegressor or path
        A trained model, or the folder of one.
    volume : Volume
        The CT that it was trained on.
    xray : Xray, optional
        The X-ray; default one that is simulated, by the model's C-arm from the pose of sliders.
    truth : Pose, optional
        The pose of `xray`, if known.
    beam : Beam, optional
        The beam that the registration assumes; default 90 kV.
    session : Session, optional
        A session to follow, instead of the four above.

    Attributes
    ----------
    state : AttentionState
        X-ray and results; absent where the model could not be read.
    source : PoseState or None
        From where X-rays are simulated.

    Raises
    ------
    XrcoreError
        If volume, X-ray and session do not make one subject.
    """

    state: AttentionState
    source: PoseState | None = None

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
        require("AttentionViewer", "volume", volume, isinstance(volume, Volume), "a Volume")
        require("AttentionViewer", "xray", xray, xray is None or isinstance(xray, Xray), "an Xray")
        self._pictures: dict[str, tuple[str, NDArray | None]] = {}
        self._build()
        panels = ipw.HBox([ipw.VBox([self.captions[name], self.images[name]]) for name in _TITLES], layout=wrapping("flex-start"))
        choices = ipw.HBox([self.opacity, self.head, self.refining, ipw.HTML(_LEGEND)], layout=wrapping("flex-start"))
        self._results = ipw.HBox([ipw.VBox([self.table, self.outcome])], layout=wrapping("flex-start"))
        super().__init__(panels, choices, self._results, name="attention")
        with self.errors_shown():
            if not isinstance(model, PoseRegressor):
                model = PoseRegressor.load(model)
            self._connect(AttentionState(model=model, volume=volume, beam=Beam() if beam is None else beam))
            if session is not None:
                self.observe_until_closed(session, self._follow, "xray", "volume", "beam")
            if xray is not None:
                self.state.look_at(xray, truth)
            elif session is None:
                self._simulate_from_sliders()
            else:
                self.show_message(_NO_XRAY)
                return
            self._update()

    def snapshot(self) -> bytes | None:
        if not self._pictures:
            return None
        panels = [(title, *self._pictures.get(name, ("", None))) for name, title in _TITLES.items()]
        return figure_png(panels_figure(panels, "X-ray" if self.source is None else "simulated X-ray"))

    def close(self) -> None:
        if "_update" in self.__dict__:
            self._update.cancel()
        if self.source is not None:
            self.sliders.close()
        super().close()

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

    def _connect(self, state: AttentionState) -> None:
        self.state = state
        self._update = DebouncedDrawing(self._compute)
        state.observe(self._show_xray, names="xray")
        state.observe(self._show_prediction, names="prediction")
        state.observe(self._show_refined, names="refined")
        for control in (self.opacity, self.head):
            control.observe(self._show_attention, names="value")
        self.refining.observe(lambda change: self._update() if change["new"] else None, names="value")

    def _simulate_from_sliders(self) -> None:
        model = self.state.model
        self.source = PoseState(self.state.volume, model.carm, pose=_random_pose(model, 0))
        self.sliders = PoseSliders(self.source)
        for slider in self.sliders.sliders.values():
            slider.continuous_update = False  # simulating and predicting take longer than a frame
        self.seed = ipw.BoundedIntText(value=0, min=0, max=9999, description="seed", layout=ipw.Layout(width="150px")).add_class("xr-seed")
        self.seed.style.description_width = "62px"
        self.protocol = ipw.Dropdown(
            options=[("as acquired", True), ("bare DRR", False)], description="X-ray", layout=ipw.Layout(width="200px")
        ).add_class("xr-protocol")
        self.protocol.style.description_width = "50px"
        self.seed.observe(self._new_seed, names="value")
        self.protocol.observe(self._simulate_again, names="value")
        self.observe_until_closed(self.source, self._simulate_again, "numbers")
        self._results.children = (ipw.VBox([ipw.HBox([self.seed, self.protocol]), self.sliders]), *self._results.children)

    def _follow(self, change: Any) -> None:
        """Follow the session to another X-ray, CT or beam."""
        session, state = change["owner"], self.state
        self._update.cancel()
        self._clear()
        state.xray = None  # or else the same one, with another CT or beam, would not be shown again
        state.volume, state.beam = session.volume, session.beam
        state.look_at(session.xray, session.truth)
        if session.xray is not None:
            self._update()
        else:
            self.show_message(_NO_XRAY)

    # From the page to the state

    def _new_seed(self, change: Any) -> None:
        assert self.source is not None
        before = self.source.numbers
        self.source.pose = _random_pose(self.state.model, change["new"])
        if self.source.numbers == before:
            self._simulate_again()  # the noise is another

    def _simulate_again(self, _: Any = None) -> None:
        self.state.xray = None
        self._update()

    def _compute(self, draft: bool) -> None:
        """Compute what is missing; a draft omits the refinement, which follows when the input rests."""
        state = self.state
        with self.errors_shown():
            if state.xray is None and self.source is not None:
                state.simulate(self.source.pose, seed=self.seed.value, acquired=self.protocol.value)
            if state.prediction is None:
                state.predict()
            if self.refining.value and not draft and state.refined is None:
                self.show_message("refining ...")
                state.refine()
            self.show_message("" if state.attention is not None else _NO_ATTENTION)
        if state.xray is None:
            self._clear()

    # From the state to the page

    def _show_xray(self, _: Any) -> None:
        if (xray := self.state.xray) is None:
            return
        self._clear()
        rows, cols = xray.carm.shape
        self._show_panel("xray", f"{rows} × {cols}", display_image(xray.image, xray.mask))

    def _show_prediction(self, _: Any) -> None:
        state = self.state
        if state.prediction is None:
            return
        heads = 0 if state.attention is None else len(state.attention)
        names = [_ALL, *(f"head {i + 1}" for i in range(heads))]
        if list(self.head.options) != names:
            self.head.options = names
        self.head.disabled = self.opacity.disabled = not heads
        self._show_attention()
        self._show_errors("initial", state.prediction)
        self._show_results()

    def _show_attention(self, _: Any = None) -> None:
        state = self.state
        if state.xray is None or state.prediction is None:
            return
        if state.attention is None:
            self._show_panel("attention", "none", None)
            return
        which = self.head.index - 1  # the first is their mean
        weight = state.attention.mean(0) if which < 0 else state.attention[which]
        mask = state.xray.mask.numpy()
        grey = display_image(state.xray.image, mask)
        picture = attention_overlay(grey, spread_over(weight, mask), mask, opacity=self.opacity.value)
        self._show_panel("attention", f"mean of {len(state.attention)} heads" if which < 0 else self.head.value, picture)

    def _show_refined(self, _: Any) -> None:
        state = self.state
        if state.refined is None:
            return
        if state.refined.inverted and state.prediction is not None:
            self._show_errors("initial", state.prediction)  # by the X-ray as registered
        self._show_errors("final", state.refined.pose)
        self._show_results()

    def _show_errors(self, name: str, pose: Pose) -> None:
        state = self.state
        if state.xray is None:
            return
        image = state.drr(pose)
        measures = state.measures(pose, image)
        remark = f"NCC {measures['NCC']:.3f}"
        if "mTRE" in measures:
            remark = f"mTRE {measures['mTRE']:.1f} mm, {remark}"
        self._show_panel(name, remark, error_map(state.xray.image, image, state.xray.mask))

    def _show_results(self) -> None:
        state = self.state
        poses = {"truth": state.truth, "network": state.prediction, "refined": state.refined.pose if state.refined else None}
        self.table.value = difference_table({name: pose for name, pose in poses.items() if pose is not None})
        self.outcome.value = verdict_html(state.refined)

    def _show_panel(self, name: str, remark: str, picture: NDArray | None) -> None:
        self._pictures[name] = (remark, picture)
        self.captions[name].value = _caption(_TITLES[name], remark)
        self.images[name].value = array_png(np.ones((2, 2)) if picture is None else picture)

    def _clear(self) -> None:
        for name in _TITLES:
            self._show_panel(name, "", None)
        self.table.value = self.outcome.value = ""


def _random_pose(model: PoseRegressor, seed: int) -> Pose:
    """A pose from the ranges that the model was trained for, to a tenth."""
    limits = torch.tensor(model.ranges, dtype=torch.float64)
    share = 2 * torch.rand(6, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) - 1
    return Pose((limits * share).round(decimals=1))


def _caption(title: str, remark: str = "") -> str:
    return f'<div style="line-height:1.25"><b>{title}</b><br><span style="color:#6b6b6b;font-size:90%">{remark}&nbsp;</span></div>'
