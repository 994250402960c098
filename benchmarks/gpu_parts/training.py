"""Time training steps on the GPU: images per second, share of rendering, memory; and a whole training with the paper's profile."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import replace

from common import scenes
from common.rows import Figure, Row, images_a_second
from common.timing import Timing
from gpu_parts.clock import WALL, Clock, wall_seconds
from gpu_parts.scene import Scene

from xrcore.ct.volume import Volume
from xrcore.geometry.presets import PAPER_CARM
from xrcore.learning.training import TrainingSettings, TrainingStep, train, training_steps
from xrcore.learning.training.schedule import Schedule
from xrcore.learning.training.stream import DrrStream

_LAPTOP, _PAPER = "training, profile laptop (128 pixels, batch 16, as acquired)", "training, profile paper (256 pixels, batch 64)"

LAPTOP = Row(what=_LAPTOP, unit="images/s", how=WALL)
LAPTOP_SHARE = Row(what=f"{_LAPTOP}: rendering", unit="%", how="of a step's time, simulation of the acquisition included", aim=10)
PAPER = Row(what=_PAPER, unit="images/s", how=WALL)
PAPER_SHARE = Row(what=f"{_PAPER}: rendering", unit="%", how="of a step's time", aim=10)
PAPER_MEMORY = Row(what=f"{_PAPER}: peak memory of a step", unit="MB", how="torch's allocator, network and volume included")
PAPER_MINUTES = Row(what="profile paper, whole training", unit="min", how="computed from its images/s, without validation", aim=10)
TRAINED = Row(what="profile paper, trained", unit="min", how="the whole of it, by the wall clock", aim=10)
TRAINED_ERROR = Row(what="profile paper, trained: the network's mTRE", unit="mm", how="mean over its validation set, plain DRRs")

ROWS = (LAPTOP, LAPTOP_SHARE, PAPER, PAPER_SHARE, PAPER_MEMORY, PAPER_MINUTES)
TRAINED_ROWS = (TRAINED, TRAINED_ERROR)


class Steps:
    """Run a training step by step, timing each step and the rendering of its batch alone."""

    def __init__(self, clock: Clock, volume: Volume, settings: TrainingSettings) -> None:
        self.clock, self.settings = clock, settings
        self.schedule = Schedule(settings)
        self.stream = DrrStream(volume.to(clock.device), PAPER_CARM, settings)
        self.training = training_steps(volume, PAPER_CARM, settings.changed(validation=1), device=clock.device)
        self.whole: list[float] = []
        self.rendering: list[float] = []
        self.last: TrainingStep | None = None

    def step(self) -> None:
        """Run one step with the GPU idle before and after it; the first also prepares the training."""
        self.whole.append(wall_seconds(self.clock, self._train))
        self.rendering.append(wall_seconds(self.clock, self._render))

    def forget(self) -> None:
        """Discard the times of the warm-up steps."""
        self.whole.clear()
        self.rendering.clear()

    @property
    def remark(self) -> str:
        """Whether a batch did not fit the GPU's memory."""
        pieces = self.last.portions if self.last is not None else 1
        return f"each batch in {pieces} portions, for lack of memory" if pieces > 1 else ""

    @property
    def share(self) -> float:
        """Share of rendering in a step [%]."""
        return 100 * statistics.median(self.rendering) / statistics.median(self.whole)

    def _train(self) -> None:
        self.last = next(self.training)

    def _render(self) -> None:
        step = len(self.rendering)
        self.stream.batch(self.schedule.samples(step), [step] * self.settings.batch)


def measure(clock: Clock, scene: Scene) -> Iterator[tuple[Row, Figure]]:
    """Yield each row when it is measured."""
    yield from _profile(clock, scene, scene.sizes.laptop, LAPTOP, LAPTOP_SHARE)
    clock.free()
    settings = scene.sizes.paper
    for row, figure in _profile(clock, scene, settings, PAPER, PAPER_SHARE, PAPER_MEMORY):
        yield row, figure
        if row is PAPER:
            yield PAPER_MINUTES, Figure(value=settings.images / figure.value / 60, note=f"{settings.images:,} images")


def _profile(
    clock: Clock, scene: Scene, settings: TrainingSettings, speed: Row, share: Row, memory: Row | None = None
) -> Iterator[tuple[Row, Figure]]:
    clock.forget_peak()
    steps = Steps(clock, replace(scenes.body(settings.spacing)), settings)
    for _ in range(scene.sizes.warm_up):
        steps.step()
    steps.forget()
    for _ in range(scene.sizes.steps):
        steps.step()
    yield speed, images_a_second(Timing(seconds=tuple(steps.whole)), settings.batch, steps.remark)
    yield share, Figure(value=steps.share, repeats=scene.sizes.steps)
    if memory is not None:
        yield memory, Figure(value=clock.peak_mb())


def train_paper_profile(clock: Clock, scene: Scene) -> Iterator[tuple[Row, Figure]]:
    """Train the paper's profile completely."""
    settings = scene.sizes.paper
    models = []
    seconds = wall_seconds(
        clock, lambda: models.append(train(scenes.body(settings.spacing), PAPER_CARM, settings, device=str(clock.device), progress=True))
    )
    yield TRAINED, Figure(value=seconds / 60, note=f"{settings.images:,} images, validation included")
    measured = models[0].training["validation"]
    yield TRAINED_ERROR, Figure(value=measured["mtre"], note=f"{measured['images']} poses, {measured['success']:.3g} % below 10 mm")
