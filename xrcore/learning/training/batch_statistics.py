"""BatchNorm's statistics of a network that will be evaluated, measured over training images."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from xrcore._util.device_memory import Portions
from xrcore.learning.methods import Batch, Method
from xrcore.learning.training.evaluation import CHUNK, Evaluator
from xrcore.learning.training.optimisation import half_precision
from xrcore.learning.training.stream import DrrStream

_IMAGES = 512  # at most
_SHARE = 16  # one training image of so many


class BatchStatistics:
    """Measure the means and variances that BatchNorm uses in evaluation, with the weights as they are.

    Those that a training averages lag behind the weights, and are of small batches.

    Parameters
    ----------
    evaluator : Evaluator
        Which renders.
    streams : Mapping[int, DrrStream]
        The training's images, by their side [pixels].
    """

    def __init__(self, evaluator: Evaluator, streams: Mapping[int, DrrStream]) -> None:
        self.evaluator, self.streams = evaluator, streams
        self.method: Method = evaluator.method
        self.portions = Portions("training", least=2)
        self._rendered: dict[int, list[Batch]] = {}

    @torch.no_grad()
    def measure(self, network: nn.Module, side: int) -> None:
        """Replace a network's running statistics.

        Parameters
        ----------
        network : nn.Module
            Put to evaluation. Without BatchNorm nothing is rendered.
        side : int
            Of the images [pixels].
        """
        network.eval()
        norms = [part for part in network.modules() if isinstance(part, _BatchNorm)]
        if not norms:
            return
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the plain mean over all batches
            norm.train()
        settings, device = self.method.settings, self.evaluator.device
        try:
            with torch.autocast(device.type, torch.bfloat16, enabled=half_precision(settings.precision, device)):
                for batch in self._images(side):

                    def forward(part: slice, batch: Batch = batch) -> None:
                        self.method.loss(network, batch[part].to(device), 1.0)

                    self.portions.run(len(batch.images), forward)
        finally:
            for norm, momentum in zip(norms, momenta, strict=True):
                norm.momentum = momentum
                norm.eval()

    def _images(self, side: int) -> list[Batch]:
        if side not in self._rendered:
            settings = self.method.settings
            count = min(_IMAGES, max(settings.batch, settings.images // _SHARE), settings.set_size or _IMAGES)
            count += count % 2  # a single image has no statistics
            if count > CHUNK and count % CHUNK < CHUNK // 2:
                count -= count % CHUNK  # all chunks count alike, and the last would be a small one
            self._rendered[side] = self.evaluator.rendered(self.streams[side], [(0, i) for i in range(count)])
        return self._rendered[side]
