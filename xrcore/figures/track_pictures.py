"""Pictures of a track: the DRR's edges over each frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray

from xrcore._util.errors import XrcoreError
from xrcore.beam import Beam
from xrcore.ct.volume import Volume
from xrcore.figures.blends import overlay
from xrcore.geometry import Pose
from xrcore.registration.joint_problem import poses_in_views
from xrcore.registration.problem import shrink
from xrcore.registration.tracking.frame_reading import attempts
from xrcore.registration.tracking.result import Track
from xrcore.registration.view import View
from xrcore.renderer import render

_PIXELS = 384  # of a frame's longer side
_BORDER = 3  # pixels, red where the frame is not trusted


def track_overlays(
    track: Track, frames: Iterable[Sequence[View]], volume: Volume, beam: Beam | None = None
) -> Iterator[Float[NDArray, "H W 3"]]:
    """Draw each frame of a track: the X-ray grey, the edges of the DRR over its own; several views side by side.

    Parameters
    ----------
    track : Track
        What was found.
    frames : iterable of sequences of View
        Those that were tracked, read again.
    volume : Volume
        The body.
    beam : Beam, optional
        The one assumed; default 90 kV.

    Yields
    ------
    Float[array, "H W 3"]
        With a green frame where the pose is trusted, else a red one; black where the X-ray cannot be read.
    """
    for found, views in zip(track, attempts(frames), strict=True):
        picture = np.zeros((_PIXELS, _PIXELS, 3)) if isinstance(views, XrcoreError) else _picture(found.pose, views, volume, beam)
        colour = (0.1, 0.6, 0.2) if found.trusted else (0.85, 0.1, 0.1)
        edge = np.ones(picture.shape[:2], dtype=bool)
        edge[_BORDER:-_BORDER, _BORDER:-_BORDER] = False
        picture[edge] = colour
        yield picture


def _picture(pose: Pose, views: Sequence[View], volume: Volume, beam: Beam | None) -> Float[NDArray, "H W 3"]:
    """The views of one frame side by side."""
    parts = []
    for view, own in zip(views, poses_in_views(pose, views, volume), strict=True):
        small = shrink(view.xray, _PIXELS)
        with torch.no_grad():
            drr = render(volume, small.carm, own, beam)[0].cpu()
        parts.append(overlay(small.image, drr, small.mask))
    height = max(part.shape[0] for part in parts)
    return np.concatenate([np.pad(part, ((0, height - part.shape[0]), (0, 0), (0, 0))) for part in parts], 1)
