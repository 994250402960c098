"""Write pictures as a video: GIF, WebP, or MP4 where ffmpeg is installed."""

from __future__ import annotations

import itertools
import math
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from PIL import Image, ImageOps

from xrcore._util.atomic import atomic_file, check_writable
from xrcore._util.errors import XrcoreError, is_number, require

SUFFIXES = (".gif", ".webp", ".mp4")
_COLOURS, _SAMPLED = 128, 1_000_000  # of a GIF, and the pixels that they are chosen for


def save_video(
    pictures: Iterable[Float[NDArray, "H W 3"]],
    path: str | Path,
    *,
    frames_per_second: float = 10.0,
    still: tuple[float, float] = (0.0, 0.0),
) -> None:
    """Write pictures as a video.

    Parameters
    ----------
    pictures : iterable of Float[array, "H W 3"]
        Values in [0, 1]; taken one by one, and fitted to the size of the first.
    path : str or Path
        Ending in .gif, .webp, or .mp4, which needs ffmpeg.
    frames_per_second : float
        How fast to show them.
    still : tuple of float
        How much longer the first and the last picture are shown [s].

    Raises
    ------
    XrcoreError
        If the suffix is another, ffmpeg is needed and missing, there are no pictures, or the file cannot be written.
    """
    path = Path(path)
    check_video("save_video", path)
    fast = is_number(frames_per_second) and 0 < frames_per_second <= 1000
    require("save_video", "frames_per_second", frames_per_second, fast, "positive, at most 1000")
    long = isinstance(still, Sequence) and len(still) == 2 and all(is_number(s) and 0 <= s <= 60 for s in still)
    require("save_video", "still", still, long, "two numbers of seconds, at most 60")
    made = (np.round(np.clip(picture, 0, 1) * 255).astype(np.uint8) for picture in pictures)
    first = next(made, None)
    if first is None:
        raise XrcoreError("save_video: there are no pictures")
    require("save_video", "pictures", first.shape, first.ndim == 3 and first.shape[2] == 3, "(H, W, 3)")
    made = (_on_canvas(picture, first.shape[:2]) for picture in made)
    write = _write_mp4 if path.suffix.lower() == ".mp4" else _write_animation
    with atomic_file(path) as temporary:
        write(temporary, itertools.chain([first], made), frames_per_second, still)


def _on_canvas(picture: NDArray[np.uint8], size: tuple[int, ...]) -> NDArray[np.uint8]:
    """The picture at the size of the first: shrunk where it is larger, black around it where it is smaller."""
    if picture.shape[:2] == size:
        return picture
    fitted = ImageOps.pad(Image.fromarray(picture), (size[1], size[0]))
    return np.asarray(fitted)


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
        raise XrcoreError(f"{caller}: {path.name} must end in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}")
    if path.suffix.lower() == ".mp4" and shutil.which("ffmpeg") is None:
        raise XrcoreError(f"{caller}: {path.name} needs ffmpeg, which is not installed; take a .gif")
    check_writable(path.parent, path.name)


def _write_animation(path: Path, pictures: Iterator[NDArray[np.uint8]], rate: float, still: Sequence[float]) -> None:
    images = [Image.fromarray(picture) for picture in pictures]
    if path.suffix.lower() == ".gif":
        palette = _sample(images).quantize(_COLOURS)  # of all, so that no colour changes on the way
        images = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    durations = [max(0.02, 1 / rate)] * len(images)
    durations[0] += still[0]
    durations[-1] += still[1]
    shown = [round(1000 * seconds) for seconds in durations]
    images[0].save(path, format=path.suffix[1:].upper(), save_all=True, append_images=images[1:], duration=shown, loop=0)


def _sample(images: Sequence[Image.Image]) -> Image.Image:
    """Some of the pixels of all."""
    every = max(1, math.isqrt(sum(image.width * image.height for image in images) // _SAMPLED))
    return Image.fromarray(np.concatenate([np.asarray(image)[::every, ::every] for image in images]))


def _write_mp4(path: Path, pictures: Iterator[NDArray[np.uint8]], rate: float, still: Sequence[float]) -> None:
    first = last = next(pictures)
    height, width = first.shape[:2]
    command = ["ffmpeg", "-y", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", f"{rate:g}"]
    command += ["-i", "-", "-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-pix_fmt", "yuv420p", str(path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin is not None
    before, after = (round(seconds * rate) for seconds in still)
    try:
        for _ in range(1 + before):
            process.stdin.write(first.tobytes())
        for last in pictures:
            process.stdin.write(last.tobytes())
        for _ in range(after):
            process.stdin.write(last.tobytes())
    except BrokenPipeError:
        pass  # its message says why
    _, message = process.communicate()
    if process.returncode:
        raise XrcoreError(f"ffmpeg: {' '.join(message.decode('utf-8', 'replace').split())[:200]}")
