"""Write pictures as a video: GIF, or MP4 where ffmpeg is installed."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import Image

from xrcore._util.atomic import atomic_file, check_writable
from xrcore._util.errors import XrcoreError, is_number, require

SUFFIXES = (".gif", ".mp4")
_COLOURS = 128  # of a GIF


def save_video(pictures: Iterable[Float[NDArray, "H W 3"]], path: str | Path, *, frames_per_second: float = 10.0) -> None:
    """Write pictures as a video.

    Parameters
    ----------
    pictures : iterable of Float[array, "H W 3"]
        Of one size, values in [0, 1]; taken one by one.
    path : str or Path
        Ending in .gif, or in .mp4, which needs ffmpeg.
    frames_per_second : float
        How fast to show them.

    Raises
    ------
    XrcoreError
        If the suffix is another, ffmpeg is needed and missing, there are no pictures, or the file cannot be written.
    """
    path = Path(path)
    check_video("save_video", path)
    fast = is_number(frames_per_second) and 0 < frames_per_second <= 1000
    require("save_video", "frames_per_second", frames_per_second, fast, "positive, at most 1000")
    made = (np.round(np.clip(picture, 0, 1) * 255).astype(np.uint8) for picture in pictures)
    first = next(made, None)
    if first is None:
        raise XrcoreError("save_video: there are no pictures")
    path.parent.mkdir(parents=True, exist_ok=True)
    write = _write_gif if path.suffix.lower() == ".gif" else _write_mp4
    with atomic_file(path) as temporary:
        write(temporary, itertools.chain([first], made), frames_per_second)


def check_video(caller: str, path: Path) -> None:
    """Complain before long work of a video that could not be written.

    Parameters
    ----------
    caller : str
        Named in the message.
    path : Path
        Of the video.

    Raises
    ------
    XrcoreError
        If its suffix is unknown, or ffmpeg is missing.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise XrcoreError(f"{caller}: {path.name} must end in {' or '.join(SUFFIXES)}")
    if path.suffix.lower() == ".mp4" and shutil.which("ffmpeg") is None:
        raise XrcoreError(f"{caller}: {path.name} needs ffmpeg, which is not installed; take a .gif")
    check_writable(path.parent, path.name)


def _write_gif(path: Path, pictures: Iterable[NDArray[np.uint8]], rate: float) -> None:
    images = [Image.fromarray(picture).quantize(_COLOURS, dither=Image.Dither.NONE) for picture in pictures]
    images[0].save(path, save_all=True, append_images=images[1:], duration=max(20, round(1000 / rate)), loop=0)


def _write_mp4(path: Path, pictures: Iterable[NDArray[np.uint8]], rate: float) -> None:
    pictures = iter(pictures)
    first = next(pictures)
    height, width = first.shape[:2]
    command = ["ffmpeg", "-y", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", f"{rate:g}"]
    command += ["-i", "-", "-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-pix_fmt", "yuv420p", str(path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin is not None
    try:
        for picture in itertools.chain([first], pictures):
            process.stdin.write(picture.tobytes())
    except BrokenPipeError:
        pass  # its message says why
    _, message = process.communicate()
    if process.returncode:
        raise XrcoreError(f"ffmpeg: {' '.join(message.decode('utf-8', 'replace').split())[:200]}")
