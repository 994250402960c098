"""PSSS, patient-specific self-supervised (Zhang et al., MICCAI 2023): regression with a regularised autoencoder and attention."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from xrcore.learning.methods.base import Method, Prediction
from xrcore.learning.methods.batch import Batch
from xrcore.learning.methods.losses import edge_image, pose_loss, structure_loss
from xrcore.learning.networks.patient_network import Output, PatientNetwork


class Psss(Method):
    """The paper's method: `PatientNetwork`, trained on the pose loss and the structure-aware loss.

    References
    ----------
    Zhang et al., *A Patient-Specific Self-supervised Model for Automatic X-Ray/CT Registration*, MICCAI 2023.
    """

    any_size: ClassVar[bool] = True

    def network(self) -> nn.Module:
        return PatientNetwork(self.settings.architecture)

    def loss(self, network: nn.Module, batch: Batch, done: float) -> tuple[Tensor, dict[str, Tensor]]:
        images = self.inputs(batch)
        output: Output = network(images)
        pose = pose_loss(self._numbers(output), batch.numbers)
        if output.edges is None:
            return pose, {"pose": pose.detach()}
        # the patient's edges: not those of the collimator, of text, tools and noise
        plain = images if batch.plain is None else batch.plain[:, None]
        edges = structure_loss(output.edges, edge_image(plain, self.settings.architecture.edge_stride))
        return pose + self.settings.edge_weight * edges, {"pose": pose.detach(), "edges": edges.detach()}

    def predict(self, network: nn.Module, batch: Batch, *, attention: bool = False) -> Prediction:
        output: Output = network(self.inputs(batch), attention=attention)
        return Prediction(self._numbers(output), output.attention)

    def _numbers(self, output: Output) -> Tensor:
        return output.pose * torch.tensor(self.settings.limits, dtype=output.pose.dtype, device=output.pose.device)
