"""Schedule of a training: the DRRs of each step, their size, and the learning rate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from xrcore.learning.settings import TrainingSettings

_STAGES = 4


@dataclass(frozen=True)
class Stage:
    """A stage of incremental learning: a part of the images.

    Parameters
    ----------
    first, last : int
        Steps [first, last).
    number : int
        Of the set of DRRs.
    size : int, optional
        Samples are drawn from DRRs [0, size) of the set; None: never the same twice.
    """

    first: int
    last: int
    number: int
    size: int | None


class Schedule:
    """The schemes of incremental learning, all at the same number of images.

    The same settings give the same samples at the same step, from wherever a training is resumed.

    Parameters
    ----------
    settings : TrainingSettings
        Of the training.
    """

    def __init__(self, settings: TrainingSettings) -> None:
        self.settings = settings
        scheme, steps = settings.scheme, settings.steps
        count = _STAGES if scheme != "none" and steps >= _STAGES else 1
        bounds = [steps * n // count for n in range(count + 1)]
        sizes = _set_sizes(settings, count)
        self.stages = tuple(
            Stage(first, last, number=n if scheme == "fresh" else 0, size=sizes[n]) for n, (first, last) in enumerate(pairwise(bounds))
        )
        self.restarts = settings.restarts if settings.restarts is not None else scheme == "growing"
        self._order: tuple[tuple[int, int], np.ndarray] | None = None

    def stage(self, step: int) -> Stage:
        """Return the stage that a step belongs to.

        Parameters
        ----------
        step : int
            Below the number of steps.

        Returns
        -------
        Stage
            The one with first <= step < last.
        """
        return next(stage for stage in self.stages if step < stage.last)

    def pixels(self, step: int) -> int:
        """Return the side of a step's images.

        Parameters
        ----------
        step : int
            Below the number of steps.

        Returns
        -------
        int
            `coarse_pixels` in the first `coarse_share` of the training, then the architecture's [pixels].
        """
        settings = self.settings
        if settings.coarse_pixels is not None and step < settings.coarse_share * settings.steps:
            return settings.coarse_pixels
        return settings.architecture.pixels

    def samples(self, step: int) -> list[tuple[int, int]]:
        """Return the DRRs of a step's batch: epochs over the stage's set, each in an order of its own.

        Parameters
        ----------
        step : int
            Below the number of steps.

        Returns
        -------
        list of tuple
            (set, index) of each.
        """
        stage, batch = self.stage(step), self.settings.batch
        first = (step - stage.first) * batch
        if stage.size is None:
            return [(stage.number, first + i) for i in range(batch)]
        return [(stage.number, int(self._shuffled(stage, n // stage.size)[n % stage.size])) for n in range(first, first + batch)]

    def seen(self, step: int, count: int) -> list[tuple[int, int]]:
        """Return some of the training images that a step's stage reuses, evenly spread over its set.

        Parameters
        ----------
        step : int
            Below the number of steps.
        count : int
            How many at most.

        Returns
        -------
        list of tuple
            (set, index) of each; none where no DRR comes twice.
        """
        stage = self.stage(step)
        if stage.size is None:
            return []
        return [(stage.number, stage.size * i // min(count, stage.size)) for i in range(min(count, stage.size))]

    def learning_rate(self, step: int) -> float:
        """Return the learning rate: linear warm-up, then down as `decay` says, over the stage or, without restarts, over all.

        Parameters
        ----------
        step : int
            Below the number of steps.

        Returns
        -------
        float
            Above 0.
        """
        settings, stage = self.settings, self.stage(step)
        first, last = (stage.first, stage.last) if self.restarts else (0, settings.steps)
        done = (step - first + 0.5) / (last - first)
        if done < settings.warmup:
            return settings.learning_rate * done / settings.warmup
        if settings.decay == "step":
            return settings.learning_rate * 0.1 ** int(3 * done)
        cosine = 0.5 + 0.5 * math.cos(math.pi * (done - settings.warmup) / (1 - settings.warmup))
        return settings.learning_rate * (1e-3 + (1 - 1e-3) * cosine)

    def _shuffled(self, stage: Stage, epoch: int) -> np.ndarray:
        key = (stage.first, epoch)
        order = self._order  # another thread may put another one there
        if order is None or order[0] != key:
            assert stage.size is not None
            self._order = order = (key, np.random.default_rng((self.settings.seed, 2, *key)).permutation(stage.size))
        return order[1]


def _set_sizes(settings: TrainingSettings, stages: int) -> list[int | None]:
    """DRRs of each stage's set; None: never the same twice."""
    size = settings.set_size
    if settings.scheme == "extended":
        first = size or max(4, settings.images // 8)
        return [first * (n + 1) for n in range(stages)]
    if settings.scheme == "growing":
        whole = size or max(4, settings.images // 4)
        return [max(1, whole * (n + 1) // stages) for n in range(stages)]
    if settings.scheme == "fresh" and size is not None:
        return [max(1, size // stages)] * stages
    return [size] * stages
