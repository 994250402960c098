"""PSSS, patient-specific self-supervised (Zhang et al., MICCAI 2023): regression with a regularised autoencoder and attention."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from xrcore.learning.methods.base import Method, Prediction
from xrcore.learning.methods.batch import Batch
from xrcore.learning.methods.losses import agreement, edge_image, pose_loss, structure_loss
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
        output: Output = network(images, edges=True)
        pose = pose_loss(self._numbers(output), batch.numbers)
        if output.edges is None:
            return pose, {"pose": pose.detach()}
        # the patient's edges: not those of the collimator, of text, tools and noise
        plain = images if batch.plain is None else batch.plain[:, None]
        edges = structure_loss(output.edges, edge_image(plain, self.settings.architecture.edge_stride))
        return pose + self.settings.edge_weight * edges, {"pose": pose.detach(), "edges": edges.detach()}

    def predict(self, network: nn.Module, batch: Batch, *, attention: bool = False) -> Prediction:
        images = self.inputs(batch)
        if not (self.settings.clinical and self.settings.architecture.autoencoder):
            output: Output = network(images, attention=attention)
            return Prediction(self._numbers(output), output.attention)
        # a file may show bone dark: that polarity is taken whose decoded edges are more like the image's own
        count, stride = len(images), self.settings.architecture.edge_stride
        negatives = self.inputs(replace(batch, images=-batch.images))
        output = network(torch.cat([images, negatives]), attention=attention, edges=True)
        assert output.edges is not None
        seen = edge_image(images, stride)
        inside = F.avg_pool2d(_inner(batch.masks[:, None]), stride)
        alike = [agreement(edges, seen, inside) for edges in output.edges.split(count)]
        chosen = torch.arange(count, device=images.device) + count * (alike[1] > alike[0])
        weights = None if output.attention is None else output.attention[chosen]
        return Prediction(self._numbers(output)[chosen], weights)

    def _numbers(self, output: Output) -> Tensor:
        return output.pose * torch.tensor(self.settings.limits, dtype=output.pose.dtype, device=output.pose.device)


def _inner(masks: Bool[Tensor, "B 1 H W"]) -> Float[Tensor, "B 1 H W"]:
    """1 where the masks hold the whole neighbourhood of two pixels, whose edge is the image's own."""
    return -F.max_pool2d(-masks.float(), 5, stride=1, padding=2)
