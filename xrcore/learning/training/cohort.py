"""Simulated X-rays of several patients, mixed in each batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

import numpy as np
import torch

from xrcore.ct.volume import Volume
from xrcore.geometry import CArm
from xrcore.learning.methods import Batch
from xrcore.learning.settings import TrainingSettings
from xrcore.learning.training.stream import TRAINING, DrawnBatch, DrrStream

_TOGETHER = 4  # consecutive images of one patient, because rays through one CT are rendered together
_FOR_PATIENT = 3  # stream of random numbers, beside those of poses and acquisitions


class CohortStream(DrrStream):
    """Simulated X-rays of several patients, each posed about the isocentre of its own CT; otherwise as `DrrStream`.

    Parameters
    ----------
    volumes : Sequence[Volume]
        The CTs, of which all have the same chance.
    carm : CArm
        The geometry, of any number of pixels.
    settings : TrainingSettings
        Of the training.
    purpose : int
        `TRAINING` or `VALIDATION`.
    pixels : int, optional
        Side of the images; default the architecture's.

    Raises
    ------
    XrcoreError
        If a CT is empty.
    """

    def __init__(
        self, volumes: Sequence[Volume], carm: CArm, settings: TrainingSettings, *, purpose: int = TRAINING, pixels: int | None = None
    ) -> None:
        super().__init__(volumes[0], carm, settings, purpose=purpose, pixels=pixels)
        self.members = [DrrStream(volume, carm, settings, purpose=purpose, pixels=pixels) for volume in volumes]

    def draw(self, samples: Sequence[tuple[int, int]], turns: Sequence[int] | None = None) -> DrawnBatch:
        return replace(super().draw(samples, turns), patients=[self._patient(*sample) for sample in samples])

    @torch.no_grad()
    def render(self, drawn: DrawnBatch) -> Batch:
        order = sorted(range(len(drawn.patients)), key=lambda i: drawn.patients[i])
        parts = [
            self.members[patient].render(_part(drawn, list(chosen))) for patient, chosen in groupby(order, lambda i: drawn.patients[i])
        ]
        back = np.argsort(order)
        images, masks, numbers, plain = (torch.cat([getattr(part, name) for part in parts])[back] for name in _FIELDS)
        return Batch(images, masks, numbers, plain)

    def _patient(self, number: int, index: int) -> int:
        key = (self.settings.seed, self.purpose, number, index // _TOGETHER, _FOR_PATIENT)
        return int(np.random.default_rng(key).integers(len(self.members)))


def stream_of(
    volumes: Sequence[Volume], carm: CArm, settings: TrainingSettings, *, purpose: int = TRAINING, pixels: int | None = None
) -> DrrStream:
    """Make the stream of one patient, or of several.

    Parameters
    ----------
    volumes : Sequence[Volume]
        One CT or more.
    carm : CArm
        The geometry, of any number of pixels.
    settings : TrainingSettings
        Of the training.
    purpose : int
        `TRAINING` or `VALIDATION`.
    pixels : int, optional
        Side of the images; default the architecture's.

    Returns
    -------
    DrrStream
        Of all of them.
    """
    if len(volumes) == 1:
        return DrrStream(volumes[0], carm, settings, purpose=purpose, pixels=pixels)
    return CohortStream(volumes, carm, settings, purpose=purpose, pixels=pixels)


_FIELDS = ("images", "masks", "numbers", "plain")


def _part(drawn: DrawnBatch, chosen: list[int]) -> DrawnBatch:
    if not drawn.settings:
        return DrawnBatch(drawn.poses[chosen])
    changes = [drawn.changes[i] for i in chosen] if drawn.changes else ()
    return DrawnBatch(drawn.poses[chosen], [drawn.settings[i] for i in chosen], [drawn.keys[i] for i in chosen], changes=changes)
