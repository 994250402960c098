"""What the picture of a registration shows and where, whatever draws it."""

from __future__ import annotations

import textwrap
from typing import Any

from numpy.typing import NDArray

from xrcore._util.errors import XrcoreError
from xrcore.figures.blends import Image, difference, display_image, overlay
from xrcore.metrics import ncc
from xrcore.xray.image import Xray

WIDTH = 1400  # [pixels] of the whole picture
DPI = 100
MARGIN, GAP, ABOVE, BELOW = 8, 8, 34, 36  # [pixels]


def registration_panels(xray: Xray, initial_image: Image, final_image: Image) -> list[tuple[str, str, NDArray]]:
    """Title, remark and picture of each panel; raises XrcoreError where an image has another shape than the X-ray."""
    for name, image in (("initial_image", initial_image), ("final_image", final_image)):
        shape = tuple(image.shape[1:] if image.ndim == 3 and image.shape[0] == 1 else image.shape)
        if shape != xray.carm.shape:
            raise XrcoreError(f"registration_figure: {name} is {shape} but the X-ray is {xray.carm.shape}")
    initial_image, final_image = (image.reshape(xray.carm.shape) for image in (initial_image, final_image))
    fixed, mask = xray.image, xray.mask

    def likeness(image: Image) -> str:
        return f"NCC {float(ncc(fixed, image, mask)):.3f}"

    return [
        ("X-ray", f"{fixed.shape[0]} × {fixed.shape[1]}", display_image(fixed, mask)),
        ("Start", likeness(initial_image), overlay(fixed, initial_image, mask)),
        ("Found", likeness(final_image), overlay(fixed, final_image, mask)),
        ("Difference", "X-ray − DRR, standardised", difference(fixed, final_image, mask)),
    ]


def found_words(result: Any) -> tuple[str, bool, str]:
    """The verdict in words ("" where there is none), whether it is trusted, and pose, time and stop reason in one line."""
    trusted = getattr(result, "trusted", None)
    parts = []
    pose = getattr(result, "pose", None)
    if pose is not None:
        rx, ry, rz, tx, ty, tz = pose.numbers.detach().reshape(-1, 6)[0].tolist()
        parts.append(f"rx {rx:.2f}°  ry {ry:.2f}°  rz {rz:.2f}°    tx {tx:.2f}  ty {ty:.2f}  tz {tz:.2f} mm".replace("-", "−"))
    if (seconds := getattr(result, "seconds", None)) is not None:
        parts.append(f"{float(seconds):.2f} s")
    if reason := getattr(result, "stop_reason", None):
        parts.append(textwrap.shorten(str(reason), 42, placeholder=" …"))
    verdict = "" if trusted is None else "trusted" if trusted else "not trusted"
    return verdict, bool(trusted), "   ·   ".join(parts)
