"""Videos: what is written is what was given, and what cannot be written is said."""

from __future__ import annotations

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


@pytest.mark.parametrize(("name", "message"), [("film.avi", "must end in .gif or .mp4"), ("film.mp4", "needs ffmpeg")])
def test_what_cannot_be_written_is_said(tmp_path, monkeypatch, name, message):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(XrcoreError, match=message):
        save_video(PICTURES, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_no_pictures_make_no_video(tmp_path):
    with pytest.raises(XrcoreError, match="no pictures"):
        save_video([], tmp_path / "film.gif")
