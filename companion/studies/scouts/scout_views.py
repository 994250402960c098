"""Register real CT localizers (scouts) and compare with the scanner's own pose.

    python -m companion.studies.scouts.scout_views FOLDER [--out results/laptop/scouts]

FOLDER holds head_phantom_scout/ and lumbar_scout/. Scouts and CT share one frame of reference, so that the tags are the truth: to about
half a millimetre for the phantom, and to a millimetre for the patient, who breathes.

The patient's lateral scan alone is right within 2 mm and yet not trusted. By its covariance a landmark has a chance of about 0.7 to be
drawn within 2 mm, less than the 0.75 that trust takes, and at the tags' own pose the blocks speak no more clearly: the verdict is about
confidence, and this X-ray gives no more of it. With the AP scan it does.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from companion.studies.common.command import exit_code
from companion.studies.common.rows import depth_deviation, measure_into
from xrcore import SlotScan, View, Volume, XrcoreError, metrics, read_ct, read_xray, register
from xrcore.geometry import rigid

_LUMBAR_DISTANCE = 600.0  # source to isocentre [mm], which the tags lack


def run(folder: Path, spacing: float = 1.0) -> pd.DataFrame:
    """Register the phantom's scout, each of the patient's two, and both of these jointly.

    Parameters
    ----------
    folder : Path
        Of the data sets.
    spacing : float
        Of the CTs' voxels [mm].

    Returns
    -------
    DataFrame
        See `compared`, indexed by `scan`.
    """
    head, lumbar = folder / "head_phantom_scout", folder / "lumbar_scout"
    phantom, patient = read_ct(head / "ct_bone.nii.gz", spacing), read_ct(lumbar / "ct", spacing)
    views = [_view(head / "scout_lateral.dcm")]
    for name, scan in (("ap", "rows"), ("lateral", "columns")):
        carm = SlotScan.from_isocenter_spacing(1.0, (512, 512), source_to_isocenter=_LUMBAR_DISTANCE, scan=scan)
        views.append(_view(lumbar / f"scout_{name}.dcm", carm))
    cases = {"head phantom, lateral": (views[:1], phantom), "lumbar, AP": (views[1:2], patient)}
    cases |= {"lumbar, lateral": (views[2:], patient), "lumbar, both": (views[1:], patient)}
    return pd.DataFrame.from_dict({name: compared(*case) for name, case in cases.items()}, orient="index").rename_axis("scan")


def compared(views: Sequence[View], volume: Volume) -> dict[str, Any]:
    """Register scouts and measure how far the answer is from where their files place them.

    Parameters
    ----------
    views : sequence of View
        One, or several of one frame of reference.
    volume : Volume
        The CT.

    Returns
    -------
    dict
        Of the first view: `plane_mm`, where points on the body are drawn, at the isocentre's depth; `angle_deg`; `depth_mm`, how much
        further away the body is, and its standard deviation `depth_sd_mm`. `distance_mm` of points in space. The verdict, and `seconds`.
    """
    carm, truth = views[0].carm, views[0].xray.placement_in(volume)
    if truth is None:
        raise XrcoreError("compared: the files do not say where the scout was taken in the CT's space")
    result = register(views, volume)
    points, isocenter = volume.surface_points(), volume.isocenter
    found, there = (pose.camera_from_world(carm, isocenter)[0] for pose in (result.pose, truth))
    spacing = torch.tensor(carm.spacing_at(carm.source_to_isocenter), dtype=torch.float64)  # along the scan nothing is magnified
    drawn = carm.project(rigid.apply(found, points)) - carm.project(rigid.apply(there, points))
    return {
        "plane_mm": float((drawn * spacing).norm(dim=-1).mean()),
        "angle_deg": float(torch.rad2deg(rigid.angle_between(found, there))),
        "depth_mm": float((rigid.apply(found, points) - rigid.apply(there, points))[:, 2].mean()),
        "depth_sd_mm": depth_deviation(result.covariance, there),
        "distance_mm": float(metrics.mtre(result.pose, truth, points, carm, isocenter)),
        "confidence": result.confidence,
        "trusted": result.trusted,
        "reasons": "; ".join(result.reasons),
        "seconds": result.seconds,
    }


def _view(path: Path, carm: SlotScan | None = None) -> View:
    xray = read_xray(path, carm)
    if xray.world_from_camera is None:
        raise XrcoreError(f"{path}: no tags say where the scout was taken")
    return View(xray=xray, camera_from_rig=rigid.invert(xray.world_from_camera))


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
    parser.add_argument("folder", type=Path, help="of the data sets")
    parser.add_argument("--out", type=Path, default=Path("results/laptop/scouts"), help="OUT.csv; default results/laptop/scouts")
    args = parser.parse_args(words)

    def work() -> None:
        table = measure_into(args.out, lambda: run(args.folder).reset_index()).set_index("scan")
        print(table.drop(columns="reasons").round(2).to_string())

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
