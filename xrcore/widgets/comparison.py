"""Compare X-ray and DRR in one canvas, by a chosen kind of picture."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from itertools import cycle
from typing import Any

import ipywidgets as ipw
import numpy as np
import torch
from numpy.typing import NDArray

from xrcore.drawing.artists import COLOURS, outlined, shown_name
from xrcore.figures import checkerboard, composite, difference, display_image, overlay
from xrcore.geometry import CArm
from xrcore.registration.problem import shrink
from xrcore.renderer import render
from xrcore.renderer.thickness import label_thickness
from xrcore.widgets.canvas import Canvas
from xrcore.widgets.gestures import HINT
from xrcore.widgets.observer import Observer
from xrcore.widgets.session import Session
from xrcore.xray import Xray

PIXELS = 256  # along the longer side of what is shown, at most
_WIDTH = 400  # CSS pixels: it and the sliders fit beside each other in a notebook 1280 pixels wide
_DRAFT_PIXELS, _DRAFT_SPACING = 128, 4.0
_MOST_NAMES = 12  # of structures, in the legend

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


class Comparison(Observer, ipw.VBox):
    """A canvas, buttons for the ways to compare, a legend, and where there are labels a list to choose from.

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
        self.structures = ipw.SelectMultiple(description="structures", rows=4, style={"description_width": "72px"})
        self.structures.tooltip = "Which are outlined: a click chooses one, with Ctrl one more, with Shift all up to it"
        self.structures.add_class("xr-structures")
        super().__init__([self.mode, self.canvas, self.legend, self.structures])
        self.observe_until_closed(session, self._list_structures, "labels")
        self._list_structures()

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
        carm = session.carm_with(min(pixels, max(session.carm.shape))) if xray is None else xray.carm
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
        chosen = np.isin(np.arange(len(session.labels.names)), self.structures.value)
        return outlined(picture, (label_thickness(session.labels, carm, camera) > 0) & chosen[:, None, None])

    def _list_structures(self, _: Any = None) -> None:
        """Offer the labels to choose from, all of them chosen."""
        names = () if self._session.labels is None else self._session.labels.names
        self.structures.options = [(shown_name(name), number) for number, name in enumerate(names)]
        self.structures.value = tuple(range(len(names)))
        self.structures.layout = {"width": f"{_WIDTH}px", "max_width": "100%", "display": "" if names else "none"}

    def _names(self) -> str:
        """The chosen structures in their colours."""
        coloured = list(zip(self.structures.options, cycle(COLOURS)))
        marks = [f'<span style="color:{coloured[n][1]}">■</span> {escape(coloured[n][0][0])}' for n in self.structures.value]
        more = [f"and {len(marks) - _MOST_NAMES} more"] if len(marks) > _MOST_NAMES else []
        return " · ".join(marks[:_MOST_NAMES] + more)

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
        self.legend.value = f'<span style="color:#666">{"<br>".join(filter(None, (text, self._names())))}</span>'

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
