"""Count kernel launches per refinement iteration: our Triton kernels and torch operations.

A GPU renders small images faster than the CPU can queue the work, so this number decides how long a level takes. Counted, not
timed: the kernels are not launched, and no GPU is needed.

    pip install -c constraints.txt -e '.[gpu]'
    python benchmarks/gpu_launches.py [--out results/gpu_launches]
"""

# ruff: noqa: E402
from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

from common.report import RESULTS, needs_triton, out_path, publish

needs_triton()

from common import scenes
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from xrcore.beam import Beam
from xrcore.geometry import Pose
from xrcore.registration.events import finish
from xrcore.registration.problem import Problem
from xrcore.registration.settings import PYRAMID
from xrcore.registration.solvers import cuda
from xrcore.registration.solvers.cuda import normal, normal_kernel, step_kernel
from xrcore.renderer.cuda import kernel as renderer

# allocate or alias memory without computing
_SETS_ASIDE = ("_unsafe_view", "detach", "empty", "empty_like", "empty_strided", "new_empty")
_KERNELS = ((renderer, "render"), (step_kernel, "step"), (normal_kernel, "sums"), (normal_kernel, "standardised"))


class _Operations(TorchDispatchMode):
    """Counts torch operations; a view of the same memory is none."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += not function.is_view and function.overloadpacket.__name__ not in _SETS_ASIDE
        return function(*args, **(kwargs or {}))


class Unlaunched:
    """Replaces a kernel: counts its launches and computes nothing."""

    def __init__(self) -> None:
        self.count = 0

    def __getitem__(self, grid: Any) -> Callable[..., None]:
        return self._launch

    def _launch(self, *arguments: Any, **options: Any) -> None:
        self.count += 1


def count_launches(problem: Problem, starts: int, iterations: int) -> tuple[int, int]:
    """Number of kernel launches and torch operations of a level's iterations."""
    unlaunched, operations = Unlaunched(), _Operations()

    def asked(flag: cuda.DelayedFlag, flags: Tensor) -> bool:
        operations.count += 2  # flags that do not lie side by side are gathered, then copied
        return False

    with ExitStack() as stack:
        stack.enter_context(patch.object(cuda.DelayedFlag, "all", asked))
        for module, name in _KERNELS:
            stack.enter_context(patch.object(module, name, unlaunched))
        stack.enter_context(operations)
        start, basis = Pose.cat([Pose()] * starts), Pose.zero().twists(problem.carm)[0]
        finish(cuda.iterate(problem, start, basis, iterations=iterations, tolerance=0.1, level=0, report=False))
    return unlaunched.count, operations.count


def per_iteration(problem: Problem, starts: int) -> tuple[int, int]:
    """Kernel launches and torch operations of each iteration after the first."""
    count_launches(problem, starts, 1)  # prepares what later descents find
    (kernels, operations), (more_kernels, more_operations) = (count_launches(problem, starts, n) for n in (1, 3))
    return (more_kernels - kernels) // 2, (more_operations - operations) // 2


def table() -> list[dict[str, Any]]:
    """One row per level of the default registration, also with the normal equations in torch operations."""
    volume, xray = scenes.body(4.0), scenes.radiograph(scenes.body(4.0), PYRAMID[-1].pixels)
    rows = []
    for level in PYRAMID:
        problem = Problem.at(level, xray, volume, Beam())
        kernels, operations = per_iteration(problem, starts=2)
        with patch.object(normal, "StandardisedFit", ()):  # nothing is one
            own_kernels, own_operations = per_iteration(problem, starts=2)
        rows.append(
            {
                "pixels": level.pixels,
                "similarity": level.similarity,
                "kernels": kernels,
                "torch operations": operations,
                "in all": kernels + operations,
                "in all, by torch's own": own_kernels + own_operations,
                "iterations at most": level.iterations,
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=out_path, default=RESULTS / "gpu_launches")
    publish(parser.parse_args().out, table())


if __name__ == "__main__":
    main()
