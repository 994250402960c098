"""Worker process of compare.py for one checkout: runs the tasks it receives as JSON lines, by public names of xrcore only."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import xrcore as xr

CARM = xr.CArm(source_to_detector=1259.65, source_to_isocenter=742.5, shape=(256, 256), pixel_spacing=1.6875)
POSE = xr.Pose(rx=8, ry=-12, rz=5, tx=15, ty=-20, tz=25)
SIDE = xr.Pose(rx=3, ry=70, rz=-4, tx=5, ty=-10, tz=10)
START = xr.Pose(rx=5, ry=-9, rz=3, tx=10, ty=-15, tz=15)


class Worker:
    """Runs tasks. shared: folder of the X-rays that both checkouts register."""

    def __init__(self, shared: Path) -> None:
        self.shared = shared
        self.fine, self.volume = xr.phantom.pelvis(spacing=1.5), xr.phantom.pelvis(spacing=2.0)
        self.patients: dict[str, Any] = {}
        self.weights = torch.rand(1, *CARM.shape, generator=torch.Generator().manual_seed(0))
        self.tasks: dict[str, Callable[[], Any]] = {
            "render": lambda: xr.render(self.fine, CARM, POSE),
            "render_with_jacobian": lambda: xr.render_with_jacobian(self.fine, CARM, POSE),
            "render, forward and backward": self.gradient,
            "register": lambda: xr.register(self.xray("phantom"), replace(self.volume)),
            "refine": lambda: xr.refine(self.xray("phantom"), self.volume, START),
            "register, two views": self.register_two_views,
            "train, 8 steps": lambda: xr.train(self.volume, CARM, xr.TrainingSettings(images=128, validation=16, validate_every=128)),
        }

    def answer(self, task: str, **given: Any) -> dict[str, Any]:
        """Seconds of one of `tasks`, or the result of the method of that name."""
        if task not in self.tasks:
            return getattr(self, task)(**given)
        began = time.perf_counter()
        self.tasks[task]()
        return {"seconds": time.perf_counter() - began}

    def where(self) -> dict[str, Any]:
        """Where the package was imported from."""
        return {"package": xr.__file__}

    def prepare(self) -> dict[str, Any]:
        """Simulate the phantom's X-rays, for both checkouts."""
        for name, pose in (("phantom", POSE), ("side", SIDE)):
            self.keep(name, xr.simulate(self.fine, CARM, pose, seed=0))
        return {}

    def prepare_patient(self, number: str, file: str, options: dict[str, Any], poses: int) -> dict[str, Any]:
        """Simulate a patient's X-rays as acquired."""
        fine, generator = xr.read_ct(file, spacing=1.25, **options), torch.Generator().manual_seed(0)
        truths = [xr.Pose.random(generator=generator) for _ in range(poses)]
        for case, truth in enumerate(truths):
            self.keep(f"{number}-{case}", xr.simulate(fine, CARM, truth, seed=case))
        return {"truths": [truth.numbers[0].tolist() for truth in truths]}

    def load_patient(self, number: str, file: str, options: dict[str, Any]) -> dict[str, Any]:
        self.patients = {number: xr.read_ct(file, spacing=2.0, **options)}
        return {}

    def register_case(self, number: str, case: int, truth: list[float]) -> dict[str, Any]:
        """Register one X-ray of a patient from the zero pose."""
        volume, xray = self.patients[number], self.xray(f"{number}-{case}")
        began = time.perf_counter()
        result = xr.register(xray, volume)
        seconds = time.perf_counter() - began
        landmarks = volume.surface_points(64)
        error = float(xr.metrics.mtre(result.pose, xr.Pose(truth), landmarks, CARM, volume.isocenter))
        return {"seconds": seconds, "mtre_mm": error, "trusted": bool(result.trusted)}

    def images(self, name: str) -> dict[str, Any]:
        """Write image and Jacobian of three views to NAME.npz."""
        image, jacobian = xr.render_with_jacobian(self.volume, CARM, xr.Pose.cat([xr.Pose(), POSE, SIDE]))
        np.savez(self.shared / f"{name}.npz", image=image.numpy(), jacobian=jacobian.numpy())
        return {}

    def gradient(self) -> None:
        numbers = POSE.numbers.clone().requires_grad_()
        (xr.render(self.fine, CARM, xr.Pose(numbers)) * self.weights).sum().backward()

    def register_two_views(self) -> None:
        """Register two views whose rig is the CT's world."""
        views = [
            xr.View(xray=self.xray(name), camera_from_rig=pose.camera_from_world(CARM, self.volume.isocenter)[0])
            for name, pose in (("phantom", POSE), ("side", SIDE))
        ]
        xr.register(views, self.volume, xr.Pose(POSE.numbers + 2.0))

    def keep(self, name: str, xray: xr.Xray) -> None:
        np.savez(self.shared / f"{name}.npz", image=xray.image.numpy(), mask=xray.mask.numpy())

    def xray(self, name: str) -> xr.Xray:
        with np.load(self.shared / f"{name}.npz") as kept:
            return xr.Xray(image=torch.from_numpy(kept["image"]), mask=torch.from_numpy(kept["mask"]), carm=CARM)


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever prints does not disturb the answers
    worker = Worker(Path(sys.argv[1]))
    for line in sys.stdin:
        print(json.dumps(worker.answer(**json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
