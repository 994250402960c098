"""Evaluation: how well a network predicts the poses of a set of DRRs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from xrcore._util.device_memory import Portions
from xrcore._util.threads import single_torch_thread
from xrcore.ct.volume import Volume
from xrcore.geometry import CArm, Pose
from xrcore.geometry.pose import within_bounds
from xrcore.learning.methods import Batch, Method
from xrcore.learning.training.optimisation import half_precision
from xrcore.learning.training.stream import DrrStream
from xrcore.metrics import mtre, pose_error, success_rate

CHUNK = 64  # images rendered or predicted at once


@dataclass(frozen=True)
class Errors:
    """Errors on a set of DRRs.

    Parameters
    ----------
    mtre, median : float
        Mean and median of the target registration error [mm]; infinite where the network gave NaN.
    success : float
        Share of the images below 10 mm [%].
    spread : tuple of float
        95th percentile of each of the six numbers' errors [deg, mm].
    """

    mtre: float
    median: float
    success: float
    spread: tuple[float, ...]


class Evaluator:
    """Render sets of DRRs and measure a network on them.

    Parameters
    ----------
    method : Method
        Which predicts.
    volume : Volume
        The CT, whose surface points are the landmarks.
    carm : CArm
        The geometry.
    device : torch.device
        Where the network is.
    """

    def __init__(self, method: Method, volume: Volume, carm: CArm, device: torch.device) -> None:
        self.method, self.carm, self.device = method, carm, device
        self.landmarks, self.isocenter = volume.surface_points(), volume.isocenter
        self.portions = Portions("training")

    def rendered(self, stream: DrrStream, samples: Sequence[tuple[int, int]]) -> list[Batch]:
        """Render samples, as many at once as memory allows.

        Parameters
        ----------
        stream : DrrStream
            Theirs.
        samples : Sequence[tuple of int]
            (set, index) of each.

        Returns
        -------
        list of Batch
            All of them.
        """
        batches = []
        with single_torch_thread():
            for first in range(0, len(samples), CHUNK):
                chunk = samples[first : first + CHUNK]
                batches += self.portions.run(len(chunk), lambda part, chunk=chunk: stream.batch(chunk[part]))  # type: ignore[misc]
        return batches

    @torch.no_grad()
    def errors(self, network: nn.Module, batches: Sequence[Batch]) -> Errors:
        """Measure a network.

        Parameters
        ----------
        network : nn.Module
            Put to evaluation.
        batches : Sequence[Batch]
            With their true poses.

        Returns
        -------
        Errors
            Over all of them.
        """
        network.eval()

        def predicted(batch: Batch) -> list[Tensor]:
            def of(part: slice) -> Tensor:
                return self.method.predict(network, batch[part].to(self.device)).numbers.double().cpu()

            return self.portions.run(len(batch.images), of)

        half = half_precision(self.method.settings.precision, self.device)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
            numbers = torch.cat([part for batch in batches for part in predicted(batch)])
        if not within_bounds(numbers):
            return Errors(math.inf, math.inf, 0.0, self.method.settings.limits)
        truth = Pose(torch.cat([batch.numbers for batch in batches]).double().cpu())
        errors = mtre(Pose(numbers), truth, self.landmarks, self.carm, self.isocenter)
        spread = torch.quantile(pose_error(Pose(numbers), truth), 0.95, dim=0)
        return Errors(float(errors.mean()), float(errors.median()), success_rate(errors), tuple(round(v, 4) for v in spread.tolist()))
