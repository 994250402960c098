"""How fast and how well is a body tracked through a cine whose poses are known, and through one in which it is lost?

    python benchmarks/tracking.py [--patient N] [--frames 60] [--quick] [--out results/tracking | --no-files]

The phantom (or a patient's CT) moves as one that is handled and breathes; X-rays are simulated as acquired, from a finer grid. Frames a
second are those of the work alone, of the median frame and of all together, searches and verdicts included; `track` on two cores.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from common import patients, scenes
from common.report import MACHINE, RESULTS, out_path, publish, say
from common.rows import Figure, Row, as_table

import xrcore as xr
from xrcore import utilities

RATE = {1: 20.0, 2: 10.0}  # aims: frames a second of one view, and of two
RIGHT = 5.0  # [mm] of mTRE: beyond, a frame is lost
SIDE = xr.Pose(ry=85)


def rows_of(views: int) -> dict[str, Row]:
    name = {1: "one view", 2: "two views"}[views]
    return {
        "median": Row(what=f"{name}: frames a second, median frame", unit="/s", how="256 pixels", aim=RATE[views], least=True),
        "cpu": Row(what=f"{name}: processor time a frame", unit="ms", how="both cores together, mean of all but the first frame"),
        "all": Row(what=f"{name}: frames a second, all frames together", unit="/s", how="searches and verdicts included"),
        "mtre": Row(what=f"{name}: mTRE", unit="mm", how="median of the frames; range"),
        "plane": Row(what=f"{name}: error in the (first) image, at the isocentre", unit="mm", how="median of the frames; range"),
        "smoothed": Row(what=f"{name}: mTRE, smoothed", unit="mm", how="median of the frames; range"),
        "lost": Row(what=f"{name}: frames lost", unit="", how=f"mTRE above {RIGHT:g} mm", aim=0),
        "false": Row(what=f"{name}: of these trusted", unit="", aim=0),
        "refused": Row(what=f"{name}: right frames not trusted", unit=""),
    }


def cine(frames: int) -> list[xr.Pose]:
    """Poses of a body that is turned, shifted and breathes, at about 15 frames a second."""
    phase = torch.rand(6, generator=torch.Generator().manual_seed(0)).mul(2 * math.pi).tolist()
    size, period = (4, 10, 3, 15, 10, 12), (70, 90, 80, 60, 45, 75)
    return [xr.Pose([s * math.sin(2 * math.pi * i / t + f) for s, t, f in zip(size, period, phase, strict=True)]) for i in range(frames)]


def simulated(fine: xr.Volume, carm: xr.CArm, poses: Sequence[xr.Pose], views: int) -> Iterator[xr.Xray | list[xr.View]]:
    """The frames: X-rays, or views of two cameras 85 degrees apart."""
    first = xr.Pose().world_from_camera(carm, fine.isocenter)[0]
    second_from_first = SIDE.camera_from_world(carm, fine.isocenter)[0] @ first
    for number, pose in enumerate(poses):
        xray = xr.simulate(fine, carm, pose, seed=number)
        if views == 1:
            yield xray
            continue
        matrix = second_from_first @ pose.camera_from_world(carm, fine.isocenter)[0]
        other = xr.simulate(fine, carm, xr.Pose.from_camera_from_world(matrix, carm, fine.isocenter), seed=10_000 + number)
        eye = torch.eye(4, dtype=torch.float64)
        yield [xr.View(xray=xray, camera_from_rig=eye), xr.View(xray=other, camera_from_rig=second_from_first)]


def timed(frames: Sequence[xr.Xray | list[xr.View]], volume: xr.Volume, start: xr.Pose) -> tuple[xr.Track, float]:
    """The track, and the processor's time a frame [ms], but for the first."""
    clock: list[float] = []
    track = xr.track(frames, volume, start, watch=lambda _: clock.append(time.process_time()))
    return track, 1e3 * (clock[-1] - clock[0]) / (len(clock) - 1)


def figures(track: xr.Track, cpu: float, truths: Sequence[xr.Pose], volume: xr.Volume, carm: xr.CArm) -> dict[str, Figure]:
    """What is measured of one track."""
    landmarks = volume.surface_points(64)

    def errors(found: xr.Track, measure: Any = xr.metrics.mtre) -> list[float]:
        return [float(measure(f.pose, t, landmarks, carm, volume.isocenter)) for f, t in zip(found, truths, strict=True)]

    raw = errors(track)
    seconds = [frame.seconds for frame in track]
    lost = [error > RIGHT for error in raw]
    plane = [value / carm.magnification for value in errors(track, xr.metrics.mpd)]
    return {
        "median": Figure(value=1 / statistics.median(seconds[1:])),
        "cpu": Figure(value=cpu),
        "all": Figure(value=(len(track) - 1) / sum(seconds[1:]), note=f"first frame {seconds[0]:.2f} s"),
        "mtre": spread(raw),
        "plane": spread(plane),
        "smoothed": spread(errors(track.smoothed())),
        "lost": Figure(value=sum(lost), repeats=len(track)),
        "false": Figure(value=sum(one and frame.trusted for one, frame in zip(lost, track, strict=True))),
        "refused": Figure(value=sum(not one and not frame.trusted for one, frame in zip(lost, track, strict=True))),
    }


def spread(values: Sequence[float]) -> Figure:
    return Figure(value=statistics.median(values), low=min(values), high=max(values), repeats=len(values))


def measure(fine: xr.Volume, volume: xr.Volume, *, frames: int, side: int) -> list[dict[str, Any]]:
    """The table."""
    carm, table = scenes.carm(side), []
    for views in (1, 2):
        say(f"{views} view{'s' if views > 1 else ''}: simulating {frames} frames")
        truths = cine(frames)
        made = list(simulated(fine, carm, truths, views))
        xr.track(made[:2], volume)  # warm
        say("tracking")
        found = figures(*timed(made, volume, truths[0]), truths, volume, carm)
        rows = rows_of(views)
        table += as_table(tuple(rows.values()), {rows[key].what: figure for key, figure in found.items()}, {})
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patient", help="number of a patient; default the phantom")
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--quick", action="store_true", help="smaller sizes and fewer frames, to see that it runs")
    parser.add_argument("--out", type=out_path, default=RESULTS / "tracking", help="OUT.json and OUT.csv; default results/tracking")
    parser.add_argument("--no-files", action="store_true", help="print only")
    args = parser.parse_args()
    print(utilities.machine_text(MACHINE))
    side = 128 if args.quick else 256
    fine, volume = bodies(args.patient, quick=args.quick)
    table = measure(fine, volume, frames=6 if args.quick else args.frames, side=side)
    publish(
        None if args.no_files else args.out, table, note=f"{side} x {side} pixels, {'phantom' if args.patient is None else args.patient}"
    )


def bodies(patient: str | None, *, quick: bool) -> tuple[xr.Volume, xr.Volume]:
    """The grid that X-rays are made from, and the one that is tracked."""
    if patient is None:
        return xr.phantom.pelvis(spacing=4.0 if quick else 1.25), xr.phantom.pelvis(spacing=4.0 if quick else 2.0)
    (chosen,) = patients.choose_patients(patient)
    return chosen.volume(1.25), chosen.volume(2.0)


if __name__ == "__main__":
    main()
