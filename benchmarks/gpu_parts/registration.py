"""Time a whole registration of an X-ray as acquired, from the zero pose."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from common import scenes
from common.rows import Figure, Row, milliseconds
from common.timing import Timing
from gpu_parts.clock import WALL, Clock, wall_seconds
from gpu_parts.scene import Scene

from xrcore.metrics import mtre
from xrcore.registration.pipeline import register
from xrcore.registration.result import Registration

WHOLE = Row(what="registration from the zero pose", unit="ms", how=WALL, aim=30)
FIRST = Row(what="the first registration of a new volume, from the processor's memory", unit="ms", how=WALL)
ERROR = Row(what="registration: mTRE", unit="mm", how="median of the repeats")
TRUSTED = Row(what="registration: trusted", unit="%", how="of the repeats", aim=100, least=True)

ROWS = (WHOLE, FIRST, ERROR, TRUSTED)


def measure(clock: Clock, scene: Scene) -> Iterator[tuple[Row, Figure]]:
    """Yield each row when it is measured."""
    sizes = scene.sizes
    pixels, fine, coarse = sizes.registration
    options: dict[str, Any] = {} if sizes.retries is None else {"search": sizes.search, "retries": sizes.retries}
    xray, on_cpu = scenes.radiograph(scenes.body(fine), pixels), scenes.body(coarse)
    volume = replace(on_cpu).to(clock.device)
    found: list[Registration] = []

    def once(where: torch.device | None = None) -> None:
        found.append(register(xray, volume if where is None else replace(on_cpu).to(where), **options))

    once()  # compiles
    found.clear()
    times = Timing(seconds=tuple(wall_seconds(clock, once) for _ in range(sizes.registrations)))
    stages = {name: statistics.median(r.stages[name] for r in found) for name in found[0].stages}
    yield WHOLE, milliseconds(times, ", ".join(f"{name} {1e3 * seconds:.3g} ms" for name, seconds in stages.items()))
    landmarks = on_cpu.surface_points()
    errors = [float(mtre(r.pose, scenes.POSE, landmarks, xray.carm, on_cpu.isocenter)) for r in found]
    yield ERROR, Figure(value=statistics.median(errors), low=min(errors), high=max(errors), repeats=len(errors))
    yield TRUSTED, Figure(value=100 * sum(r.trusted for r in found) / len(found), repeats=len(found))
    first = Timing(seconds=tuple(wall_seconds(clock, lambda: once(clock.device)) for _ in range(max(1, sizes.registrations // 4))))
    yield FIRST, milliseconds(first)
