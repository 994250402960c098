"""Pictures of a registration; the only module here that uses `figures`, and not before a picture is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from xrcore.beam import Beam
from xrcore.ct.volume import Volume
from xrcore.geometry import Pose
from xrcore.registration.joint_problem import poses_in_views
from xrcore.registration.problem import shrink
from xrcore.renderer import render

if TYPE_CHECKING:
    from xrcore.registration.result import Registration

_ALONE = 128  # pixels of an X-ray without a DRR
_PANEL = 512  # pixels of an image in the figure, more than a panel shows


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
    from xrcore.figures import display_image, overlay, picture_html

    small = shrink(result.xray, _ALONE if result.drr is None else max(result.drr.shape))
    picture = display_image(small.image, small.mask) if result.drr is None else overlay(small.image, result.drr, small.mask)
    return picture_html(picture, repr(result))


def save_overlay(path: Path, result: Registration, volume: Volume, beam: Beam | None, view: int = 0) -> None:
    """Write the figure of X-ray, start, found pose and difference.

    Parameters
    ----------
    path : Path
        Of the PNG.
    result : Registration
        What was found.
    volume : Volume
        What was registered.
    beam : Beam, optional
        The one assumed; default 90 kV.
    view : int
        Which of several views, counted from 0.
    """
    from xrcore.figures import registration_figure, save_figure

    small = shrink(result.views[view].xray, _PANEL)
    poses = poses_in_views(Pose.cat([result.initial, result.pose]), result.views, volume)[view]
    with torch.no_grad():
        initial, final = render(volume, small.carm, poses, beam).cpu()
    save_figure(registration_figure(small, initial, final, result), path)
