"""Salehi et al., TMI 2018: a ResNet trained on squared error, then on the geodesic distance of rotations."""

from __future__ import annotations

from typing import ClassVar

import roma
import torch
from jaxtyping import Float
from torch import Tensor, nn

from xrcore.geometry import Pose
from xrcore.learning.methods.base import Method, Prediction
from xrcore.learning.methods.batch import Batch
from xrcore.learning.networks.resnet import SalehiNetwork

_FINE_TUNING = 0.5  # share of the training after which the geodesic distance takes over
_LARGEST_COSINE = 1 - 1e-7  # as the authors clip it
_TO_UNIT = 20.0  # [mm] that count as much as a radian: rotations and translations then balance at errors of about 5 mm


class Salehi(Method):
    """Regress a rotation vector and a translation, at the authors' image size, optimiser and batch (`profile(name, "salehi")`).

    Warm-up, cosine, clipping and averaging are as for all methods. Rotations are those of `Pose.matrix`. Of `Architecture` only `pixels`
    and `normalisation` matter.

    References
    ----------
    Salehi, Khan, Erdogmus, Gholipour, *Real-time deep pose estimation with geodesic loss for image-to-template rigid registration*,
    IEEE TMI 38(2), 2019 (online 2018).
    """

    any_size: ClassVar[bool] = True

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


def geodesic(a: Float[Tensor, "B 3 3"], b: Float[Tensor, "B 3 3"]) -> Float[Tensor, " B"]:
    """Compute the angle between rotations, arccos((tr(a^T b) - 1) / 2); the cosine is clipped short of +-1 for the gradient.

    Parameters
    ----------
    a, b : Float[Tensor, "B 3 3"]
        Rotation matrices.

    Returns
    -------
    Float[Tensor, "B"]
        Angles [rad].
    """
    # tr(a^T b) element by element: autocast would multiply matrices in bfloat16
    cosine = ((a * b).sum((-2, -1)) - 1) / 2
    return torch.arccos(cosine.clamp(-_LARGEST_COSINE, _LARGEST_COSINE))
