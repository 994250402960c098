"""Resample an X-ray to a model's detector, after a check that the geometry is the one trained for."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from xrcore._util.errors import XrcoreError
from xrcore.geometry import CArm, require_pinhole
from xrcore.xray.image import Xray

_TOLERANCE = 1e-3  # of a length
_SHIFT = 0.5  # [mm] on the detector


def resample_xray(xray: Xray, carm: CArm) -> tuple[Float[Tensor, "1 H W"], Bool[Tensor, "1 H W"]]:
    """Average an X-ray onto the pixels of `carm`, which covers the same detector; masked pixels do not count.

    Parameters
    ----------
    xray : Xray
        Of any number of pixels.
    carm : CArm
        With the model's pixels.

    Returns
    -------
    tuple
        Image (1, H, W), and mask (1, H, W): True where at least half of a pixel was seen.

    Raises
    ------
    XrcoreError
        If the geometry is another; the message names what differs.
    """
    check_geometry(xray.carm, carm)
    weight = xray.mask.float()[None, None]
    image = torch.where(xray.mask, xray.image, 0.0)[None, None]
    share, total = (_resized(x, carm.shape) for x in (weight, image))
    return total / share.clamp_min(1e-6), share >= 0.5


def check_geometry(given: CArm, trained: CArm) -> None:
    """Check that an X-ray's geometry is the one a model was trained for; the number of pixels may differ.

    Parameters
    ----------
    given, trained : CArm
        The X-ray's and the model's.

    Raises
    ------
    XrcoreError
        Naming the first difference.
    """
    require_pinhole("PoseRegressor", given)
    for name in ("source_to_detector", "source_to_isocenter"):
        a, b = getattr(given, name), getattr(trained, name)
        if abs(a - b) > _TOLERANCE * b:
            raise XrcoreError(f"the X-ray's {name} is {a:g} mm, the model was trained for {b:g} mm; train one for this geometry")
    for axis, word in ((0, "height"), (1, "width")):
        a, b = (c.shape[axis] * c.spacing[axis] for c in (given, trained))
        if abs(a - b) > _TOLERANCE * b:
            raise XrcoreError(
                f"the X-ray's detector {word} is {a:.1f} mm, the model was trained for {b:.1f} mm; "
                "crop the X-ray or train one for this geometry"
            )
        # from the detector's edge, in mm, so that the pixel size does not matter
        p, q = ((c.center[axis] + 0.5) * c.spacing[axis] for c in (given, trained))
        if abs(p - q) > _SHIFT:
            raise XrcoreError(f"the X-ray's principal_point is {p:.1f} mm from its edge, the model was trained for {q:.1f} mm")


def _resized(x: Float[Tensor, "1 1 H W"], shape: tuple[int, int]) -> Float[Tensor, "1 h w"]:
    if x.shape[-2] >= shape[0] and x.shape[-1] >= shape[1]:
        return F.adaptive_avg_pool2d(x, shape)[0]
    return F.interpolate(x, size=shape, mode="bilinear", align_corners=False)[0]
