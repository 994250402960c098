"""`track`: follows a simulated cine, says what it lost, goes on with what an earlier run left."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from functools import cache
from math import sin
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

import xrcore as xr
from xrcore.registration.tracking import TrackedFrame
from xrcore.registration.tracking.files import appender, known_frames

CARM = xr.CArm(source_to_detector=1260, source_to_isocenter=742.5, shape=(128, 128), pixel_spacing=3.375)
TRUTHS = [xr.Pose(rx=2 * sin(i / 2), ry=-8 + 2 * i, tx=10 + 3 * i, ty=-4, tz=3 * sin(i / 3)) for i in range(6)]
QUICK = xr.GaussNewton(levels=(xr.Level(pixels=48, spacing=8.0, iterations=4, similarity="gradient-zncc"),))


@cache
def body() -> xr.Volume:
    return xr.phantom.pelvis(seed=0, spacing=4.0)


@cache
def cine() -> tuple[xr.Xray, ...]:
    return tuple(xr.simulate(body(), CARM, truth, seed=number) for number, truth in enumerate(TRUTHS))


@cache
def found() -> xr.Track:
    return xr.track(cine(), body(), check_every=3)


def error(track: xr.Track, number: int) -> float:
    return float(xr.metrics.mtre(track[number].pose, TRUTHS[number], body().surface_points(16), CARM, body().isocenter))


def test_each_frame_is_found_from_the_ones_before():
    track = found()
    assert all(track.trusted)
    assert max(error(track, number) for number in range(6)) < 2.0
    assert [frame.searched for frame in track] == [True, *[False] * 5]
    assert [frame.checked for frame in track] == [True, False, False, True, False, False]


def test_a_small_body_is_followed_whether_it_is_bright_or_dark():
    # of 2 % of the pixels, the others being background that says nothing of the body's grey values
    density = torch.zeros(1, 64, 64, 64)
    for z, y, x in (((8, 56), (26, 36), (26, 36)), ((8, 18), (26, 36), (36, 54)), ((40, 50), (36, 48), (28, 34))):
        density[0, slice(*z), slice(*y), slice(*x)] = 4.4
    implant = xr.Volume(density=density, materials=("titanium",), world_from_voxel=torch.eye(4, dtype=torch.float64))
    carm = xr.CArm(source_to_detector=1020, source_to_isocenter=650, shape=(256, 256), pixel_spacing=1.2)
    poses = [xr.Pose(ry=20 + i, rx=10, rz=15, tx=2 * i, ty=i) for i in range(4)]
    draw = torch.Generator().manual_seed(0)
    images = [xr.render(implant, carm, pose)[0] for pose in poses]
    images = [image + 0.02 * torch.randn(image.shape, generator=draw) for image in images]
    for sign in (1, -1):
        frames = [xr.Xray(image=sign * image, carm=carm) for image in images]
        box = xr.SearchBox(rotation=(3, 3, 3), translation=(4, 4, 6), candidates=16)
        track = xr.track(frames, implant, poses[0], search=box)
        assert all(track.trusted)
        for frame, pose in zip(track, poses, strict=True):
            off = (frame.pose.numbers - pose.numbers)[0].abs()
            assert off[:5].max() < 2.0, (sign, off)
            assert frame.similarity > 0.9


def test_a_frame_of_something_else_is_not_trusted_and_the_next_is():
    other = xr.simulate(xr.phantom.pelvis(seed=7, spacing=8.0), CARM, xr.Pose(ry=120, rz=60), seed=9)
    track = xr.track([*cine()[:2], other, *cine()[3:5]], body(), check_every=99)
    assert track.trusted == (True, True, False, True, True)
    assert track[2].checked
    assert track[2].reasons
    assert max(error(track, number) for number in (0, 1, 3, 4)) < 2.0
    assert "frame 2" in repr(track)


def test_a_jump_is_searched_for():
    track = xr.track([cine()[0], cine()[0], cine()[5]], body(), settings=QUICK)
    assert track.trusted == (True, True, True)
    assert track[2].checked
    there = xr.metrics.mtre(track[2].pose, TRUTHS[5], body().surface_points(16), CARM, body().isocenter)
    assert float(there) < 3.0


def test_dark_bone_is_turned_in_every_frame():
    dark = [replace(frame.negative(), bone_bright=False) for frame in cine()[:3]]
    track = xr.track(dark, body())
    assert all(track.trusted)
    assert error(track, 2) < 2.0


def test_several_views_are_tracked_as_one():
    side = xr.Pose(ry=85).camera_from_world(CARM, body().isocenter)[0] @ xr.Pose().world_from_camera(CARM, body().isocenter)[0]
    frames = []
    for number, truth in enumerate(TRUTHS[:2]):
        matrix = side @ truth.camera_from_world(CARM, body().isocenter)[0]
        second = xr.simulate(body(), CARM, xr.Pose.from_camera_from_world(matrix, CARM, body().isocenter), seed=50 + number)
        eye = torch.eye(4, dtype=torch.float64)
        frames.append([xr.View(xray=cine()[number], camera_from_rig=eye), xr.View(xray=second, camera_from_rig=side)])
    track = xr.track(frames, body())
    assert all(track.trusted)
    assert max(error(track, number) for number in range(2)) < 1.0
    assert_close(
        track.rig_from_ct(1, torch.eye(4, dtype=torch.float64)),
        TRUTHS[1].camera_from_world(CARM, body().isocenter)[0],
        atol=1,
        rtol=0,
    )


def test_saved_tracks_are_read_again_and_gone_on_with(tmp_path):
    track = found()
    track.save(tmp_path)
    again = xr.Track.load(tmp_path)
    assert_close(again.poses.numbers, track.poses.numbers, rtol=0, atol=0)
    assert again.trusted == track.trusted
    assert again.carm == track.carm
    assert_close(again[0].covariance, track[0].covariance, rtol=0, atol=0)
    rows = list(csv.DictReader((tmp_path / "track.csv").open()))
    assert [row["trusted"] for row in rows] == ["True"] * 6
    assert float(rows[4]["ry"]) == pytest.approx(float(track[4].pose.numbers[0, 1]), rel=1e-5)


@cache
def troubled() -> tuple[list[xr.Xray | xr.XrcoreError], xr.Track]:
    """A processed cine with a frame of something else, one that cannot be read, and a jump."""
    other = xr.simulate(xr.phantom.pelvis(seed=7, spacing=8.0), CARM, xr.Pose(ry=120, rz=60), seed=9)
    seen = [replace(frame, image=-torch.exp(-frame.image)) for frame in cine()]
    frames = [seen[0], seen[1], other, xr.XrcoreError("f3.png: truncated"), seen[4], seen[0], seen[1]]
    return frames, xr.track(frames, body(), settings=QUICK, check_every=2)


@pytest.mark.parametrize("count", [4, 5, 6])
def test_a_track_that_goes_on_is_what_it_would_have_been(tmp_path, count):
    frames, track = troubled()
    track.save(tmp_path)
    known = xr.Track.load(tmp_path).frames[:count]
    tracker = xr.Tracker(body(), settings=QUICK, check_every=2)
    whole = tracker.track([*known, *tracker.follow(frames, known)])
    whole.save(tmp_path / "again")

    def rows(folder: Path) -> list[dict[str, str]]:
        return [row | {"seconds": ""} for row in csv.DictReader((folder / "track.csv").open())]

    assert rows(tmp_path / "again") == rows(tmp_path)


def test_a_frame_that_cannot_be_registered_is_bridged_and_says_why():
    _, track = troubled()
    assert track.trusted == (True, True, False, False, True, True, True)
    assert track[3].reasons == ("bridged by the motion, since this frame cannot be registered: f3.png: truncated",)
    assert "frame 3: bridged by the motion" in repr(track)
    before, there = (torch.linalg.det(track[number].covariance) for number in (1, 3))
    assert there > before
    # nor can one whose mask leaves too little
    hole = torch.zeros(CARM.shape, dtype=torch.bool)
    hole[60:63, 60:63] = True
    masked = xr.track([*cine()[:2], replace(cine()[2], mask=hole), cine()[3]], body(), settings=QUICK)
    assert masked.trusted == (True, True, False, True)
    assert "constant inside the mask" in masked[2].reasons[0]
    assert_close(masked[2].pose.numbers, TRUTHS[2].numbers, atol=4, rtol=0)


def test_what_cannot_begin_or_be_of_the_sequence_is_named():
    with pytest.raises(xr.XrcoreError, match=r"^frame 0: f0.png: truncated$"):
        xr.track([xr.XrcoreError("f0.png: truncated"), *cine()], body())
    tracker = xr.Tracker(body())
    with pytest.raises(xr.XrcoreError, match="frame 1: track: xray must be an Xray"):
        list(tracker.follow([cine()[0], "f1.png"], known=found().frames[:1]))  # type: ignore[list-item]
    eye = torch.eye(4, dtype=torch.float64)
    views = [xr.View(xray=cine()[0], camera_from_rig=eye)] * 2
    with pytest.raises(xr.XrcoreError, match="frame 1: track: 2 views, and 1 before"):
        list(xr.Tracker(body()).follow([cine()[0], views], known=found().frames[:1]))
    for frames, known, said in (
        (cine()[:1], found().frames[:2], "all frames"),
        (cine(), [cine()[0]], "known must be a list of TrackedFrame"),
    ):
        with pytest.raises(xr.XrcoreError, match=said):
            list(xr.Tracker(body()).follow(frames, known=known))  # type: ignore[arg-type]
    with pytest.raises(xr.XrcoreError, match="track: initial must be a Pose"):
        xr.Tracker(body(), initial=(0, 0, 0, 0, 0, 0))  # type: ignore[arg-type]


def test_smoothing_keeps_verdicts_and_bridges_what_is_lost():
    track = found()
    wrong = replace(track[2], pose=xr.Pose(rx=40, tx=90), trusted=False, reasons=("lost",))
    smoothed = replace(track, frames=(*track.frames[:2], wrong, *track.frames[3:])).smoothed()
    assert smoothed.trusted == (True, True, False, True, True, True)
    assert error(smoothed, 2) < 4.0
    assert error(smoothed, 4) < 2.0


def still(places: list[float], trusted: list[bool]) -> xr.Track:
    """A body that is at these tx, seen well in each frame but for its depth."""
    covariance = torch.diag(torch.tensor([0.1, 0.1, 0.05, 0.2, 0.2, 1.0], dtype=torch.float64) ** 2)
    seen = {"covariance": covariance, "similarity": 0.9}
    frames = [xr.TrackedFrame(pose=xr.Pose(tx=x), confidence=float(t), trusted=t, **seen) for x, t in zip(places, trusted, strict=True)]
    return xr.Track(frames=tuple(frames), carm=CARM, isocenter=torch.zeros(3, dtype=torch.float64))


@pytest.mark.parametrize("lag", [None, 2])
def test_a_jump_is_not_smoothed_over(lag):
    places = [0.0] * 5 + [40.0] * 5
    smoothed = still(places, [True] * 10).smoothed(lag)
    assert_close(smoothed.poses.numbers[:, 3], torch.tensor(places, dtype=torch.float64), atol=1e-6, rtol=0)


def test_frames_that_are_lost_tell_nothing_of_those_before():
    places = [5.0 * number for number in range(8)]
    seen, more = still(places, [True] * 8).smoothed(), still([*places, 0.0, 0.0], [True] * 8 + [False] * 2).smoothed()
    assert_close(more.poses.numbers[:8], seen.poses.numbers, atol=1e-6, rtol=0)


def test_bad_input_is_told():
    with pytest.raises(xr.XrcoreError, match="lag"):
        still([0.0], [True]).smoothed(-1)
    with pytest.raises(xr.XrcoreError, match="there are no frames"):
        xr.track([], body())
    with pytest.raises(xr.XrcoreError, match="frames must be X-rays in order"):
        xr.track(cine()[0], body())  # type: ignore[arg-type]
    with pytest.raises(xr.XrcoreError, match="check_every"):
        xr.Tracker(body(), check_every=0)
    elsewhere = xr.Xray(image=cine()[0].image, carm=replace(CARM, source_to_isocenter=700.0))
    with pytest.raises(xr.XrcoreError, match="frames of one camera"):
        xr.track([cine()[0], elsewhere], body())
    with pytest.raises(xr.XrcoreError, match="Motion: rotation"):
        xr.Motion(rotation=0)


@pytest.mark.parametrize(
    "change", [{"pose": [[0.0] * 6] * 2}, {"covariance": [["nan"] * 6] * 6}, {"covariance": [[1.0]]}, {"confidence": "high"}]
)
def test_a_damaged_frame_is_refused(tmp_path, change):
    frame = TrackedFrame(pose=xr.Pose(ry=3), covariance=None, similarity=0.9, confidence=0.9, trusted=True)
    carm = xr.CArm(source_to_detector=1000, source_to_isocenter=700, shape=(8, 8), pixel_spacing=1)
    made = xr.Track(frames=(frame,), carm=carm, isocenter=torch.zeros(3), names=("x\udcff.png",))
    made.save(tmp_path)
    assert "x\\udcff.png" in (tmp_path / "track.csv").read_text()
    path = tmp_path / "track.jsonl"
    head, row = path.read_text().splitlines()
    for text, said in (
        (json.dumps(json.loads(row) | change), "line 2 is no frame"),
        ("[" * 100_000, "line 2 is damaged"),
        (None, "holds no frame yet"),
    ):
        path.write_text(head + "\n" + ("" if text is None else text + "\n"))
        with pytest.raises(xr.XrcoreError, match=said):
            xr.Track.load(tmp_path)
    path.write_text(f'{head[:-1]}, "inputs": {{"frames": []}}}}\n{row}\n')
    with pytest.raises(xr.XrcoreError, match="more frames than there are X-rays"):
        known_frames(tmp_path, {"frames": []})


def test_nothing_is_written_before_a_frame_is_found(tmp_path):
    frame = TrackedFrame(pose=xr.Pose(ry=3), covariance=None, similarity=0.9, confidence=0.9, trusted=True)
    inputs = {"frames": ["a", "b", "c"]}
    append = appender(tmp_path / "out", {"inputs": inputs}, [frame])
    assert not (tmp_path / "out").exists()
    for count in (2, 3):
        append(frame)
        assert len(known_frames(tmp_path / "out", inputs)) == count
    with pytest.raises(xr.XrcoreError, match="other inputs"):
        known_frames(tmp_path / "out", {"frames": []})
    (tmp_path / "track.jsonl").write_text('{"inputs": {}}\n')
    assert known_frames(tmp_path, inputs) == []
