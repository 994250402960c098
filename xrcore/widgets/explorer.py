"""PoseExplorer: a DRR that follows six sliders and the pointer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets as ipw
import torch
from jaxtyping import Float
from numpy.typing import NDArray

from xrcore._util.errors import XrcoreError
from xrcore._util.pose_text import VIEWS
from xrcore.ct import Volume
from xrcore.figures import array_png, display_image
from xrcore.geometry import CArm, Pose
from xrcore.geometry.presets import PAPER_CARM
from xrcore.renderer import render
from xrcore.widgets.canvas import Canvas
from xrcore.widgets.choices import BeamDropdown, PatientDropdown
from xrcore.widgets.copy_button import CopyButton
from xrcore.widgets.debounce import DebouncedDrawing
from xrcore.widgets.gestures import HINT, PoseGestures
from xrcore.widgets.panel import Panel
from xrcore.widgets.sliders import PoseSliders
from xrcore.widgets.state import PoseState
from xrcore.widgets.volume_sources import PHANTOMS, VolumeSource

# what the buttons say, and the view's name
STANDARD_VIEWS = {"AP": "ap", "lateral": "lateral", "inlet": "inlet", "outlet": "outlet", "oblique": "lpo"}
_DRAFT_SPACING = 4.0  # [mm], of the CT that drafts are rendered from, at half the pixels


class PoseExplorer(Panel):
    """Show what the C-arm would see, and change its pose by sliders, pointer and keys.

    Parameters
    ----------
    volume : Volume or VolumeSource, optional
        The CT; default the first of `patients`.
    carm : CArm
        Default the paper's.
    state : PoseState, optional
        A state to share with other widgets, instead of a volume and a C-arm.
    patients : mapping of str to VolumeSource
        Patients to choose from, by name; default two built-in phantoms.

    Attributes
    ----------
    state : PoseState
        What is shown; sliders and pointer change its `numbers`.

    Raises
    ------
    XrcoreError
        If both a state and a volume or C-arm are given, or the CT cannot be read.
    """

    def __init__(
        self,
        volume: Volume | VolumeSource | None = None,
        carm: CArm = PAPER_CARM,
        *,
        state: PoseState | None = None,
        patients: Mapping[str, VolumeSource] = PHANTOMS,
    ) -> None:
        if state is not None and (volume is not None or carm is not PAPER_CARM):
            raise XrcoreError("PoseExplorer: give a volume and a C-arm, or a state, which has them")
        if state is None:
            state = PoseState(next(iter(patients.values())) if volume is None else volume, carm)
        self.state = state
        self.canvas = Canvas("DRR at the pose of the sliders", hint=HINT)
        self.gestures = PoseGestures(self.canvas, state, self.reset)
        self.sliders = PoseSliders(state)
        self._first_pose = state.pose
        self._redraw = DebouncedDrawing(self._draw)
        self.code = ipw.Text(disabled=True, layout=ipw.Layout(width="330px")).add_class("xr-code")
        self.copy = CopyButton(description="copy as code")
        style = {"description_width": "62px"}
        self.patient = PatientDropdown(state, self, patients, style=style)
        self.beam = BeamDropdown(state, self, style=style)
        views = [self._button(name, lambda _, name=name: self.look(name)) for name in STANDARD_VIEWS]  # type: ignore[misc]
        reset = self._button("reset", lambda _: self.reset())
        controls = ipw.VBox(
            [
                self.patient,
                self.beam,
                ipw.HBox(views, layout=ipw.Layout(flex_flow="row wrap", max_width="420px")),
                self.sliders,
                ipw.HBox([reset, self.copy]),
                self.code,
            ]
        )
        super().__init__(ipw.HBox([self.canvas, controls], layout=ipw.Layout(grid_gap="16px", flex_flow="row wrap")), name="explorer")
        self.observe_until_closed(state, self._changed, "numbers", "volume", "carm", "beam")
        self._changed()

    @property
    def pose(self) -> Pose:
        """The pose shown."""
        return self.state.pose

    def look(self, view: str) -> None:
        """Go to a standard view, unless a computation moves the pose.

        Parameters
        ----------
        view : str
            "AP", "lateral", "inlet", "outlet" or "oblique".
        """
        if view not in STANDARD_VIEWS:
            raise XrcoreError(f"PoseExplorer: there is no view {view!r}; choose one of {', '.join(STANDARD_VIEWS)}")
        if not self.state.running:
            self.state.pose = Pose([*VIEWS[STANDARD_VIEWS[view]], 0.0, 0.0, 0.0])

    def reset(self) -> None:
        """Go back to the pose that the explorer began with, unless a computation moves the pose."""
        if not self.state.running:
            self.state.pose = self._first_pose

    def picture(self, *, draft: bool = False) -> Float[NDArray, "H W"]:
        """Render the DRR.

        Parameters
        ----------
        draft : bool
            Render half the pixels each way, from a coarser CT.

        Returns
        -------
        Float[NDArray, "H W"]
            Grey values in [0, 1].
        """
        state = self.state
        volume, carm = state.volume, state.carm
        if draft:
            rows, cols = carm.shape
            volume, carm = volume.coarser(_DRAFT_SPACING), carm.resized((max(rows // 2, 1), max(cols // 2, 1)))
        with torch.no_grad():
            return display_image(render(volume, carm, state.pose, state.beam))

    def snapshot(self) -> bytes:
        return array_png(self.picture())

    def close(self) -> None:
        if "patient" in self.__dict__:
            self._redraw.cancel()
            for part in (self.sliders, self.gestures, self.patient, self.beam):
                part.close()
        super().close()

    def _changed(self, _: Any = None) -> None:
        self.code.value = self.copy.text = self.state.code()
        self._redraw()

    def _draw(self, draft: bool) -> None:
        with self.errors_shown():
            self.canvas.show(self.picture(draft=draft))
            rows, cols = self.state.carm.shape
            self.show_message(f"{rows} × {cols} pixels{', half as many each way while moving' if draft else ''}")

    @staticmethod
    def _button(name: str, act: Callable[[Any], None]) -> ipw.Button:
        button = ipw.Button(description=name, layout=ipw.Layout(width="auto")).add_class(f"xr-to-{name.lower()}")
        button.on_click(act)
        return button
