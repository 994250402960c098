"""PSSS, patient-specific self-supervised (Zhang et al., MICCAI 2023): regression with a regularised autoencoder and attention."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from xrcore._util.threads import single_torch_thread
from xrcore.learning.methods.base import Method, Prediction, Stream, unwrapped
from xrcore.learning.methods.batch import Batch
from xrcore.learning.methods.losses import edge_image, pose_loss, structure_loss
from xrcore.learning.methods.polarity import channel_statistics, discriminant
from xrcore.learning.networks.patient_network import Output, PatientNetwork

_POLARITY_SET, _POLARITY_IMAGES, _CHUNK = 1, 256, 8  # the set of the validation's poses that nothing else uses


class Psss(Method):
    """The paper's method: `PatientNetwork`, trained on the pose loss and the structure-aware loss.

    References
    ----------
    Zhang et al., *A Patient-Specific Self-supervised Model for Automatic X-Ray/CT Registration*, MICCAI 2023.
    """

    any_size: ClassVar[bool] = True
    measured: ClassVar[tuple[str, ...]] = ("polarity",)

    def network(self) -> nn.Module:
        return PatientNetwork(self.settings.architecture, polarity=self.settings.clinical)

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
        if not self.settings.clinical:
            output: Output = network(images, attention=attention)
            return Prediction(self._numbers(output), output.attention)
        # a file may show bone dark
        net = unwrapped(network, PatientNetwork)
        features = net.encode(torch.cat([images, self.inputs(_negative(batch))]))
        bright, dark = (channel_statistics(features[0]) * net.polarity).sum(1).split(len(images))
        chosen = torch.arange(len(images), device=images.device) + len(images) * (dark > bright)
        output = net.regress(*(part[chosen] for part in features), attention=attention)
        return Prediction(self._numbers(output), output.attention)

    @torch.no_grad()
    def finish(self, averaged: nn.Module, stream: Stream) -> None:
        if not self.settings.clinical:
            return
        net = unwrapped(averaged, PatientNetwork).eval()
        device = next(net.parameters()).device
        seen: list[tuple[Tensor, Tensor]] = []
        for first in range(0, _POLARITY_IMAGES, _CHUNK):
            with single_torch_thread():
                batch = stream.batch([(_POLARITY_SET, i) for i in range(first, first + _CHUNK)]).to(device)
            bright, dark = (channel_statistics(net.encode(self.inputs(b))[0]) for b in (batch, _negative(batch)))
            seen.append((bright, dark))
        net.polarity.copy_(discriminant(*(torch.cat(part) for part in zip(*seen, strict=True))))

    def _numbers(self, output: Output) -> Tensor:
        return output.pose * torch.tensor(self.settings.limits, dtype=output.pose.dtype, device=output.pose.device)


def _negative(batch: Batch) -> Batch:
    return replace(batch, images=-batch.images)
