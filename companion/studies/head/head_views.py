"""Real X-rays: a head phantom from eleven angles, each alone against all together, and every other view against the rest.

No true pose is published. But the phantom did not move, and the gantry's angles are known, so all views must say the same. The fit to
all of them is the reference for each alone: seen from 40 degrees around, what one view calls depth another sees as sideways. Odd and
even views share no image at all. The nominal distances and angles of the machine are taken as true, so errors in them count as well.

A view alone starts where the gantry's angle puts it, with the CT's centre at the machine's isocentre, from which the head lies 70 mm away.
A joint fit starts at the most confident answer of its own views.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from companion.datasets.head_phantom import HeadPhantom
from companion.studies.common.rows import depth_deviation
from xrcore import Beam, Pose, Registration, SearchBox, Volume, register, render
from xrcore.geometry import rigid
from xrcore.registration import View

# The energy nearest to a megavolt beam's that the tables of attenuation allow: bone stands out from soft tissue by its density alone
BEAM = Beam.monochromatic(150.0)
_NEAR = SearchBox(candidates=1)  # where all views are, once each alone was found
_SHRUNK = 2  # images for figures


def run(data: HeadPhantom, gantry: Sequence[int]) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """Register every view alone, all of them, the odd and the even ones.

    Parameters
    ----------
    data : HeadPhantom
        The phantom.
    gantry : sequence of int
        Angles of the views, at least two.

    Returns
    -------
    table : DataFrame
        Rows of `kind` "view", by `gantry`, against all views together: `across_mm`, where points on the body are drawn, across the ray at
        their depth; `angle_deg`; `depth_mm`, how much further away the body is, and its standard deviation `depth_sd_mm`; the verdict.
        One row of kind "joint", odd against even views: the mean of `across_mm` over all views, and depth along the middle view's ray.
    images : dict of str to array
        X-ray, DRR and mask of every view at its own answer.
    """
    volume = data.volume()
    points = volume.surface_points(64)
    views = {angle: data.view(angle) for angle in gantry}
    alone = {angle: register(view.xray, volume, initial=Pose(ry=-angle), beam=BEAM) for angle, view in views.items()}
    joint = {name: _together(views, alone, volume, list(gantry)[part]) for name, part in _PARTS.items()}
    room_from_ct = {name: found.rig_from_ct() for name, found in joint.items()}
    rows: list[dict[str, Any]] = []
    images: dict[str, np.ndarray] = {}
    for angle, view in views.items():
        found = alone[angle]
        reference = room_from_ct["all"]
        row: dict[str, Any] = {"kind": "view", "gantry": angle}
        row |= differences(view, view.rig_from_ct(found.pose, volume)[0], reference, points)
        row["depth_sd_mm"] = depth_deviation(found.covariance, view.camera_from_rig @ view.rig_from_ct(found.pose, volume)[0])
        row |= {"confidence": found.confidence, "trusted": found.trusted, "reasons": "; ".join(found.reasons)}
        row |= {"agreement": found.evidence.agreement, "drawn_sd_mm": found.evidence.deviation} if found.evidence else {}
        rows.append(row)
        images |= {f"{angle}_{what}": image for what, image in pictures(view, volume, found.pose).items()}
    odd, even = joint["odd"], joint["even"]
    split = [differences(view, room_from_ct["odd"], room_from_ct["even"], points) for view in views.values()]
    middle = len(split) // 2
    camera = list(views.values())[middle].camera_from_rig
    deviations = [depth_deviation(joint[name].covariance, camera @ room_from_ct[name]) for name in ("odd", "even")]
    rows.append(
        {"kind": "joint"}
        | {"across_mm": float(np.mean([s["across_mm"] for s in split])), "angle_deg": split[0]["angle_deg"]}
        | {"depth_mm": split[middle]["depth_mm"], "depth_sd_mm": math.hypot(*deviations)}
        | {"confidence": min(odd.confidence, even.confidence), "trusted": odd.trusted and even.trusted}
    )
    return pd.DataFrame(rows), images


_PARTS = {"all": slice(None), "odd": slice(1, None, 2), "even": slice(None, None, 2)}


def differences(view: View, found: Float[Tensor, "4 4"], reference: Float[Tensor, "4 4"], points: Float[Tensor, "N 3"]) -> dict[str, float]:
    """Measure how far two poses of the body are apart as a view sees it.

    Parameters
    ----------
    view : View
        The camera.
    found, reference : Float[Tensor, "4 4"]
        Two room_from_ct [mm].
    points : Float[Tensor, "N 3"]
        On the body [mm].

    Returns
    -------
    dict of str to float
        `across_mm`, `depth_mm` and `angle_deg` as in `run`.
    """
    moved, kept = (rigid.apply(view.camera_from_rig @ matrix, points) for matrix in (found, reference))
    drawn = (moved[:, :2] / moved[:, 2:] - kept[:, :2] / kept[:, 2:]) * kept[:, 2:]
    return {
        "across_mm": float(drawn.norm(dim=1).mean()),
        "depth_mm": float((moved - kept)[:, 2].mean()),
        "angle_deg": float(torch.rad2deg(rigid.angle_between(found, reference))),
    }


def _together(views: Mapping[int, View], alone: Mapping[int, Registration], volume: Volume, gantry: Sequence[int]) -> Registration:
    best = max(gantry, key=lambda angle: alone[angle].confidence)
    several = [views[angle] for angle in gantry]
    start = several[0].pose(views[best].rig_from_ct(alone[best].pose, volume)[0], volume)
    return register(several, volume, start, beam=BEAM, search=_NEAR)


def pictures(view: View, volume: Volume, pose: Pose) -> dict[str, np.ndarray]:
    """Shrink a view's images for figures.

    Parameters
    ----------
    view : View
        The X-ray.
    volume : Volume
        The body.
    pose : Pose
        Of this view.

    Returns
    -------
    dict of str to array
        `xray`, `drr` and `mask`.
    """
    with torch.no_grad():
        drr = render(volume, view.carm, pose, BEAM)
    stack = torch.stack([view.xray.image, drr[0].cpu(), view.xray.mask.float()])[:, None]
    small = torch.nn.functional.avg_pool2d(stack, _SHRUNK)[:, 0].numpy()
    return {"xray": small[0], "drr": small[1], "mask": small[2] == 1}
