"""Salehi et al., TMI 2018: a ResNet, trained on squares, then on the geodesic distance of rotations."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import roma
import torch
from torch import Tensor, nn

from xrcore.geometry import Pose
from xrcore.learning.methods.base import Method, Prediction
from xrcore.learning.networks.resnet import SalehiNetwork

if TYPE_CHECKING:
    from xrcore.learning.training.stream import Batch

_FINE_TUNING = 0.5  # share of the training after which the geodesic distance takes over
_LARGEST_COSINE = 1 - 1e-7  # as the authors clip it
_TO_UNIT = 100.0  # [mm] that count as much as a radian


class Salehi(Method):
    """The authors' image size, optimiser and batch, by `profile(name, "salehi")`; warm-up, cosine, clipping and averaging are as for all.

    Rotations are those of `Pose.matrix`. Of `Architecture` only pixels and normalisation matter.
    """

    defaults: ClassVar[dict[str, object]] = {
        "pixels": 120,
        "batch": 32,
        "optimiser": "sgd",
        "learning_rate": 1e-3,
        "weight_decay": 0.0,
        "precision": "float32",
    }

    def network(self) -> nn.Module:
        return SalehiNetwork()

    def loss(self, network: nn.Module, batch: Batch, done: float) -> tuple[Tensor, dict[str, Tensor]]:
        rotvec, translation = network(self.inputs(batch))
        truth = Pose(batch.numbers).matrix().float()
        translations = ((translation * self._ranges(translation) - truth[:, :3, 3]) / _TO_UNIT).square().mean()
        if done < _FINE_TUNING:
            rotations = (rotvec - roma.rotmat_to_rotvec(truth[:, :3, :3])).square().mean()
        else:
            rotations = geodesic(roma.rotvec_to_rotmat(rotvec), truth[:, :3, :3]).mean()
        return rotations + translations, {"rotation": rotations.detach(), "translation": translations.detach()}

    def predict(self, network: nn.Module, batch: Batch, *, attention: bool = False) -> Prediction:
        rotvec, translation = network(self.inputs(batch))
        matrix = torch.eye(4, dtype=torch.float64).repeat(len(rotvec), 1, 1)
        matrix[:, :3, :3] = roma.rotvec_to_rotmat(rotvec.double()).cpu()
        matrix[:, :3, 3] = (translation * self._ranges(translation)).double().cpu()
        return Prediction(Pose.from_matrix(matrix).numbers)

    def _ranges(self, like: Tensor) -> Tensor:
        return torch.tensor(self.settings.translation, dtype=like.dtype, device=like.device)


def geodesic(a: Tensor, b: Tensor) -> Tensor:
    """Angle [rad] between rotation matrices (B, 3, 3), arccos((tr(a^T b) - 1) / 2); the cosine is clipped short of +-1 for the gradient."""
    # tr(a^T b) element by element: autocast would multiply matrices in bfloat16
    cosine = ((a * b).sum((-2, -1)) - 1) / 2
    return torch.arccos(cosine.clamp(-_LARGEST_COSINE, _LARGEST_COSINE))
