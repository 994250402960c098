"""Which DRR comes when, and how fast to learn from it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from xrcore.learning.training.settings import TrainingSettings

_STAGES = 4


@dataclass(frozen=True)
class Stage:
    """A part of the budget: steps [first, last), samples drawn from DRRs [0, size) of set `number`; size None: never the same twice."""

    first: int
    last: int
    number: int
    size: int | None


class Schedule:
    """The incremental learning of the paper in two readings, and none, all at the same number of images.

    The same settings give the same samples at the same step, from wherever a training is resumed.
    """

    def __init__(self, settings: TrainingSettings) -> None:
        self.settings = settings
        steps = settings.steps
        stages = _STAGES if settings.scheme != "none" and steps >= _STAGES else 1
        bounds = [steps * n // stages for n in range(stages + 1)]
        size = settings.set_size
        if settings.scheme == "growing" and size is None:
            size = max(4, settings.images // 4)
        self.stages = tuple(
            Stage(
                first,
                last,
                number=n if settings.scheme == "fresh" else 0,
                size=_share(settings.scheme, size, n, stages),
            )
            for n, (first, last) in enumerate(pairwise(bounds))
        )
        self.restarts = settings.restarts if settings.restarts is not None else settings.scheme == "growing"
        self._order: tuple[tuple[int, int], np.ndarray] | None = None

    def stage(self, step: int) -> Stage:
        """The stage that a step belongs to."""
        return next(stage for stage in self.stages if step < stage.last)

    def samples(self, step: int) -> list[tuple[int, int]]:
        """(set, index) of each DRR of a step's batch: epochs over the stage's set, each in an order of its own."""
        stage, batch = self.stage(step), self.settings.batch
        first = (step - stage.first) * batch
        if stage.size is None:
            return [(stage.number, first + i) for i in range(batch)]
        return [(stage.number, int(self._shuffled(stage, n // stage.size)[n % stage.size])) for n in range(first, first + batch)]

    def _shuffled(self, stage: Stage, epoch: int) -> np.ndarray:
        key = (stage.first, epoch)
        order = self._order  # another thread may put another one there
        if order is None or order[0] != key:
            assert stage.size is not None
            self._order = order = (key, np.random.default_rng((self.settings.seed, 2, *key)).permutation(stage.size))
        return order[1]

    def learning_rate(self, step: int) -> float:
        """Linear warm-up, then a cosine to a thousandth, over the stage or, without restarts, over all."""
        stage = self.stage(step)
        first, last = (stage.first, stage.last) if self.restarts else (0, self.settings.steps)
        done = (step - first + 0.5) / (last - first)
        warmup = self.settings.warmup
        if done < warmup:
            return self.settings.learning_rate * done / warmup
        cosine = 0.5 + 0.5 * math.cos(math.pi * (done - warmup) / (1 - warmup))
        return self.settings.learning_rate * (1e-3 + (1 - 1e-3) * cosine)


def _share(scheme: str, size: int | None, n: int, stages: int) -> int | None:
    """DRRs of stage n, of `size` in all."""
    if size is None or scheme == "none":
        return size
    return max(1, size * (n + 1) // stages if scheme == "growing" else size // stages)
