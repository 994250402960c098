"""Another reading of the paper's parts: regression by a TransPoseNet-like network, the work that the released loss comes from."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from xrcore.learning.methods.base import Method, Prediction
from xrcore.learning.methods.batch import Batch
from xrcore.learning.methods.losses import pose_loss
from xrcore.learning.networks.pose_transformer import PoseTransformer


class TransPoseNetLike(Method):
    """Train `PoseTransformer` on the pose loss, by that work's optimiser, batch and decay.

    References
    ----------
    Shavit, Ferens, Keller, *Paying attention to activation maps in camera pose regression*, arXiv 2103.11477, 2021.
    """

    defaults: ClassVar[dict[str, object]] = {
        "dropout": 0.1,
        "batch": 8,
        "optimiser": "adam",
        "learning_rate": 1e-4,
        "weight_decay": 1e-4,
        "decay": "step",
    }

    def network(self) -> nn.Module:
        return PoseTransformer(self.settings.architecture)

    def loss(self, network: nn.Module, batch: Batch, done: float) -> tuple[Tensor, dict[str, Tensor]]:
        shares, _ = network(self.inputs(batch))
        loss = pose_loss(shares * self._ranges(shares), batch.numbers)
        return loss, {"pose": loss.detach()}

    def predict(self, network: nn.Module, batch: Batch, *, attention: bool = False) -> Prediction:
        shares, weights = network(self.inputs(batch), attention=attention)
        return Prediction(shares * self._ranges(shares), weights)

    def _ranges(self, like: Tensor) -> Tensor:
        return torch.tensor(self.settings.limits, dtype=like.dtype, device=like.device)
