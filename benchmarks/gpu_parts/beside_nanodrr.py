"""Compare xrcore's kernel with nanodrr's fused Triton kernel: one material, the same rays, as many samples per ray, calls interleaved.

nanodrr's samples are trilinear (8 reads) and evenly spaced between a ray's ends in the grid; xrcore's are bilinear (4 reads), one per
slice, without the slices in air.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from common import scenes
from common.rows import Figure, Row, milliseconds
from gpu_parts.clock import KERNEL, WALL, Clock, kernel_times, wall_times
from gpu_parts.recorded import Launch, launches_of, together
from gpu_parts.scene import Scene
from peers import nanodrr
from torch import Tensor

from xrcore import XrcoreError
from xrcore.geometry import Pose
from xrcore.renderer import render, render_with_jacobian

_RATIO = "of medians of one run"

OURS = Row(what="one material, one energy: ours", unit="ms", how=KERNEL)
THEIRS = Row(what="one material: nanodrr", unit="ms", how=KERNEL)
RATIO = Row(what="ours, of nanodrr's time", unit="x", how=_RATIO, aim=1)
OURS_BOTH = Row(what="forward and backward by the pose: ours", unit="ms", how="kernel and contraction, by CUDA events")
THEIRS_BOTH = Row(what="forward and backward by the pose: nanodrr", unit="ms", how="its two kernels, by CUDA events")
RATIO_BOTH = Row(what="forward and backward: ours, of nanodrr's time", unit="x", how=_RATIO, aim=1)
OURS_CALL = Row(what="one material, `render`: ours", unit="ms", how=WALL)
THEIRS_CALL = Row(what="one material, `render`: nanodrr", unit="ms", how=WALL)
OURS_BOTH_CALL = Row(what="`render` and backward, from pose to gradient: ours", unit="ms", how=WALL)
THEIRS_BOTH_CALL = Row(what="`render` and backward, from pose to gradient: nanodrr", unit="ms", how=WALL)
DIFFERENCE = Row(what="nanodrr's image against ours", unit="", how="norm of the difference, relative")

ROWS = (
    OURS, THEIRS, RATIO, OURS_BOTH, THEIRS_BOTH, RATIO_BOTH, OURS_CALL, THEIRS_CALL, OURS_BOTH_CALL, THEIRS_BOTH_CALL, DIFFERENCE,
)  # fmt: skip


def measure(clock: Clock, scene: Scene) -> Iterator[tuple[Row, Figure]]:
    """Yield each row when it is measured; raises XrcoreError where nanodrr is not installed, or does not use its kernel."""
    if not nanodrr.installed():
        raise XrcoreError("nanodrr is not installed: pip install -e '.[peers]'")
    with _also_on_cpu(clock.device):
        yield from _measure(clock, scene)


def _measure(clock: Clock, scene: Scene) -> Iterator[tuple[Row, Figure]]:
    from nanodrr.drr import _triton as theirs

    from xrcore.renderer.cuda import kernel as ours

    device, carm, beam, rounds = clock.device, scene.carm, scene.single_beam, scene.sizes.rounds
    volume = scene.one_material(device)
    project = nanodrr.projector(volume, carm, device=device)
    weights = torch.rand(1, *carm.shape, generator=torch.Generator().manual_seed(0)).to(device)

    def draw(pose: Pose) -> Tensor:
        return render(volume, carm, pose, beam, backend="cuda")

    @torch.no_grad()
    def their_image(pose: Pose) -> Tensor:
        return project(pose)

    area = draw(scene.poses[0])[0] / float(beam.attenuation(volume.materials))
    difference = torch.linalg.norm(their_image(scene.poses[0])[0] - area) / torch.linalg.norm(area)
    yield DIFFERENCE, Figure(value=float(difference))

    def our_gradient(pose: Pose) -> Launch:
        drawn: list[Tensor] = []
        draw_both = launches_of(ours, "render", lambda: drawn.extend(render_with_jacobian(volume, carm, pose, beam, backend="cuda")), 1)
        return together([*draw_both, lambda: torch.einsum("bhw,bhwi->bi", weights, drawn[1])])

    def their_launches(call: Callable[[], Any], count: int) -> Launch:
        return together(launches_of(theirs, "_fused_kernel", call, count))

    kernels: dict[Row, list[Launch]] = {
        OURS: [launches_of(ours, "render", partial(draw, pose), 1)[0] for pose in scene.poses],
        THEIRS: [their_launches(partial(their_image, pose), 1) for pose in scene.poses],
        OURS_BOTH: [our_gradient(pose) for pose in scene.poses],
        THEIRS_BOTH: [their_launches(scenes.with_backward(project, pose, weights), 2) for pose in scene.poses],
    }
    times = kernel_times(clock, {row.what: calls for row, calls in kernels.items()}, rounds)
    for row in kernels:
        yield row, milliseconds(times[row.what])
    for ratio, mine, other in ((RATIO, OURS, THEIRS), (RATIO_BOTH, OURS_BOTH, THEIRS_BOTH)):
        yield ratio, Figure(value=times[mine.what].median / times[other.what].median)
    del kernels

    calls: dict[Row, list[Launch]] = {
        OURS_CALL: [partial(draw, pose) for pose in scene.poses],
        THEIRS_CALL: [partial(their_image, pose) for pose in scene.poses],
        OURS_BOTH_CALL: [scenes.with_backward(draw, pose, weights) for pose in scene.poses],
        THEIRS_BOTH_CALL: [scenes.with_backward(project, pose, weights) for pose in scene.poses],
    }
    times = wall_times(clock, {row.what: these for row, these in calls.items()}, rounds)
    for row in calls:
        yield row, milliseconds(times[row.what])


def _also_on_cpu(device: torch.device) -> AbstractContextManager[Any]:
    """Let nanodrr select its kernel on the CPU too, where Triton's interpreter runs it."""
    if device.type != "cpu":
        return nullcontext()
    from nanodrr.drr import backends

    return patch.dict(backends.DEVICE_BACKENDS, {"cpu": "triton"}, clear=True)
