"""A registration from its start to its end, as an animated picture."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from xrcore._util.errors import is_whole, require
from xrcore.beam import Beam
from xrcore.ct.volume import Volume
from xrcore.figures import overlay, save_video
from xrcore.figures.encoding import array_image
from xrcore.figures.video import check_video
from xrcore.geometry import Pose
from xrcore.registration.events import Step
from xrcore.registration.joint_problem import poses_in_views
from xrcore.registration.problem import shrink
from xrcore.registration.result import Registration
from xrcore.renderer import render

_PIXELS, _SHOWN = 240, 480  # along the longer side: of what is rendered, and of the picture
_MOST_FRAMES = 48
_BAR, _FONT = 34, 18  # [pixels], of the line of text below
_RATE, _STILL = 7.0, (1.0, 2.4)  # frames a second; [s] that the first and the last are shown longer


def animate(result: Registration, volume: Volume, path: str | os.PathLike[str], *, beam: Beam | None = None, view: int = 0) -> Path:
    """Write how a registration went: the X-ray's edges in red, the CT's in blue, at the start, after each step, and at the end.

    Parameters
    ----------
    result : Registration
        What `register` returned.
    volume : Volume
        What was registered.
    path : path
        Ending in .gif, .webp, or .mp4, which needs ffmpeg.
    beam : Beam, optional
        The one assumed; default 90 kV.
    view : int
        Which of several views, counted from 0.

    Returns
    -------
    pathlib.Path
        The path.

    Raises
    ------
    XrcoreError
        For another suffix, without ffmpeg where it is needed, or if the file cannot be written.
    """
    path = Path(path)
    require("animate", "result", result, isinstance(result, Registration), "a Registration, such as register gives")
    count = len(result.views)
    require("animate", "view", view, is_whole(view) and 0 <= view < count, f"a number below {count}, that of the registration's views")
    check_video("animate", path)
    steps = shown_steps(result.history)
    end = result.verdict.split(" (")[0] if result.evidence else "end"
    poses, texts = zip((result.initial, "start"), *steps, (result.pose, end), strict=True)
    small = shrink(result.views[view].xray, _PIXELS)
    in_view = poses_in_views(Pose.cat([pose.detach() for pose in poses]), result.views, volume)[view]

    def frame(index: int, text: str) -> Float[NDArray, "H W 3"]:
        with torch.no_grad():
            drr = render(volume, small.carm, in_view[index], beam)[0].cpu()
        return _frame(overlay(small.image.cpu(), drr, small.mask.cpu()), text)

    save_video(itertools.starmap(frame, enumerate(texts)), path, frames_per_second=_RATE, still=_STILL)
    return path


def shown_steps(history: Sequence[Step]) -> list[tuple[Pose, str]]:
    """Poses and what they are, evenly chosen where there are many; the first and the last among them."""
    steps = [(step.pose, f"level {step.level + 1}, step {number}") for number, step in enumerate(history, 1)]
    if len(steps) <= _MOST_FRAMES:
        return steps
    return [steps[round(index)] for index in np.linspace(0, len(steps) - 1, _MOST_FRAMES)]


def _frame(picture: Float[NDArray, "h w 3"], text: str) -> Float[NDArray, "H W 3"]:
    """The picture at the size in which it is shown, above a line of text."""
    image = array_image(picture)
    scale = _SHOWN / max(image.size)
    width, height = round(image.width * scale), round(image.height * scale)
    frame = Image.new("RGB", (width, height + _BAR), "black")
    frame.paste(image.resize((width, height), Image.Resampling.BILINEAR))
    font = ImageFont.load_default(_FONT)
    drawing = ImageDraw.Draw(frame)
    drawing.text((8, height + _BAR / 2), text, fill="white", font=font, anchor="lm")
    legend = (("X-ray", "#ff2a1f"), ("CT", "#4d9dff"), ("both", "#e070ff"))
    right = width - 8.0
    for word, colour in reversed(legend):
        drawing.text((right, height + _BAR / 2), word, fill=colour, font=font, anchor="rm")
        right -= drawing.textlength(word, font=font) + 12
    return np.asarray(frame) / 255
