"""Compare X-ray and DRR in one canvas, by a chosen kind of picture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ipywidgets as ipw
import torch
from numpy.typing import NDArray

from xrcore.drawing.artists import outlined
from xrcore.figures import checkerboard, composite, difference, display_image, overlay
from xrcore.geometry import CArm
from xrcore.registration.problem import shrink
from xrcore.renderer import render
from xrcore.renderer.label_thickness import label_thickness
from xrcore.widgets.canvas import Canvas
from xrcore.widgets.gestures import HINT
from xrcore.widgets.session import Session
from xrcore.xray import Xray

PIXELS = 256  # along the longer side of what is shown, at most
_WIDTH = 400  # CSS pixels: it and the sliders fit beside each other in a notebook 1280 pixels wide
_DRAFT_PIXELS, _DRAFT_SPACING = 128, 4.0

# name -> picture of (X-ray, DRR, mask); "split" shows both, with a line to move
MODES: dict[str, Callable[..., NDArray]] = {
    "edges": overlay,
    "overlay": composite,
    "checkerboard": checkerboard,
    "difference": difference,
    "split": lambda fixed, moving, mask: display_image(fixed, mask),
    "X-ray": lambda fixed, moving, mask: display_image(fixed, mask),
}
LEGENDS = {
    "edges": "red: edges of the X-ray · blue: of the DRR · purple: both agree",
    "overlay": "red: the X-ray is brighter · cyan: the DRR is · grey: both agree",
    "checkerboard": "the X-ray at the upper left, then in turn",
    "difference": "red: the X-ray is brighter · blue: the DRR is · white: both agree",
    "split": "left of the line the X-ray, right of it the DRR; drag the line",
    "X-ray": "",
}


class Comparison(ipw.VBox):
    """A canvas, buttons for the ways to compare, and a legend.

    Parameters
    ----------
    session : Session
        Whose X-ray and pose are shown.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._small: tuple[Xray, int, Xray] | None = None
        self.canvas = Canvas("X-ray and DRR", width=_WIDTH, hint=HINT)
        self.mode = ipw.ToggleButtons(options=list(MODES), style={"button_width": "auto"}, layout=ipw.Layout(max_width=f"{_WIDTH + 4}px"))
        self.mode.add_class("xr-mode")
        self.legend = ipw.HTML()
        super().__init__([self.mode, self.canvas, self.legend])

    def picture(self, *, draft: bool = False) -> tuple[NDArray, NDArray]:
        """Compare in the chosen way.

        Parameters
        ----------
        draft : bool
            Compare half the pixels each way.

        Returns
        -------
        tuple of array
            The comparison and the DRR, (h, w) or (h, w, 3) in [0, 1]; without an X-ray both are the DRR.
        """
        session = self._session
        pixels = _DRAFT_PIXELS if draft else PIXELS
        xray = self._shrunk(pixels)
        carm = session.carm if xray is None else xray.carm
        if xray is None and max(carm.shape) > pixels:
            rows, cols = carm.shape
            carm = carm.resized((max(1, round(rows * pixels / max(rows, cols))), max(1, round(cols * pixels / max(rows, cols)))))
        with torch.no_grad():
            drr = render(session.volume.coarser(_DRAFT_SPACING) if draft else session.volume, carm, session.pose, session.beam)[0]
        if xray is None:
            alone = self._outlined(display_image(drr), carm)
            return alone, alone
        shown = MODES[self.mode.value](xray.image, drr, xray.mask), display_image(drr, xray.mask)
        return self._outlined(shown[0], carm), self._outlined(shown[1], carm)

    def _outlined(self, picture: NDArray, carm: CArm) -> NDArray:
        """With the labels' outlines at the pose that is shown, where there are labels."""
        session = self._session
        if session.labels is None:
            return picture
        camera = session.pose.camera_from_world(carm, session.volume.isocenter)[0]
        return outlined(picture, label_thickness(session.labels, carm, camera) > 0)

    def draw(self, *, draft: bool = False) -> None:
        """Show the comparison.

        Parameters
        ----------
        draft : bool
            Compare half the pixels each way.
        """
        front, back = self.picture(draft=draft)
        if self.mode.value == "split" and self._session.xray is not None:
            if self.canvas.split is None:
                self.canvas.split = 0.5
            self.canvas.show(front, back)
        else:
            self.canvas.split = None
            self.canvas.show(front)
        text = LEGENDS[self.mode.value] if self._session.xray is not None else "the DRR; there is no X-ray yet"
        self.legend.value = f'<span style="color:#666">{text}</span>'

    def _shrunk(self, pixels: int) -> Any:
        """The X-ray, bone bright once it was registered, at about so many pixels; kept for the next frame."""
        xray = self._session.xray
        if xray is None:
            return None
        result = self._session.result
        seen = xray if result is None else result.xray
        if self._small is None or self._small[0] is not seen or self._small[1] != pixels:
            self._small = seen, pixels, shrink(seen, pixels)
        return self._small[2]
