"""Levenberg-Marquardt on the GPU: iterations are queued without GPU-CPU synchronisation.

The same method as `levenberg_marquardt.descend`. There every pose that has converged is left out of the next render; here all
are rendered until the processor hears that all have converged, two iterations late, so that the GPU always has one to go on with.
The six variables are turns [deg] about the isocentre and shifts [mm] along the camera's axes, the same for all poses, so that no
Euler angle is needed on the way.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from xrcore._util.delayed_flag import DelayedFlag
from xrcore._util.devices import on, on_device
from xrcore._util.errors import XrcoreError
from xrcore.geometry import CArm, Pose
from xrcore.registration.events import Events, Step
from xrcore.registration.problem import Problem
from xrcore.registration.similarities.base import NormalEquations
from xrcore.registration.solvers.cuda.normal import normal_tiles
from xrcore.registration.solvers.descent import FIRST_DAMPING, LARGEST_STEP, Descent, level_name
from xrcore.renderer.cuda import render_views, views_of
from xrcore.renderer.packing import padded_voxel_from_world


def descend(problem: Problem, start: Pose, *, iterations: int, tolerance: float, level: int = 0, report: bool = True) -> Events[Descent]:
    """As `levenberg_marquardt.descend`; the result is on the CPU. Reporting synchronises once per iteration."""
    from xrcore.registration.solvers.cuda import step_kernel as kernel

    carm, isocenter = problem.carm, problem.volume.isocenter
    start = Pose(start.numbers.detach().cpu().double())
    batch, basis = len(start), Pose.zero().twists(carm)[0]
    state, log, count = yield from iterate(problem, start, basis, iterations=iterations, tolerance=tolerance, level=level, report=report)
    problem.evaluations += batch * len(log)
    everything = torch.cat([state.flatten(), log.flatten()]).cpu()  # here all is waited for
    ended, log = everything[: state.numel()].view(batch, -1), everything[state.numel() :].view(-1, batch, kernel.LOGGED)

    climbed, values = _climb(log)
    pose, left = _poses(ended[:, kernel.CURRENT : kernel.CURRENT + 12], carm, isocenter, start)
    met, beyond = _poses(climbed, carm, isocenter, start[:1])
    value = ended[:, kernel.VALUE]
    change = torch.linalg.solve(basis, pose.twists(carm))  # of the variables by the six numbers
    gradient = (change.mT @ ended[:, kernel.GRADIENT : kernel.GRADIENT + 6].unsqueeze(-1)).squeeze(-1)
    hessian = change.mT @ ended[:, kernel.HESSIAN : kernel.HESSIAN + 36].view(batch, 6, 6) @ change
    name = level_name(problem)
    steps = [Step(level=level, pose=met[n], similarity=v, level_name=name) for n, v in enumerate(values) if not beyond[n]]
    best = int(value.nan_to_num(nan=-torch.inf).argmax())
    steps[-1] = Step(level=level, pose=pose[best], similarity=float(value[best]), level_name=name)  # with the last small step
    return Descent(pose, NormalEquations(value, gradient, hessian, count), ended[:, kernel.CONVERGED] != 0, left, steps)


def iterate(
    problem: Problem, start: Pose, basis: Float[Tensor, "6 6"], *, iterations: int, tolerance: float, level: int, report: bool
) -> Events[tuple[Float[Tensor, "B s"], Float[Tensor, "n B 14"], float]]:
    """Queue a level's iterations, of variables whose camera-frame twists are the columns of `basis`.

    Returns the state after the last iteration and what each logged, see `step_kernel`, and the normal equations' effective count.
    """
    from xrcore.registration.solvers.cuda import step_kernel as kernel

    volume, carm, device = problem.volume, problem.carm, problem.volume.device
    batch = len(start)
    matrices = start.world_from_camera(carm, volume.isocenter)
    state = torch.zeros(batch, kernel.SIZE, dtype=torch.float64)
    state[:, kernel.CURRENT : kernel.CURRENT + 12] = state[:, kernel.TRIAL : kernel.TRIAL + 12] = matrices[:, :3].reshape(batch, 12)
    state[:, kernel.DAMPING], state[:, kernel.GROWTH] = FIRST_DAMPING, 2.0
    state = on_device(state.numpy(), device)
    views = views_of(volume, carm, matrices)
    columns = on_device(basis.numpy(), device)
    twists = columns.float().expand(batch, 6, 6).contiguous()
    voxels = on_device(padded_voxel_from_world(volume)[:3].numpy(), device)
    log = torch.empty(iterations + 1, batch, kernel.LOGGED, dtype=torch.float64, device=device)
    flag = DelayedFlag(device)

    def linearised(part: slice) -> tuple[Tensor, float]:
        image, jacobian = render_views(volume, carm, views[part], twists[part], problem.beam)
        assert jacobian is not None
        return normal_tiles(problem.fitted, image, jacobian)

    for i in range(iterations + 1):
        tiles, (count, *_) = zip(*problem.in_portions(batch, linearised), strict=True)
        normal = tiles[0] if len(tiles) == 1 else torch.cat(tiles)
        with on(device):
            kernel.step[(batch,)](
                state,
                normal,
                columns,
                voxels,
                views,
                log[i],
                normal.shape[1],
                carm.source_to_isocenter,
                tolerance,
                *LARGEST_STEP,
                FIRST=i == 0,
                LAST=i == iterations,
                num_warps=1,
                enable_fp_fusion=True,
            )
            converged = flag.all(state[:, kernel.CONVERGED])
        if report and i > 0:
            climbed, values = _climb(log[: i + 1].cpu())
            met, beyond = _poses(climbed[-1:], carm, volume.isocenter, start[:1])
            if not beyond.any():
                yield Step(level=level, pose=met, similarity=values[-1], level_name=level_name(problem))
        if converged:
            break
    return state, log[: i + 1], count


def _poses(matrices: Float[Tensor, "n 12"], carm: CArm, isocenter: Tensor, instead: Pose) -> tuple[Pose, Bool[Tensor, " n"]]:
    """The poses of transforms, and which lie beyond the bounds of poses: in their place is another, one for all or one for each."""
    last = matrices.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(len(matrices), 1, 4)
    whole = torch.cat([matrices.reshape(-1, 3, 4), last], 1)
    try:
        return Pose.from_world_from_camera(whole, carm, isocenter), torch.zeros(len(matrices), dtype=torch.bool)
    except XrcoreError:
        if len(matrices) == 1:
            return instead, torch.ones(1, dtype=torch.bool)
    parts = [_poses(row[None], carm, isocenter, instead[min(i, len(instead) - 1)]) for i, row in enumerate(matrices)]
    poses, beyond = zip(*parts, strict=True)
    return Pose.cat(poses), torch.cat(beyond)


def _climb(log: Float[Tensor, "n B 14"]) -> tuple[Float[Tensor, "m 12"], list[float]]:
    """The batch's best pose after each iteration that improved it, and its similarity."""
    values, indices = log[:, :, 0].nan_to_num(nan=-math.inf).max(1)
    found = [0]
    for i in range(1, len(log)):
        if values[i] > values[found[-1]]:
            found.append(i)
    return log[found, indices[found], 1:13], values[found].tolist()
