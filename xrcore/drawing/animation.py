"""A registration from its start to its end, as an animated picture."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from xrcore._util.atomic import atomic_file
from xrcore._util.errors import XrcoreError, require
from xrcore.beam import Beam
from xrcore.ct.volume import Volume
from xrcore.figures import overlay
from xrcore.geometry import Pose
from xrcore.registration.events import Step
from xrcore.registration.joint_problem import poses_in_views
from xrcore.registration.problem import shrink
from xrcore.registration.result import Registration
from xrcore.renderer import render

SUFFIXES = (".gif", ".webp")
_PIXELS, _SHOWN = 240, 480  # along the longer side: of what is rendered, and of the picture
_MOST_FRAMES = 48
_BAR, _FONT = 34, 18  # [pixels], of the line of text below
_FIRST, _EACH, _LAST = 1200, 140, 2500  # [ms]
_COLOURS = 128


def animate(result: Registration, volume: Volume, path: str | os.PathLike[str], *, beam: Beam | None = None, view: int = 0) -> Path:
    """Write how a registration went: the X-ray's edges in red, the CT's in blue, at the start, after each step, and at the end.

    Parameters
    ----------
    result : Registration
        What `register` returned.
    volume : Volume
        What was registered.
    path : path
        Ending in .gif or .webp.
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
        For another suffix, a missing folder, or a result without steps.
    """
    path = Path(path)
    require("animate", "result", result, isinstance(result, Registration), "a Registration, such as register gives")
    if path.suffix.lower() not in SUFFIXES:
        raise XrcoreError(f"{path}: animations are written as {' or '.join(SUFFIXES)}")
    if not path.parent.is_dir():
        raise XrcoreError(f"{path}: the folder {path.parent} does not exist; create it first")
    steps = shown_steps(result.history)
    end = result.verdict.split(" (")[0] if result.evidence else "end"
    poses, texts = zip((result.initial, "start"), *steps, (result.pose, end), strict=True)
    small = shrink(result.views[view].xray, _PIXELS)
    in_view = poses_in_views(Pose.cat([pose.detach() for pose in poses]), result.views, volume)[view]
    frames = []
    with torch.no_grad():
        for index, text in enumerate(texts):
            drr = render(volume, small.carm, in_view[index], beam)[0].cpu()
            frames.append(_frame(overlay(small.image.cpu(), drr, small.mask.cpu()), text))
    durations = [_FIRST, *[_EACH] * (len(frames) - 2), _LAST]
    with atomic_file(path) as temporary:
        if path.suffix.lower() == ".gif":
            palette = _stacked(frames[0], frames[-1]).quantize(_COLOURS)  # of both, so that no colour changes on the way
            frames = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
        frames[0].save(temporary, format=path.suffix[1:].upper(), save_all=True, append_images=frames[1:], duration=durations, loop=0)
    return path


def shown_steps(history: Sequence[Step]) -> list[tuple[Pose, str]]:
    """Poses and what they are, evenly chosen where there are many; the first and the last among them."""
    steps = [(step.pose, f"level {step.level + 1}, step {number}") for number, step in enumerate(history, 1)]
    if len(steps) <= _MOST_FRAMES:
        return steps
    return [steps[round(index)] for index in np.linspace(0, len(steps) - 1, _MOST_FRAMES)]


def _stacked(above: Image.Image, below: Image.Image) -> Image.Image:
    both = Image.new("RGB", (above.width, above.height + below.height))
    both.paste(above)
    both.paste(below, (0, above.height))
    return both


def _frame(picture: np.ndarray, text: str) -> Image.Image:
    """The picture at the size in which it is shown, above a line of text."""
    image = Image.fromarray((np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8))
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
    return frame
