"""Progress events of a registration, and functions that run the generators that yield them."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

import torch

from xrcore._util.logs import logger
from xrcore._util.threads import single_threaded_steps
from xrcore.geometry import Pose


class StopReason(StrEnum):
    """Why a search for a pose ended; each member equals its text."""

    TARGET = "loss target reached"
    SMALL_STEP = "step below tolerance"
    ITERATIONS = "iteration limit"
    EVALUATIONS = "evaluation limit"
    NO_PROGRESS = "no more progress"
    FLAT = "the similarity does not change with the pose: does the patient's image miss the detector?"
    NOT_FINITE = "the similarity is not finite"
    OUT_OF_BOUNDS = "the search left the bounds of poses"


@dataclass(frozen=True, kw_only=True)
class Step:
    """The best pose of its level so far.

    Parameters
    ----------
    level : int
        Number of the level, coarse to fine; levels of a second refinement count on from those of the first.
    pose : Pose
        One pose.
    similarity : float
        Of the X-ray and the DRR of the pose, on this level.
    level_name : str
        What the level compares: similarity and pixels along the longer side, such as "zncc, 128"; it is not saved.
    """

    level: int
    pose: Pose
    similarity: float
    level_name: str = ""


@dataclass(frozen=True)
class Stage:
    """The beginning of a part of the work.

    Parameters
    ----------
    description : str
        In a few words, such as "verifying".
    """

    description: str


Event = Step | Stage
Result = TypeVar("Result")
Events = Generator[Event, None, Result]  # what reports while it works; its return value is the result


class WorkClock:
    """Timer paused while the caller processes an event."""

    def __init__(self) -> None:
        self._counted = 0.0
        self._since: float | None = None

    def __call__(self) -> float:
        return self._counted + (0.0 if self._since is None else time.perf_counter() - self._since)

    def __enter__(self) -> None:
        self._since = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._counted, self._since = self(), None


def stage(description: str) -> Stage:
    """Log the beginning of a part of the work, and return its event."""
    logger.debug(description)
    return Stage(description)


def working(events: Events[Result], clock: WorkClock) -> Events[Result]:
    """Run a generator of events with one torch thread, without gradients, and with the clock running; none of this affects the caller.

    A step that is worse than the best of its level so far, as of a second descent there, is replaced by that one.
    """
    return single_threaded_steps(_clocked(events, clock))


def _clocked(events: Events[Result], clock: WorkClock) -> Events[Result]:
    best: Step | None = None
    with closing(events):
        while True:
            with clock, torch.no_grad():
                try:
                    event = next(events)
                except StopIteration as end:
                    return end.value
            if not isinstance(event, Step):
                best = None
            elif best is None or event.level != best.level or event.similarity > best.similarity:
                best = event
            else:
                event = best
            yield event


def finish(events: Events[Result], watch: Callable[[Step], None] | None = None) -> Result:
    """Run a generator of events to its end and return what it returns; `watch` is called with each step."""
    with closing(events):
        while True:
            try:
                event = next(events)
            except StopIteration as end:
                return end.value
            if watch is not None and isinstance(event, Step):
                watch(event)
