"""An animation shows the start, each step and the end."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageSequence

import xrcore as xr
from xrcore.drawing import animate
from xrcore.drawing.animation import shown_steps
from xrcore.figures import overlay
from xrcore.registration.view import views_of

CARM = xr.CArm(source_to_detector=1259.65, source_to_isocenter=742.5, shape=(48, 64), pixel_spacing=6.75)
END = xr.Pose(rx=3.0, ry=-5.0)


@pytest.fixture(scope="module")
def task():
    volume = xr.phantom.pelvis(seed=3, spacing=10.0)
    xray = xr.Xray(image=xr.render(volume, CARM, END)[0], carm=CARM)
    steps = tuple(xr.Step(level=number // 2, pose=xr.Pose(rx=number / 2, tx=20 - 4 * number), similarity=number) for number in range(5))
    known = {"method": "gauss-newton", "similarity_name": "zncc", "evaluations": 1, "covariance": None, "history": steps}
    reason = xr.StopReason("step below tolerance")
    start = xr.Pose(tx=25)
    return volume, xr.Registration(
        pose=END, similarity=1.0, stop_reason=reason, initial=start, views=views_of("test", xray), isocenter=volume.isocenter, **known
    )


def _frames(path) -> list[np.ndarray]:
    with Image.open(path) as opened:
        return [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(opened)]


@pytest.mark.parametrize("view", [1, -1, 0.5])
def test_a_view_that_is_not_there_is_told(task, tmp_path, view):
    volume, result = task
    with pytest.raises(xr.XrcoreError, match="animate: view must be a number below 1"):
        animate(result, volume, tmp_path / "a.gif", view=view)


def test_it_goes_from_the_start_to_the_end(task, tmp_path):
    volume, result = task
    frames = _frames(animate(result, volume, tmp_path / "a.gif"))
    assert len(frames) == 7
    assert frames[0].shape[1] == 480
    ends, xray = (result.initial, END), result.xray.image
    for frame, pose in zip((frames[0], frames[-1]), ends, strict=True):
        seen = np.asarray(Image.fromarray(frame[:360]).resize((64, 48), Image.Resampling.BOX), float)
        likeness = [np.corrcoef(seen.ravel(), overlay(xray, xr.render(volume, CARM, one)[0]).ravel())[0, 1] for one in ends]
        assert ends[int(np.argmax(likeness))] is pose
        assert max(likeness) > 0.9


def test_of_many_steps_some_are_shown_from_the_first_to_the_last(task):
    (step, *_), many = task[1].history, 1000
    shown = [text for _, text in shown_steps([step] * many)]
    assert (len(shown), shown[0], shown[-1]) == (48, "level 1, step 1", f"level 1, step {many}")


def test_webp_is_written_too(task, tmp_path):
    volume, result = task
    assert len(_frames(animate(replace(result, history=()), volume, tmp_path / "a.webp"))) == 2


def test_other_files_are_refused(task, tmp_path, run, monkeypatch):
    volume, result = task
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(xr.XrcoreError, match=r"\.gif, \.webp or \.mp4"):
        animate(result, volume, tmp_path / "a.avi")
    with pytest.raises(xr.XrcoreError, match="needs ffmpeg"):
        animate(result, volume, tmp_path / "a.mp4")
    done = run("register", "ct.nii.gz", "a.dcm", "b.dcm", "--out", tmp_path / "out", "--animate", tmp_path / "a.gif")
    assert (done.code, "one registration" in done.err) == (2, True)
    done = run("register", "ct.nii.gz", "a.dcm", "--out", tmp_path / "out", "--animate", tmp_path / "a.mp4")
    assert (done.code, "needs ffmpeg" in done.err) == (2, True)
