"""Pictures of a registration; the only module here that uses `figures`, and not before a picture is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from xrcore._util.threads import single_torch_thread
from xrcore.beam import Beam
from xrcore.ct.volume import Volume
from xrcore.geometry import Pose
from xrcore.registration.joint_problem import poses_in_views
from xrcore.registration.problem import shrink
from xrcore.renderer import render

if TYPE_CHECKING:
    from xrcore.figures.encoding import Picture
    from xrcore.registration.result import Registration

_ALONE = 128  # pixels of an X-ray without a DRR
_PANEL = 512  # pixels of an image in the figure, more than a panel shows


def _own_picture(result: Registration) -> Picture:
    """The DRR's edges over the (first) X-ray's, on the DRR's grid; the X-ray alone where there is no DRR."""
    from xrcore.figures import display_image, overlay

    small = shrink(result.xray, _ALONE if result.drr is None else max(result.drr.shape))
    return display_image(small.image, small.mask) if result.drr is None else overlay(small.image, result.drr, small.mask)


def overlay_html(result: Registration) -> str:
    """The DRR's edges over the X-ray's, above the result's text; text alone for a bare refinement.

    Parameters
    ----------
    result : Registration
        Of `register`.

    Returns
    -------
    str
        HTML that needs no file.
    """
    from xrcore.figures import picture_html

    return picture_html(_own_picture(result), repr(result))


@single_torch_thread()
def save_overlay(path: Path, result: Registration, volume: Volume | None, beam: Beam | None, view: int = 0) -> None:
    """Write the figure of X-ray, start, found pose and difference; without a volume the picture that a notebook shows.

    Parameters
    ----------
    path : Path
        Of the PNG.
    result : Registration
        What was found.
    volume : Volume, optional
        What was registered.
    beam : Beam, optional
        The one assumed; default 90 kV.
    view : int
        Which of several views, counted from 0.
    """
    from xrcore.figures import array_png, display_image, registration_png

    if volume is None:
        other = shrink(result.views[view].xray, _ALONE)
        path.write_bytes(array_png(_own_picture(result) if view == 0 else display_image(other.image, other.mask)))
        return
    small = shrink(result.views[view].xray, _PANEL)
    poses = poses_in_views(Pose.cat([result.initial, result.pose]), result.views, volume)[view]
    with torch.no_grad():
        initial, final = render(volume, small.carm, poses, beam).cpu()
    path.write_bytes(registration_png(small, initial, final, result))
