"""A pinhole and a slot scan of the same patient: where the rays come from, and what is seen."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

import xrcore as xr
from drawings.common import BLUE, DARK, MUTED, ORANGE, new_figure, patient, screen, show

_SHAPE, _ROW = (150, 130), 2.4
PINHOLE = xr.CArm(source_to_detector=1000, source_to_isocenter=600, shape=_SHAPE, pixel_spacing=_ROW / 0.6)
SLOT = xr.SlotScan.from_isocenter_spacing(_ROW, _SHAPE, source_to_isocenter=600, source_to_detector=1000)


def slot_scans() -> Figure:
    """From the patient's side: sources, rays and detector; beside it the image of the frontal pose."""
    figure = new_figure(5.2)
    for i, (carm, name) in enumerate(((PINHOLE, "CArm: one source"), (SLOT, "SlotScan: the source moves with the row"))):
        axes = figure.add_axes((0.02, 0.52 - i * 0.5, 0.6, 0.42))
        _rays(axes, carm)
        axes.set_title(name, fontsize=10, fontweight="bold", color=DARK, loc="left")
        picture = figure.add_axes((0.64, 0.52 - i * 0.5, 0.34, 0.45))
        show(picture, screen(xr.Pose(), carm=carm, volume=patient().coarser(3.0)))
    return figure


def _rays(axes: Axes, carm: xr.CArm) -> None:
    _, deep, high = patient().extent
    axes.fill([600 - deep / 2, 600 + deep / 2, 600 + deep / 2, 600 - deep / 2], [-high / 2] * 2 + [high / 2] * 2, color="#e4e6e8")
    ends = carm.corners()[[0, 3]].numpy()
    starts = carm.corner_sources()[[0, 3]].numpy()
    for share in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        (_, top, near), (_, bottom, far) = ((1 - share) * ends_of[0] + share * ends_of[1] for ends_of in (starts, ends))
        axes.plot([near, far], [top, bottom], color=BLUE, linewidth=0.9)
        axes.plot(near, top, "o", color=BLUE, markersize=5)
    axes.plot(ends[:, 2], ends[:, 1], color=ORANGE, linewidth=3, solid_capstyle="butt")
    axes.plot(600, 0, "+", color=DARK, markersize=7)
    axes.text(600, -330, "patient, from the side", fontsize=8.5, color=MUTED, ha="center")
    axes.set_xlim(-40, 1040)
    axes.set_ylim(360, -360)
    axes.set_aspect("equal")
    axes.set_axis_off()
