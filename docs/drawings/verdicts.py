"""A registration to trust, and one not to."""

from __future__ import annotations

from functools import cache

from matplotlib.figure import Figure

import xrcore as xr
from drawings.common import CARM
from xrcore.figures import registration_figure

_POSE = xr.Pose(rx=5, ry=-8, rz=3, tx=6, ty=-10, tz=15)


@cache
def simulated_xray() -> xr.Xray:
    return xr.simulate(xr.phantom.pelvis(0, 1.5), CARM, _POSE, seed=1)


def trusted() -> Figure:
    """The patient's own CT."""
    return _registered(0)


def not_trusted() -> Figure:
    """Another patient's CT."""
    return _registered(1)


def _registered(seed: int) -> Figure:
    volume = xr.phantom.pelvis(seed, 2.0)
    result = xr.register(simulated_xray(), volume)
    start, found = (xr.render(volume, CARM, pose)[0] for pose in (result.initial, result.pose))
    # without the seconds, which are never the same twice
    return registration_figure(simulated_xray(), start, found, _Shown(result))


class _Shown:
    def __init__(self, result: xr.Registration) -> None:
        self.pose, self.trusted, self.stop_reason = result.pose, result.trusted, result.stop_reason
