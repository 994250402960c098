"""Videos: what is written is what was given, and what cannot be written is said."""

from __future__ import annotations

import os

import numpy as np
import pytest
from PIL import Image, ImageSequence

from xrcore import XrcoreError
from xrcore.figures import save_video

PICTURES = [np.full((8, 12, 3), (grey, 0.2, 0.9)) for grey in (0.0, 0.5, 1.0)]


def test_a_gif_holds_every_picture_at_its_rate(tmp_path):
    save_video(iter(PICTURES), tmp_path / "film.gif", frames_per_second=5)
    with Image.open(tmp_path / "film.gif") as film:
        frames = [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(film)]
        assert film.info["duration"] == 200
    for frame, picture in zip(frames, PICTURES, strict=True):
        assert np.abs(frame / 255 - picture).max() < 0.02


@pytest.mark.parametrize(("name", "message"), [("film.avi", r"must end in \.gif, \.webp or \.mp4"), ("film.mp4", "needs ffmpeg")])
def test_what_cannot_be_written_is_said(tmp_path, monkeypatch, name, message):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(XrcoreError, match=message):
        save_video(PICTURES, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_no_pictures_make_no_video(tmp_path):
    with pytest.raises(XrcoreError, match="no pictures"):
        save_video([], tmp_path / "film.gif")


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_the_first_and_the_last_picture_stay_longer(tmp_path, suffix):
    path = tmp_path / f"film{suffix}"
    save_video(PICTURES, path, frames_per_second=10, still=(1.0, 2.0))
    with Image.open(path) as film:
        shown = []
        for number in range(film.n_frames):
            film.seek(number)
            film.load()
            shown.append(film.info["duration"])
    assert shown == [1100, 100, 2100]


_FFMPEG = """#!/usr/bin/env python3
import pathlib, sys
pathlib.Path(sys.argv[-1]).write_bytes(sys.stdin.buffer.read())
"""


def test_an_mp4_gets_every_picture_for_as_long_as_it_stays(tmp_path, monkeypatch):
    written = tmp_path / "ffmpeg"
    written.write_text(_FFMPEG)
    written.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    save_video(iter(PICTURES), tmp_path / "film.mp4", frames_per_second=10, still=(0.1, 0.2))
    found = np.frombuffer((tmp_path / "film.mp4").read_bytes(), np.uint8).reshape(-1, 8, 12, 3)
    assert found[:, 0, 0, 0].tolist() == [0, 0, 128, 255, 255, 255]


def test_pictures_of_other_sizes_are_fitted_to_the_first(tmp_path):
    save_video([PICTURES[0], np.ones((16, 12, 3))], tmp_path / "film.gif")
    with Image.open(tmp_path / "film.gif") as film:
        _, second = (np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(film))
    assert second.shape == (8, 12, 3)
    assert second[:, 6].min() > 250  # white, from top to bottom
    assert second[:, 0].max() < 5  # and black beside
    with pytest.raises(XrcoreError, match=r"pictures must be \(H, W, 3\)"):
        save_video([np.zeros((8, 12))], tmp_path / "flat.gif")
