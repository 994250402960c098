"""Trainings of seconds, on the phantom."""

from __future__ import annotations

import functools
from pathlib import Path

import torch

from xrcore import phantom
from xrcore.ct.volume import Volume
from xrcore.geometry import CArm
from xrcore.learning.models import PoseRegressor
from xrcore.learning.training import TrainingSettings, profile, training_steps
from xrcore.learning.training.stream import TRAINING, DrrStream

CARM = CArm(source_to_detector=1259.65, source_to_isocenter=742.5, shape=(256, 256), pixel_spacing=1.6875)
TINY = profile("smoke").changed(
    pixels=32, bottleneck=16, hidden=32, tokens=16, decoder=16, images=32, batch=8, validation=4, precision="float32",
    validate_every=16, checkpoint_every=16,
)  # fmt: skip


@functools.cache
def patient(seed: int = 0) -> Volume:
    return phantom.pelvis(seed, 8.0)


def weights(model: PoseRegressor) -> dict[str, torch.Tensor]:
    return model.network.state_dict()


def same(a: PoseRegressor, b: PoseRegressor) -> bool:
    return all(torch.equal(x, y) for x, y in zip(weights(a).values(), weights(b).values(), strict=True))


def stream(purpose: int = TRAINING, side: int | None = None, **changes) -> DrrStream:
    return DrrStream(patient(), CARM, TINY.changed(**changes), purpose=purpose, pixels=side)


def stopped_after(number: int, settings: TrainingSettings, folder: Path, **more) -> None:
    """As if the process died after so many steps."""
    for step in training_steps(patient(), CARM, settings, folder=folder, **more):
        if step.number == number:
            return
