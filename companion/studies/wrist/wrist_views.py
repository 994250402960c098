"""Real X-rays: radius and ulna of a wrist in two calibrated views, two instants.

No true pose is published. But both cameras see the same rigid bone at the same instant, so the pose found from camera 1 alone and the one
found from camera 2 alone must agree through the calibration. How far they disagree is an error that needs no label: the two searches share
the start and nothing else.

What an operator gives is in `STARTS`: for each bone and frame a pose rounded to 5 degrees and 5 mm, found from both images by hand and by
search. Each seed displaces it at random by up to `SPREAD`, alike for camera 1, camera 2 and both together, and each search descends
from there. So starts are off by the rounding and the displacement in every direction, depth included; agreement that is closer than this
was earned from the images. One camera hardly knows the depth: what wanders further than `REACH` from the operator's place is no answer.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import roma
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from companion.datasets.biplane import WristBiplane
from companion.studies.common.rows import depth_deviation, write_rows
from xrcore import Beam, GaussNewton, Pose, Registration, SearchBox, Volume, Xray, metrics, register, render
from xrcore.figures import edges
from xrcore.geometry import rigid
from xrcore.registration import Problem, View, shrink, visible_region
from xrcore.utilities import atomic_file, check_writable

# rig_from_ct as an operator gives it: rotation vector [deg], and where in the rig the crop's centre lies [mm]
STARTS: dict[tuple[str, int], tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    ("radius", 2): ((15.0, -130.0, 105.0), (110.0, 160.0, 75.0)),
    ("radius", 99): ((5.0, -125.0, 120.0), (110.0, 155.0, 90.0)),
    ("ulna", 2): ((50.0, 85.0, -80.0), (115.0, 160.0, 95.0)),
    ("ulna", 99): ((50.0, 80.0, -85.0), (115.0, 160.0, 115.0)),
}
# largest random displacement, about and along each axis of the rig [deg], [mm]: in an image the ulna is 8 to 13 mm from the radius
SPREAD = (8.0, 4.0)
REACH = 25.0  # [mm] of the crop's centre
SEEDS = tuple(range(8))
METHODS = {"camera 1": (1,), "camera 2": (2,), "biplane": (1, 2)}
_METHOD = GaussNewton(tolerance=0.02)  # a bone is small
_ALONE = SearchBox(candidates=1)  # nothing but the start
_SHRUNK = 2  # images are compared at half their pixels
_AROUND, _SHOWN = 3.0, 12.0  # [mm] around the bone's shadow: the region that counts, and what figures show


def run(
    out_csv: str | os.PathLike[str],
    out_npz: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    seeds: Sequence[int] = SEEDS,
    cases: Sequence[tuple[str, int]] | None = None,
) -> pd.DataFrame:
    """Register every bone in every frame from camera 1, camera 2 and both; write the table, and the pictures' arrays.

    Each method's answer to a case is, of its seeds' ends within REACH, the one most similar to its own images, over the same pixels of
    each. Rows, in order:

    kind "answer": one row per bone, frame and method with `similarity` (gradient ZNCC in its own views), NCC, SSIM and CSS in camera 1 and
        in camera 2 over the bone's region, its verdict (`confidence`, `trusted`, `reasons`), the standard deviation along the (first)
        camera's axis (`depth_sd_mm`), how many `seeds` ended within 1 mm and 1 degree of it (`repeats`), and the median distance and
        angle of all seeds' ends from it (`spread_mm`, `spread_deg`).
    kind "disagreement": one row per bone, frame and pair of methods. `distance_mm`: mean distance of landmarks on the bone. `angle_deg`:
        the angle between, `shaft_deg` of it about the bone's long axis and `tilt_deg` the rest. The mean displacement of the landmarks is
        the sum of three parts, along camera 1's depth, along camera 2's, and along the direction square to both: `depth_1_mm`,
        `depth_2_mm`, `out_of_depth_mm`. `across_1_mm`, `across_2_mm`: what is square to one camera's depth, which that camera sees
        well; of interest where that camera alone is compared with both.

    Parameters
    ----------
    out_csv, out_npz : str or path
        Written whole or not at all.
    folder : str or path
        Of the data, see `WristBiplane`.
    seeds : sequence of int
        A search each.
    cases : sequence of (str, int), optional
        Bones and frames; default all of STARTS.

    Returns
    -------
    DataFrame
        The table.
    """
    for path in (Path(out_csv), Path(out_npz)):
        check_writable(path.parent, path.name)
    data = WristBiplane(Path(folder))
    rows: list[dict[str, Any]] = []
    images: dict[str, np.ndarray] = {}
    for bone, frame in list(STARTS) if cases is None else cases:
        volume = data.bone(bone)
        views = {c: View(xray=data.xray(c, frame), camera_from_rig=data.camera(c).camera_from_rig) for c in (1, 2)}
        answers = {}
        for method, cameras in METHODS.items():
            found = [_register([views[c] for c in cameras], volume, (bone, frame), seed) for seed in seeds]
            place = start((bone, frame), volume)
            ends = [r.rig_from_ct() for r in found]
            near = [r for r, end in zip(found, ends, strict=True) if float((_center(end, volume) - _center(place, volume)).norm()) <= REACH]
            best = _most_alike(near or found, volume)
            answers[method] = best.rig_from_ct()
            away = [_apart(end, answers[method], volume) for end in ends]
            row: dict[str, Any] = {
                "kind": "answer",
                "bone": bone,
                "frame": frame,
                "method": method,
                "similarity": best.similarity,
                "seeds": len(found),
            }
            row |= {"confidence": best.confidence, "trusted": best.trusted, "reasons": "; ".join(best.reasons)}
            row["depth_sd_mm"] = _depth_deviation(best)
            row["repeats"] = sum(d < 1 and a < 1 for d, a in away)
            row["spread_mm"], row["spread_deg"] = (float(np.median(x)) for x in zip(*away, strict=True))
            for c, view in views.items():
                fixed, moving, region = comparison_region(view, volume, answers[method])
                row |= {f"{name}_{c}": value for name, value in _likeness(fixed, moving, region).items()}
                key = f"{bone}_{frame}_{method.replace(' ', '')}_view{c}"
                images |= {f"{key}_xray": fixed.numpy(), f"{key}_drr": moving.numpy(), f"{key}_region": region.numpy()}
                images |= {f"{key}_xray_edges": edges(fixed).astype(np.float32), f"{key}_drr_edges": edges(moving).astype(np.float32)}
            images[f"{bone}_{frame}_{method.replace(' ', '')}_rig_from_ct"] = answers[method].numpy()
            rows.append(row)
        pairs = (("camera 1", "camera 2"), ("camera 1", "biplane"), ("camera 2", "biplane"))
        for a, b in pairs:
            split = disagreement(answers[a], answers[b], volume, views[1], views[2])
            rows.append({"kind": "disagreement", "bone": bone, "frame": frame, "method": f"{a} - {b}", **split})
    table = pd.DataFrame(rows)
    write_rows(Path(out_csv), table)
    with atomic_file(out_npz) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **images)
    return table


def start(case: tuple[str, int], volume: Volume, seed: int | None = None) -> Float[Tensor, "4 4"]:
    """Return the pose of a bone that the operator gave.

    Parameters
    ----------
    case : (str, int)
        Bone and frame.
    volume : Volume
        The bone.
    seed : int, optional
        Of a random displacement within SPREAD; default none.

    Returns
    -------
    Float[Tensor, "4 4"]
        rig_from_ct [mm].
    """
    rotation, position = (torch.tensor(v, dtype=torch.float64) for v in STARTS[case])
    turned = roma.rotvec_to_rotmat(torch.deg2rad(rotation))
    if seed is not None:
        draws = 2 * torch.from_numpy(np.random.default_rng([seed, *map(ord, case[0]), case[1]]).random(6)) - 1
        turned = roma.rotvec_to_rotmat(torch.deg2rad(draws[:3] * SPREAD[0])) @ turned
        position = position + draws[3:] * SPREAD[1]
    return rigid.rigid(turned, position - turned @ volume.isocenter)


def disagreement(a: Float[Tensor, "4 4"], b: Float[Tensor, "4 4"], volume: Volume, first: View, second: View) -> dict[str, float]:
    """Measure how far two poses of a bone are apart.

    Parameters
    ----------
    a, b : Float[Tensor, "4 4"]
        Two rig_from_ct [mm].
    volume : Volume
        The bone.
    first, second : View
        Cameras 1 and 2, along whose depths the distance is split.

    Returns
    -------
    dict of str to float
        [mm] and [deg]; columns as in `run`.
    """
    points = volume.surface_points(64)
    moved = rigid.apply(a, points) - rigid.apply(b, points)
    mean = moved.mean(0)
    turn = a[:3, :3] @ b[:3, :3].T
    rotation = torch.rad2deg(roma.rotmat_to_rotvec(turn))
    shaft = b[:3, 2]  # z of the crop runs along the forearm
    out = {"distance_mm": float(moved.norm(dim=1).mean()), "angle_deg": float(rotation.norm())}
    out["shaft_deg"] = abs(float(rotation @ shaft))
    out["tilt_deg"] = float((rotation - (rotation @ shaft) * shaft).norm())
    axes = []
    for number, view in ((1, first), (2, second)):
        center = rigid.apply(view.camera_from_rig @ b, points.mean(0)[None])[0]
        axis = view.camera_from_rig[:3, :3].T @ (center / center.norm())
        axes.append(axis)
        out[f"across_{number}_mm"] = float((mean - (mean @ axis) * axis).norm())
    square = torch.linalg.cross(*axes)
    parts = torch.linalg.solve(torch.stack([*axes, square / square.norm()], 1), mean).abs().tolist()
    return out | dict(zip(("depth_1_mm", "depth_2_mm", "out_of_depth_mm"), parts, strict=True))


def comparison_region(
    view: View, volume: Volume, rig_from_ct: Float[Tensor, "4 4"]
) -> tuple[Float[Tensor, "H W"], Float[Tensor, "H W"], Bool[Tensor, "H W"]]:
    """Cut out what is compared of an X-ray, and render the bone there.

    Parameters
    ----------
    view : View
        A camera and its X-ray.
    volume : Volume
        The bone.
    rig_from_ct : Float[Tensor, "4 4"]
        Its pose [mm].

    Returns
    -------
    xray, drr : Float[Tensor, "H W"]
        Around the bone, at half its pixels.
    region : Bool[Tensor, "H W"]
        What counts: the bone's shadow, a margin, and the field of view.
    """
    pose = view.pose(rig_from_ct, volume)
    xray, region = _around(view, volume, pose)
    return xray.image, render(volume, xray.carm, pose)[0], region


def _around(view: View, volume: Volume, poses: Pose) -> tuple[Xray, Bool[Tensor, "H W"]]:
    """The X-ray around the bone at any of the poses, at half its pixels, and what counts of it."""
    xray = view.xray
    shown = visible_region(volume, view.carm, poses, Beam(), _SHOWN)
    if shown.any():
        (top, left), (bottom, right) = shown.nonzero().amin(0).tolist(), shown.nonzero().amax(0).tolist()
        rows, cols = slice(top, bottom + 1), slice(left, right + 1)
        carm = view.carm.cropped(top, left, (bottom + 1 - top, right + 1 - left))
        xray = replace(xray, image=xray.image[rows, cols], mask=xray.mask[rows, cols], carm=carm)
    small = shrink(xray, max(xray.carm.shape) // _SHRUNK)
    return small, visible_region(volume, small.carm, poses, Beam(), _AROUND) & small.mask


def _most_alike(found: Sequence[Registration], volume: Volume) -> Registration:
    """The one most similar to its X-rays over the pixels that any of them needs; each over its own, a smaller shadow would win."""
    places, values = torch.stack([one.rig_from_ct() for one in found]), torch.zeros(len(found), dtype=torch.float64)
    for view in found[0].views:
        poses = view.pose(places, volume)
        xray, region = _around(view, volume, poses)
        values += Problem(replace(xray, mask=region), volume, Beam(), "gradient-zncc").value(poses).double()
    return found[int(values.argmax())]


def _register(views: Sequence[View], volume: Volume, case: tuple[str, int], seed: int) -> Registration:
    begin = views[0].pose(start(case, volume, seed), volume)
    return register(views, volume, begin, _METHOD, search=_ALONE, retries=0)


def _center(rig_from_ct: Float[Tensor, "4 4"], volume: Volume) -> Float[Tensor, "3"]:
    return rigid.apply(rig_from_ct, volume.isocenter[None])[0]


def _depth_deviation(found: Registration) -> float:
    """Of the body along the first camera's axis [mm]."""
    return depth_deviation(found.covariance, found.pose.camera_from_world(found.views[0].carm, found.isocenter)[0])


def _apart(a: Tensor, b: Tensor, volume: Volume) -> tuple[float, float]:
    points = volume.surface_points(64)
    return float((rigid.apply(a, points) - rigid.apply(b, points)).norm(dim=1).mean()), float(torch.rad2deg(rigid.angle_between(a, b)))


def _likeness(fixed: Float[Tensor, "H W"], moving: Float[Tensor, "H W"], region: Bool[Tensor, "H W"]) -> dict[str, float]:
    """NCC, SSIM and CSS over the region; NaN for a pose that puts the bone out of this view's field."""
    if not (region.sum() > 1 and fixed[region].std() > 0 and moving[region].std() > 0):
        return dict.fromkeys(("ncc", "ssim", "css"), float("nan"))
    return {name: float(value) for name, value in metrics.likeness(fixed, moving, region).items()}
