"""What each mistake looks like: the DRR of a CT read wrongly, or the X-ray read wrongly, beside the right ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from numpy.typing import NDArray

import xrcore as xr
from drawings.common import CARM, DARK, GREEN, MUTED, ORANGE, grey, new_figure, patient, screen

_POSE = xr.Pose(rx=6, ry=14, rz=-4, ty=-15)
_RAS_FROM_LPS = torch.diag(torch.tensor([-1.0, -1.0, 1.0, 1.0], dtype=torch.float64))

# the CT as a program that made the mistake would hold it; the patient's data are unchanged
CTS: dict[str, tuple[str, Callable[[xr.Volume], xr.Volume]]] = {
    "z direction ignored": ("upside down, mirrored", lambda v: replace(v, density=v.density.flip(1))),
    "x direction ignored": ("mirrored", lambda v: replace(v, density=v.density.flip(3))),
    "RAS taken for LPS": (
        "seen from behind",
        lambda v: replace(v, world_from_voxel=_RAS_FROM_LPS @ v.world_from_voxel, isocenter=_RAS_FROM_LPS[:3, :3] @ v.isocenter),
    ),
    "x and z exchanged": (
        "lying, mirrored",
        lambda v: replace(v, density=v.density.permute(0, 3, 2, 1).contiguous(), isocenter=None),
    ),
}
IMAGES: dict[str, tuple[str, Callable[[NDArray], NDArray]]] = {
    "left-right exchanged": ("mirrored", lambda i: i[:, ::-1]),
    "up-down exchanged": ("upside down, mirrored", lambda i: i[::-1]),
    "transposed": ("lying, mirrored", lambda i: i.T),
    "inverted grey": ("bone dark", lambda i: -i),
}


def flips() -> Figure:
    """Above: DRRs of CTs read wrongly. Below: X-rays read wrongly. At the left what they should be."""
    figure = new_figure(4.1)
    right = screen(_POSE)
    rows: list[tuple[str, list[tuple[str, str, Float[NDArray, "H W"]]]]] = [
        ("the CT's DRR", [(name, look, screen(_POSE, volume=wrong(patient()))) for name, (look, wrong) in CTS.items()]),
        ("the X-ray", [(name, look, wrong(right)) for name, (look, wrong) in IMAGES.items()]),
    ]
    width, height = 0.196, 0.382
    for row, (what, wrong) in enumerate(rows):
        for col, (name, look, image) in enumerate([(f"{what}, right", "", right), *wrong]):
            axes = figure.add_axes((0.002 + col * 0.2, 0.545 - row * 0.485, width, height))
            shown = grey(image) if name != "inverted grey" else 1 - grey(-image)
            axes.imshow(shown, cmap="gray", vmin=0, vmax=1, interpolation="bilinear")
            axes.set_xticks([])
            axes.set_yticks([])
            for spine in axes.spines.values():
                spine.set(color=ORANGE if col else GREEN, linewidth=2.2)
            axes.set_title(name, fontsize=8.3, fontweight="bold", color=DARK, loc="left", pad=4)
            rows_, cols = CARM.shape
            axes.text(0.03 * cols, 0.97 * rows_, look, fontsize=7.5, color="white", va="bottom", bbox=_DARK if look else None)
    figure.text(0.998, 0.004, "the hip replacement is on the patient's right", fontsize=7.5, color=MUTED, ha="right")
    return figure


_DARK = {"facecolor": (0, 0, 0, 0.55), "edgecolor": "none", "pad": 2.0}
