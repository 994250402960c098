"""Batches of a training: rendered ahead where that is faster, and once where they come again unchanged."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch

from xrcore._util.stopwatch import Stopwatch
from xrcore._util.threads import single_torch_thread
from xrcore.ct.volume import Volume
from xrcore.geometry import CArm
from xrcore.learning.methods import Batch
from xrcore.learning.settings import TrainingSettings
from xrcore.learning.training.cohort import stream_of
from xrcore.learning.training.distributed import Team
from xrcore.learning.training.kept_images import KeptImages
from xrcore.learning.training.schedule import Schedule
from xrcore.learning.training.stream import DrawnBatch


class Batches:
    """This process' part of each step's batch.

    With ahead="thread" a thread renders the next batch beside the step. With ahead="queue", for a GPU, a thread draws it, and its
    rendering is put in the GPU's queue behind the step.

    Parameters
    ----------
    volumes : Sequence[Volume]
        The CT, or several, on the device that renders.
    carm : CArm
        The geometry.
    settings : TrainingSettings
        Of the training.
    schedule : Schedule
        Which DRR comes when.
    team : Team
        Among whom each batch is shared.
    ahead : str
        How the next batch is made: "thread", "queue", or "" when it is asked for.
    """

    def __init__(
        self,
        volumes: Sequence[Volume],
        carm: CArm,
        settings: TrainingSettings,
        schedule: Schedule,
        team: Team,
        *,
        ahead: str = "",
    ) -> None:
        self.schedule, self.team, self.ahead, self.last = schedule, team, ahead, settings.steps - 1
        self.size = settings.batch // team.size
        self.rendering = Stopwatch(volumes[0].device)
        sides = {schedule.pixels(0), settings.architecture.pixels}
        self.streams = {side: stream_of(volumes, carm, settings, pixels=side) for side in sides}
        self.kept = {side: KeptImages(stream, schedule) for side, stream in self.streams.items()}
        self._worker = ThreadPoolExecutor(1)  # starts no thread before it is asked for
        self._drawn: tuple[int, Future[DrawnBatch]] | None = None
        self._next: tuple[int, Future[Batch]] | None = None

    def get(self, step: int, part: slice) -> Batch:
        """Return a part of the share, made before where it is the whole of it.

        Parameters
        ----------
        step : int
            Below the number of steps.
        part : slice
            Of the share: less than the whole where memory does not suffice.

        Returns
        -------
        Batch
            On the device that renders.
        """
        whole = part.stop - part.start == self.size
        made, self._next = self._next, None
        there = made is not None and made[0] == step and whole
        batch = made[1].result() if made is not None and there else self._render(step, self._draw(step, part))
        if self.ahead == "thread" and whole and step < self.last:
            self._next = step + 1, self._worker.submit(lambda: self._render(step + 1, self._draw(step + 1, part)))
        return batch

    def draw_next(self, step: int, part: slice) -> None:
        """With ahead="queue", draw the next batch in a thread: before the backward pass, which runs outside Python.

        Parameters
        ----------
        step : int
            The one under way.
        part : slice
            What it learns from.
        """
        if self.ahead == "queue" and part.stop - part.start == self.size and step < self.last:
            self._drawn = step + 1, self._worker.submit(self._draw, step + 1, part)

    def render_next(self) -> None:
        """With ahead="queue", render what `draw_next` drew: a GPU queues it behind the current step."""
        if self._drawn is not None:
            (step, drawn), self._drawn = self._drawn, None
            ready: Future[Batch] = Future()
            ready.set_result(self._render(step, drawn.result()))
            self._next = step, ready

    def close(self) -> None:
        """End the thread."""
        self._worker.shutdown(cancel_futures=True)

    def _draw(self, step: int, part: slice) -> DrawnBatch:
        samples = self.schedule.samples(step)[self.team.rank :: self.team.size][part]
        return self.streams[self.schedule.pixels(step)].draw(samples, [step] * len(samples))

    def _render(self, step: int, drawn: DrawnBatch) -> Batch:
        with torch.no_grad(), single_torch_thread(), self.rendering:
            return self.kept[self.schedule.pixels(step)].render(drawn)
