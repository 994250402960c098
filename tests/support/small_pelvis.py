"""A coarse pelvis, small C-arms, and X-rays of it, for the tests of the widgets, which they skip where these cannot be used."""

from __future__ import annotations

import functools
import io

import pytest
from PIL import Image

import xrcore as xr

pytest.importorskip("anywidget", reason="the widgets need the extra 'notebooks'")

from xrcore.widgets.volume_sources import GivenVolume

CARM = xr.CArm(source_to_detector=1259.65, source_to_isocenter=742.5, shape=(64, 64), pixel_spacing=6.75)
OBLONG = xr.CArm(source_to_detector=1000.0, source_to_isocenter=600.0, shape=(40, 80), pixel_spacing=6.0, principal_point=(15.0, 50.0))
POSE = xr.Pose(rx=12.0, ry=-35.0, rz=8.0, tx=6.0, ty=-7.0, tz=8.0)
TRUTH = xr.Pose(rx=3.0, ry=-5.0, rz=2.0, tx=6.0, ty=-7.0, tz=8.0)


@functools.cache
def volume(seed: int = 3, spacing: float = 8.0) -> xr.Volume:
    return xr.phantom.pelvis(seed=seed, spacing=spacing)


@functools.cache
def drr(carm: xr.CArm = CARM, pose: xr.Pose | None = None) -> xr.Xray:
    """Of the pelvis, as an X-ray; default from `TRUTH`."""
    return xr.Xray(image=xr.render(volume(), carm, TRUTH if pose is None else pose)[0], carm=carm)


class UnreadableCt:
    def volume(self, spacing: float) -> xr.Volume:
        raise xr.XrcoreError("<ct.nii.gz>: is damaged")


PATIENTS = {"one": GivenVolume(volume()), "two": GivenVolume(volume(5)), "none": UnreadableCt()}


def size(picture: bytes) -> tuple[int, int]:
    """Width and height of a PNG."""
    with Image.open(io.BytesIO(picture)) as image:
        assert image.format == "PNG"
        return image.size


def gesture(**changes: object) -> dict[str, object]:
    """What the page reports of the pointer, the wheel and the keys."""
    return {"press": 0, "dx": 0, "dy": 0, "turn": False, "roll": False, "wheel": 0, "keys": {}} | changes
