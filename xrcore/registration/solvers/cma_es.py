"""CMA-ES, a derivative-free optimiser, used in earlier work on 2D/3D registration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from xrcore._util.logs import logger
from xrcore.geometry import Pose
from xrcore.registration.events import Events, StopReason
from xrcore.registration.joint_problem import AnyProblem
from xrcore.registration.solvers.objective import Objective, Stop
from xrcore.registration.solvers.outcome import Outcome
from xrcore.registration.solvers.single_level import SingleLevelSettings


@dataclass(frozen=True, kw_only=True)
class CMAES(SingleLevelSettings):
    """CMA-ES on rigid motion about the start: each iteration draws a population and renders it as one batch.

    Parameters
    ----------
    pixels : int
        Along the X-ray's longer side, at least 8.
    spacing : float
        Voxel size [mm].
    similarity : str or Similarity
        What is climbed: a name of `similarities.SIMILARITIES`, or an object.
    rotation_step, translation_step : float
        Standard deviations of the first population about the start [deg], [mm].
    iterations : int
        Populations, at most.
    loss_target : float
        It ends when 1 - similarity falls to this, where 1 is the similarity's largest value.
    tolerance : float
        It has converged when the population is smaller than this, in deg and in mm.
    seed : int
        Of the draws; numpy's global generator is left alone.

    Raises
    ------
    XrcoreError
        If a parameter makes no sense.

    References
    ----------
    Hansen, "The CMA evolution strategy: a tutorial", arXiv:1604.00772; for 2D/3D registration Otake et al., "Intraoperative
    image-based multiview 2D/3D registration for image-guided orthopaedic surgery", IEEE TMI 2012.
    """

    method: ClassVar[str] = "cma-es"
    pixels: int = 64
    spacing: float = 8.0
    rotation_step: float = 5.0
    translation_step: float = 10.0
    iterations: int = 150
    tolerance: float = 0.05
    seed: int = 0

    def search(self, problem: AnyProblem, start: Pose, level: int = 0) -> Events[Outcome]:
        import cma  # takes seconds to import

        objective = Objective(problem, start, self, level)
        generator = np.random.default_rng(self.seed)
        options = {
            "randn": lambda *shape: generator.standard_normal(shape),  # or else cma would seed the global generator
            "maxiter": self.iterations,
            "tolx": self.tolerance / float(objective.scale.max()),
            "verbose": -9,
            "signals_filename": "",  # or else cma would read options from the working directory
        }
        strategy = cma.CMAEvolutionStrategy(np.zeros(6), 1.0, options)

        def losses(x: Float[ndarray, "B 6"]) -> list[float]:
            return (1 - objective.value(objective.pose(torch.from_numpy(x)))).tolist()

        try:
            losses(np.zeros((1, 6)))
            while not strategy.stop():
                population = strategy.ask()
                strategy.tell(population, losses(np.stack(population)))
                yield objective.steps[-1]
            reason = StopReason.FLAT if objective.flat else _reason(set(strategy.stop()))
        except Stop as stop:
            reason = stop.reason
        return objective.outcome(reason)


def _reason(conditions: set[str]) -> StopReason:
    if "maxiter" in conditions:
        return StopReason.ITERATIONS
    if "tolx" in conditions:
        return StopReason.SMALL_STEP
    logger.debug("CMA-ES ended by %s", ", ".join(sorted(conditions)))
    return StopReason.NO_PROGRESS
