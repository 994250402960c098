"""Register real CT localizers and compare with the scanner's own pose: `python benchmarks/scouts.py FOLDER`.

FOLDER holds head_phantom_scout/ and lumbar_scout/. Files and CT share one frame of reference, so that the tags are the truth: to about half
a millimetre for the phantom and a millimetre for the patient, who breathes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

import xrcore as xr
from xrcore.geometry import rigid

_LUMBAR_DISTANCE = 600.0  # source to isocentre [mm], which the tags lack


def one(name: str, xray: xr.Xray, volume: xr.Volume) -> None:
    """Print how far the answer is from the tags' pose."""
    truth, landmarks = xray.pose_in(volume), volume.surface_points()
    assert truth is not None
    result = xr.register(xray, volume)
    carm, isocenter = xray.carm, volume.isocenter
    apart = result.pose.camera_from_world(carm, isocenter) @ truth.world_from_camera(carm, isocenter)
    turned = float(torch.rad2deg(rigid.angle_between(apart, torch.eye(4, dtype=torch.float64))))
    plane = float(xr.metrics.mpd(result.pose, truth, landmarks, carm, isocenter)) / carm.magnification
    ended, there = (rigid.apply(pose.camera_from_world(carm, isocenter), landmarks)[0] for pose in (result.pose, truth))
    depth = float((ended - there)[:, 2].mean())
    axis = truth.world_from_camera(carm, isocenter)[0, :3, 2] @ torch.tensor([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]], dtype=torch.float64)
    spread = float((axis @ result.covariance[3:, 3:].double() @ axis).sqrt()) if result.covariance is not None else float("nan")
    print(f"{name:24s} in plane {plane:.2f} mm, turned {turned:.2f} deg, depth {depth:+.1f} +- {spread:.1f} mm, {result.seconds:.1f} s")
    print(f"{'':24s} {'trusted' if result.trusted else 'not trusted: ' + result.reasons[0]}")


def both(views: list[xr.View], volume: xr.Volume) -> None:
    """Print how far the joint answer is from the tags'."""
    landmarks, isocenter = volume.surface_points(), volume.isocenter
    truth = views[0].xray.pose_in(volume)
    assert truth is not None
    result = xr.register(views, volume)
    error = float(xr.metrics.mtre(result.pose, truth, landmarks, views[0].carm, isocenter))
    print(f"{'lumbar, both':24s} in all {error:.2f} mm, {result.seconds:.1f} s")
    print(f"{'':24s} {'trusted' if result.trusted else 'not trusted: ' + result.reasons[0]}")


def main(folder: Path) -> None:
    head, lumbar = folder / "head_phantom_scout", folder / "lumbar_scout"
    one("head phantom, lateral", xr.read_xray(head / "scout_lateral.dcm"), xr.read_ct(head / "ct_bone.nii.gz", spacing=1.0))
    volume, xrays = xr.read_ct(lumbar / "ct", spacing=1.0), []
    for view in ("ap", "lateral"):
        carm = xr.SlotScan.from_isocenter_spacing(
            1.0, (512, 512), source_to_isocenter=_LUMBAR_DISTANCE, scan="columns" if view == "lateral" else "rows"
        )
        xrays.append(xr.read_xray(lumbar / f"scout_{view}.dcm", carm))
        one(f"lumbar, {view}", xrays[-1], volume)
    both([xr.View(xray=x, camera_from_rig=rigid.invert(x.world_from_camera)) for x in xrays if x.world_from_camera is not None], volume)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="of the data sets")
    main(parser.parse_args().folder)
