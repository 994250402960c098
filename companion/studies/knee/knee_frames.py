"""Track the components of a knee replacement through 24 frame pairs, by both cameras and by each alone.

    python -m companion.studies.knee.knee_frames FOLDER [--out results/laptop/knee] [--frames 24] [--bodies femur,tibia]

The publishers' poses of the femoral component are the reference; how exact they are is not said. The tibial component has none: each
camera alone must agree with both across its own depth, which it sees well, and poses must move as smoothly as a knee does. What an
operator gives is the first frame's pose to 5 degrees and 5 mm; the femoral one's published pose is rounded to that, the tibial one's is
that pose moved by `TIBIA`. Every frame's verdict is made (check_every=1), and counts in its seconds.

The tibial component is trusted in no frame, though each camera agrees with both and its track is smooth. Looked into in the first frame,
the check that rejects it is where blocks of the X-ray are found: within metal the X-ray is saturated, so that the DRR's inner edges, most
of a thin tray's and stem's, have no counterpart. With the DRR saturated alike, half as many blocks again are found, of either component,
but a pixel and a half beside their place in the median: still too far for the verdict, which is not made laxer here.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from companion.datasets.implant_knee import COMPONENTS, FRAMES, ImplantKnee
from companion.studies.common.command import exit_code
from companion.studies.common.rows import measure_into
from xrcore import Pose, SearchBox, Track, View, Volume, track
from xrcore.geometry import rigid
from xrcore.utilities import require

METHODS = {"both": (0, 1), "camera 1": (0,), "camera 2": (1,)}
# the tibial component beside the femoral one in camera 1: shift [mm] along its axes, turn about its view [deg]
TIBIA = ((10.0, 35.0, 0.0), -15.0)
SEARCH = SearchBox(rotation=(8.0, 8.0, 8.0), translation=(8.0, 8.0, 12.0), candidates=64)
_GRID = 5.0  # [deg], [mm] that starts are rounded to


def run(data: ImplantKnee, *, frames: int = FRAMES, bodies: Sequence[str] = ("femur", "tibia")) -> pd.DataFrame:
    """Track each component by each choice of cameras.

    Parameters
    ----------
    data : ImplantKnee
        The images.
    frames : int
        How many of the 24.
    bodies : sequence of str
        "femur", "tibia".

    Returns
    -------
    DataFrame
        One row per component, method and frame: `distance_mm`, mean distance of points on the component, and `angle_deg` from the reference
        (the publishers' pose for the femoral component; for the tibial one what both cameras say, and nothing for both);
        `across_mm` and `depth_mm`, the mean displacement across and along the (first) camera's ray; `jitter_mm`, mean distance from the
        smoothed track; the verdict, `seconds`.

    Raises
    ------
    XrcoreError
        If there are no such frames or components, or a file is missing or damaged.
    """
    require("knee", "frames", frames, isinstance(frames, int) and 1 <= frames <= FRAMES, f"a whole number, 1 to {FRAMES}")
    for name in bodies:
        require("knee", "bodies", name, name in COMPONENTS, f"of {', '.join(COMPONENTS)}")
    rows: list[dict[str, Any]] = []
    published = data.published()
    with tempfile.TemporaryDirectory() as folder:
        rig = Path(folder) / "rig.yaml"
        data.write_rig(rig)
        first = data.views(0, rig)
        for name in bodies:
            volume = data.body(name)
            points = volume.surface_points(64)
            placed = published[0] if name == "femur" else beside(published[0], volume)
            known: list[Float[Tensor, "4 4"]] | None = published if name == "femur" else None
            for method, cameras in METHODS.items():
                start = rounded(first[cameras[0]], first[0], placed, volume)
                found = track(sequence(data, rig, cameras, frames), volume, start, search=SEARCH, check_every=1)
                into = first[cameras[0]].camera_from_rig @ rigid.invert(first[0].camera_from_rig)  # from the first camera
                rows += [{"body": name, "method": method} | row for row in errors(found, known, into, points)]
                if known is None:  # both cameras' answer, for each alone
                    known = [frame.pose.camera_from_world(found.carm, volume.isocenter)[0] for frame in found]
    return pd.DataFrame(rows)


def sequence(data: ImplantKnee, rig: Path, cameras: Sequence[int], frames: int) -> Iterator[list[View]]:
    """The views of each instant from the chosen cameras."""
    for frame in range(frames):
        views = data.views(frame, rig)
        yield [views[camera] for camera in cameras]


def beside(femur: Float[Tensor, "4 4"], tibia: Volume) -> Float[Tensor, "4 4"]:
    """Where the operator puts the tibial component."""
    shift, turn = TIBIA
    twist = torch.tensor([0, 0, 0, 0, 0, turn * torch.pi / 180], dtype=torch.float64)
    center = rigid.apply(femur, tibia.isocenter[None])[0]
    moved = rigid.exp(twist) @ femur
    moved[:3, 3] += center - rigid.apply(moved, tibia.isocenter[None])[0] + torch.tensor(shift, dtype=torch.float64)
    return moved


def rounded(view: View, first: View, placed: Float[Tensor, "4 4"], volume: Volume) -> Pose:
    """A pose in the first camera as a view sees it, to 5 degrees and 5 mm."""
    matrix = view.camera_from_rig @ rigid.invert(first.camera_from_rig) @ placed
    return Pose((Pose.from_camera_from_world(matrix, view.carm, volume.isocenter).numbers / _GRID).round() * _GRID)


def errors(
    found: Track, known: Sequence[Float[Tensor, "4 4"]] | None, into: Float[Tensor, "4 4"], points: Float[Tensor, "N 3"]
) -> Iterator[dict[str, Any]]:
    """A row for each frame; known: poses in the first camera, `into` the camera that was tracked with."""
    smooth = found.smoothed()
    for number, frame in enumerate(found):
        here = frame.pose.camera_from_world(found.carm, found.isocenter)[0]
        row: dict[str, Any] = {"frame": number}
        if known is not None:
            there = into @ known[number]
            moved, kept = rigid.apply(here, points), rigid.apply(there, points)
            mean, ray = (moved - kept).mean(0), kept.mean(0) / kept.mean(0).norm()
            row["distance_mm"] = float((moved - kept).norm(dim=1).mean())
            row["angle_deg"] = float(torch.rad2deg(rigid.angle_between(here, there)))
            row["across_mm"], row["depth_mm"] = float((mean - (mean @ ray) * ray).norm()), float(mean @ ray)
        calm = rigid.apply(smooth[number].pose.camera_from_world(found.carm, found.isocenter)[0], points)
        row["jitter_mm"] = float((rigid.apply(here, points) - calm).norm(dim=1).mean())
        row |= {"trusted": frame.trusted, "confidence": frame.confidence, "searched": frame.searched, "seconds": frame.seconds}
        yield row | {"reasons": "; ".join(frame.reasons)}


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Medians over the frames, and how many are trusted.

    Parameters
    ----------
    table : DataFrame
        Of `run`.

    Returns
    -------
    DataFrame
        One row per component and method.
    """
    columns = [c for c in ("distance_mm", "angle_deg", "across_mm", "depth_mm", "jitter_mm", "seconds") if c in table]
    groups = table.groupby(["body", "method"], sort=False)
    return groups[columns].median().join(groups["trusted"].agg(["sum", "count"]).rename(columns={"sum": "trusted", "count": "frames"}))


def main(words: Sequence[str] | None = None) -> int:
    """Run the study from the command line.

    Parameters
    ----------
    words : sequence of str, optional
        Default those that it was given.

    Returns
    -------
    int
        0, or 2 for bad input, which is told in one line.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of the images, knee_biplane_implant")
    parser.add_argument("--out", type=Path, default=Path("results/laptop/knee"), help="OUT.csv; default results/laptop/knee")
    parser.add_argument("--frames", type=int, default=FRAMES)
    parser.add_argument("--bodies", default="femur,tibia")
    args = parser.parse_args(words)

    def work() -> None:
        table = measure_into(args.out, lambda: run(ImplantKnee(args.folder), frames=args.frames, bodies=args.bodies.split(",")))
        print(summary(table).round(2).to_string())

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
