"""Cones of several devices, to one scale."""

from __future__ import annotations

import math

from matplotlib.figure import Figure
from matplotlib.patches import Ellipse

import xrcore as xr
from drawings.common import BLUE, CARM, DARK, MUTED, ORANGE, new_figure, patient

# as the paper, DeepDRR 1.2.2 (device/mobile_carm.py) and the calibration of camera 1 of the wrist data (`xrcore data list`) have them
DEVICES: dict[str, xr.CArm] = {
    "the paper's mobile C-arm": CARM,
    "DeepDRR's default (Siemens Cios)": xr.CArm(
        source_to_detector=1020, source_to_isocenter=530, shape=(1536, 1536), pixel_spacing=0.194
    ),
    "biplane camera 1 of the wrist data": xr.CArm.from_intrinsics(
        [[6167.353, 0, 803.741], [0, 6165.632, 865.698], [0, 0, 1]], (1760, 1760), source_to_isocenter=901.39, pixel_spacing=0.235
    ),
}  # fmt: skip


def seen(carm: xr.CArm) -> tuple[float, float, float]:
    """Full angle of the cone along a row [deg], width seen at the isocentre [mm], and what a pixel covers there [mm]."""
    width = carm.shape[1] * carm.spacing[1]
    return (
        math.degrees(2 * math.atan(width / 2 / carm.source_to_detector)),
        width / carm.magnification,
        carm.spacing[1] / carm.magnification,
    )


def cones() -> Figure:
    """Each device from above, its isocentre in the middle of a patient as wide as the built-in one."""
    figure = new_figure(3.3)
    left, right, _ = patient().extent
    for i, (name, carm) in enumerate(DEVICES.items()):
        axes = figure.add_axes((0.0, 0.665 - i * 0.333, 1.0, 0.32))
        near, far = -carm.source_to_isocenter, carm.source_to_detector - carm.source_to_isocenter
        col = carm.center[1]
        edges = [(edge - col) * carm.spacing[1] for edge in (-0.5, carm.shape[1] - 0.5)]
        axes.add_patch(Ellipse((0, 0), right, left, facecolor="#e4e6e8", edgecolor="none"))
        axes.fill([near, far, far], [0, *edges], color=BLUE, alpha=0.13, linewidth=0)
        for edge in edges:
            axes.plot([near, far], [0, edge], color=BLUE, linewidth=0.9)
        axes.plot([far, far], edges, color=ORANGE, linewidth=3, solid_capstyle="butt")
        axes.plot(near, 0, "o", color=BLUE, markersize=5)
        axes.plot(0, 0, "+", color=DARK, markersize=7)
        angle, width, pixel = seen(carm)
        at_isocentre = [edge / carm.magnification for edge in edges]
        axes.plot([0, 0], at_isocentre, color=DARK, linewidth=1.2)
        axes.text(620, 60, name, fontsize=9.5, fontweight="bold", color=DARK, va="bottom")
        words = f"{carm.source_to_isocenter:.1f} of {carm.source_to_detector:.1f} mm, cone {angle:.1f}°\n"
        words += f"sees {width:.0f} mm at the isocentre, {pixel:.2f} mm a pixel\nmagnifies {carm.magnification:.2f} times"
        axes.text(620, 40, words, fontsize=8.5, color=MUTED, va="top", linespacing=1.4)
        axes.set_xlim(-920, 1540)
        axes.set_ylim(-235, 235)
        axes.set_aspect("equal")
        axes.set_axis_off()
    return figure
