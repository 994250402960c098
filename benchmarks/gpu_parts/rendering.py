"""Time the render kernel: one image, batches, with and without the Jacobian, and the memory of a batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from common.rows import Figure, Row, images_a_second, milliseconds
from gpu_parts.clock import KERNEL, WALL, Clock, kernel_times, wall_times
from gpu_parts.recorded import Launch, launches_of
from gpu_parts.scene import Scene

from xrcore.geometry import Pose
from xrcore.renderer import render, render_with_jacobian

_SUBJECT = "two materials, whole spectrum, 256 x 256 from 256³"

IMAGE = Row(what=f"image: {_SUBJECT}", unit="ms", how=KERNEL, aim=0.1)
JACOBIAN = Row(what="image and Jacobian", unit="ms", how=KERNEL, aim=0.15)
BATCH = Row(what="batch of 64", unit="images/s", how=KERNEL, aim=12_000, least=True)
BATCH_JACOBIAN = Row(what="batch of 64, with Jacobian", unit="images/s", how=KERNEL)
IMAGE_CALL = Row(what="`render`, one image", unit="ms", how=WALL)
JACOBIAN_CALL = Row(what="`render_with_jacobian`, one image", unit="ms", how=WALL)
BATCH_CALL = Row(what="`render`, batch of 64", unit="images/s", how=WALL, aim=12_000, least=True)
BATCH_JACOBIAN_CALL = Row(what="`render_with_jacobian`, batch of 64", unit="images/s", how=WALL)
MEMORY = Row(what="`render_with_jacobian`, batch of 64: peak memory", unit="MB", how="torch's allocator, the volume included")

ROWS = (IMAGE, JACOBIAN, BATCH, BATCH_JACOBIAN, IMAGE_CALL, JACOBIAN_CALL, BATCH_CALL, BATCH_JACOBIAN_CALL, MEMORY)


def measure(clock: Clock, scene: Scene) -> Iterator[tuple[Row, Figure]]:
    """Yield each row when it is measured."""
    from xrcore.renderer.cuda import kernel

    volume, carm, beam = scene.volume(clock.device), scene.carm, scene.beam
    batch = scene.sizes.batch

    def image(pose: Pose) -> Callable[[], Any]:
        return lambda: render(volume, carm, pose, beam, backend="cuda")

    def jacobian(pose: Pose) -> Callable[[], Any]:
        return lambda: render_with_jacobian(volume, carm, pose, beam, backend="cuda")

    def launches(draw: Callable[[Pose], Callable[[], Any]], poses: list[Pose]) -> list[Launch]:
        return [launches_of(kernel, "render", draw(pose), 1)[0] for pose in poses]

    kernels = {IMAGE: launches(image, scene.poses), JACOBIAN: launches(jacobian, scene.poses)}
    times = kernel_times(clock, {row.what: calls for row, calls in kernels.items()}, scene.sizes.rounds)
    for row in kernels:
        yield row, milliseconds(times[row.what])
    kernels = {BATCH: launches(image, scene.batches), BATCH_JACOBIAN: launches(jacobian, scene.batches)}
    times = kernel_times(clock, {row.what: calls for row, calls in kernels.items()}, scene.sizes.rounds)
    for row in kernels:
        yield row, images_a_second(times[row.what], batch)
    del kernels  # and the images that they write into

    singles = {IMAGE_CALL: image, JACOBIAN_CALL: jacobian}
    times = wall_times(clock, {row.what: [draw(pose) for pose in scene.poses] for row, draw in singles.items()}, scene.sizes.rounds)
    for row in singles:
        yield row, milliseconds(times[row.what])
    whole = {BATCH_CALL: image, BATCH_JACOBIAN_CALL: jacobian}
    times = wall_times(clock, {row.what: [draw(poses) for poses in scene.batches] for row, draw in whole.items()}, scene.sizes.rounds)
    for row in whole:
        yield row, images_a_second(times[row.what], batch)

    clock.forget_peak()
    jacobian(scene.batches[0])()
    clock.wait()
    yield MEMORY, Figure(value=clock.peak_mb())
