"""The command `xrcore track`."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xrcore._util.errors import XrcoreError, naming
from xrcore._util.pose_text import pose_file
from xrcore.cli.options import (
    Background,
    Body,
    Crop,
    Ct,
    Detector,
    Device,
    Keep,
    Kilovolts,
    Labels,
    Material,
    Series,
    Spacing,
    XrayCarm,
    check_paths,
    checked_search,
    ct_options,
    import_packages,
    input_fingerprints,
    load_ct,
    rig_files,
    tell,
)
from xrcore.cli.register import Search, Start

if TYPE_CHECKING:
    from xrcore.geometry import Pose
    from xrcore.learning.models import PoseRegressor
    from xrcore.registration.tracking import Track

_VIDEO = "overlay.gif"


def track(
    ct: Ct,
    frames: Annotated[
        list[str],
        typer.Argument(
            metavar="FRAMES...",
            help="Multi-frame DICOM or TIFF, a folder of images, a pattern in quotes, or images; with --rig one such for each camera.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the results.", show_default=False)],
    carm: XrayCarm = None,
    rig: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Several cameras: a rig.yaml, a MayaCam 2.0 calibration for each (give it as often), or angles.",
            show_default=False,
        ),
    ] = None,
    initial: Start = None,
    search: Search = None,
    smooth: Annotated[bool, typer.Option("--smooth", help="Also write smoothed.csv: poses by the motion before and after.")] = False,
    check_every: Annotated[int, typer.Option(min=1, help="After how many frames the whole verdict is made in any case; 1: of all.")] = 10,
    motion: Annotated[
        str | None,
        typer.Option(metavar="DEG,MM", help="How much the velocity changes from frame to frame (std. dev.).", show_default="1,2"),
    ] = None,
    video: Annotated[str, typer.Option(metavar="FILE", help="Its name in DIR: .gif, .webp, .mp4 (needs ffmpeg), or none.")] = _VIDEO,
    spacing: Spacing = 2.0,
    background: Background = None,
    labels: Labels = None,
    keep: Keep = None,
    series: Series = None,
    body: Body = False,
    crop: Crop = None,
    material: Material = None,
    detector: Detector = None,
    kilovolts: Kilovolts = 90,
    device: Device = "auto",
) -> None:
    """Follow a body through a sequence of X-rays.

    Writes track.csv (a row a frame: pose, standard deviations, verdict), track.jsonl (the same with covariances, a line as each frame is
    found) and a video of the DRR's edges over the frames into DIR. A run that was ended goes on where it stopped if it is started again.
    Exit code 0: all frames trusted, 3: some not, 2: bad input.

    \b
    Examples:
      xrcore track ct.nii.gz cine.dcm --out result
      xrcore track ct.nii.gz frames/ --carm carm.yaml --initial lateral --smooth --out result
      xrcore track implant.stl cam1/ "cam2/*.tif" --material cobalt-chrome --spacing 0.5 --rig rig.yaml --out result
    """
    began = time.perf_counter()
    given = rig_files(rig, carm)
    check_paths(out, ct, carm, labels, *given, None if initial is None else pose_file(initial))
    from xrcore.figures.video import check_video

    if video != "none":
        check_video("track", out / video)
    where = checked_search(search, initial)
    import_packages()
    from tqdm import tqdm

    from xrcore._util.atomic import check_writable
    from xrcore._util.devices import named_device
    from xrcore._util.hashes import fingerprint
    from xrcore.beam import Beam
    from xrcore.registration.registration_files import read_pose
    from xrcore.registration.tracking import Motion, Tracker, read_frames
    from xrcore.registration.tracking import files as track_files

    check_writable(out, *track_files.FILES, track_files.SMOOTHED)
    named_device(device)
    steady = Motion() if motion is None else Motion(**dict(zip(("rotation", "translation"), _two(motion), strict=True)))
    sequence = read_frames(frames, carm, rig=None if not rig else given or "angles", detector=detector)
    inputs = {
        **input_fingerprints(ct, labels, carm, given, initial),
        "xrays": fingerprint(sequence.files[0], sequence.files),
        "frames": [[f"{path.name}#{frame}" for path, frame in instant] for instant in sequence.places],
        "options": {
            "initial": initial,
            "search": search,
            "motion": vars(steady),
            "check_every": check_every,
            **ct_options(spacing, background, keep, series, body, crop, material),
            "detector": detector,
            "kilovolts": kilovolts,
        },
    }
    known = track_files.known_frames(out, inputs)
    if known:
        print(f"going on after {len(known)} of {len(sequence)} frames that {out / track_files.FILES[0]} holds", flush=True)
    volume, beam = load_ct(ct, spacing, background, labels, keep, series, body, crop, material), Beam(kilovolts=kilovolts)
    with naming(f"frame 0 ({sequence.names[0]})"):
        first = sequence[0]
    tell((*sequence.notes, *(note for view in first for note in view.xray.notes)))
    start: Pose | PoseRegressor | None = None
    if initial is not None and os.path.isdir(initial):
        from xrcore.learning import models

        start = models.PoseRegressor.load(initial)
    elif initial is not None:
        start = read_pose(initial, first[0].carm, volume.isocenter)
    tracker = Tracker(volume, start, motion=steady, search=where, check_every=check_every, beam=beam, device=device)
    empty = tracker.track(known, sequence.names, first[0].carm)
    found = list(known)
    starting = time.perf_counter() - began
    stale = () if known else (track_files.FILES[1], track_files.SMOOTHED, _VIDEO, video)  # of other inputs, if they are there
    append = track_files.appender(out, track_files.header(empty, inputs=inputs), known, stale)
    with tqdm(total=len(sequence), initial=len(known), unit="frame", disable=None, file=sys.stderr, leave=False) as bar:
        for frame in tracker.follow(sequence, known):
            append(frame)
            found.append(frame)
            bar.update()
    result = tracker.track(found, sequence.names, first[0].carm)
    track_files.write_csv(out / track_files.FILES[1], result)
    written = [*track_files.FILES[:2]]
    if smooth:
        track_files.write_csv(out / track_files.SMOOTHED, result.smoothed())
        written.append(track_files.SMOOTHED)
    if video != "none":
        from xrcore.figures import save_video, track_overlays

        save_video(track_overlays(result, sequence, volume, beam), out / video)
        written.append(video)
    _print(result, [out / name for name in written], starting)
    if not all(result.trusted):
        raise typer.Exit(3)


def _two(text: str) -> list[float]:
    try:
        first, second = (float(value) for value in text.split(","))
    except ValueError:
        raise XrcoreError(f"--motion: expected two numbers such as 1,2 (deg and mm a frame), got {text!r}") from None
    return [first, second]


def _print(result: Track, files: list[Path], starting: float) -> None:
    """Verdicts, speed and files."""
    from xrcore.cli.text import line

    lost = [str(number) for number, frame in enumerate(result) if not frame.trusted]
    verdict = "all trusted" if not lost else f"{len(lost)} not trusted: {', '.join(lost[:12])}{', ...' if len(lost) > 12 else ''}"
    checked = sum(frame.checked for frame in result)
    rate = f"{1000 * result.seconds / len(result):.0f} ms a frame, without reading it, after {starting:.2f} s of start-up"
    why = [line("", text) for text in result.doubts]
    print("\n".join([line("frames", f"{len(result)}, {checked} of them checked"), line("verdict", verdict), *why, line("time", rate)]))
    print(line("written", ", ".join(map(str, files))), flush=True)
