"""A small experiment: one phantom, two test sets, and methods whose answers are known."""

from __future__ import annotations

import pandas as pd
import torch

import xrcore as xr
from companion.experiments import (
    Method,
    Phantom,
    TestSet,
)
from companion.experiments.patients import Loaded
from xrcore.geometry import PAPER_CARM

CARM = PAPER_CARM.resized((32, 32))
PATIENT = Loaded(Phantom(seed=3))
PAPER = TestSet("paper", protocol="paper", poses=3, carm=CARM, spacing=10.0, landmarks=16)
ACQUIRED = TestSet(
    "acquired", poses=2, carm=CARM, spacing=10.0, fine_spacing=8.0, landmarks=16, acquisition=xr.Acquisition(oversample=1, step=4.0)
)
QUICK = xr.GaussNewton(levels=(xr.Level(pixels=32, spacing=10.0, iterations=3),))  # of the same volume: the truth is the optimum
TIMES = ["seconds"]


class Model:
    """Predicts one pose of whatever it is shown, and remembers what that was."""

    spread = (1.0, 1.0, 1.0, 2.0, 2.0, 4.0)
    ranges = (15.0, 15.0, 10.0, 30.0, 30.0, 30.0)

    def __init__(self, pose: xr.Pose, *, wrong: str = "") -> None:
        self.pose, self.wrong = pose, wrong
        self.seen: list[xr.Xray] = []

    def check(self, carm=None, volume=None) -> None:
        if self.wrong:
            raise xr.XrcoreError(self.wrong)

    def predict(self, xray: xr.Xray) -> xr.Pose:
        self.seen.append(xray)
        return self.pose


def constant(name: str = "zero", **numbers: float) -> Method:
    return Method(name, lambda xray, volume: xr.Pose(**numbers))


def noisy(name: str = "noisy") -> Method:
    """Its answer hangs on the X-ray and on torch's generator."""
    return Method(name, lambda xray, volume: xr.Pose(rx=float(xray.image.mean()), tx=float(torch.rand(()))))


def counted(calls: list, name: str = "counted", stop_at: int | None = None) -> Method:
    def run(xray, volume):
        if len(calls) == stop_at:
            raise KeyboardInterrupt
        calls.append(xray)
        return xr.Pose(rx=float(xray.image.mean()))

    return Method(name, run)


def equal(a: pd.DataFrame, b: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(a.drop(columns=TIMES), b.drop(columns=TIMES), check_exact=True)
