"""The pre-activation ResNet-18 of Salehi et al. (He et al., Identity mappings in deep residual networks, ECCV 2016)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

_WIDTHS = (64, 128, 256, 512)


class PreActivationBlock(nn.Module):
    """norm - ReLU - conv, twice; the shortcut leaves after the first activation where the shape changes.

    Parameters
    ----------
    inward, width : int
        Channels in and out.
    stride : int
        Of the first convolution.
    """

    def __init__(self, inward: int, width: int, stride: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(inward), nn.BatchNorm2d(width)
        self.conv1 = nn.Conv2d(inward, width, 3, stride, padding=1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.shortcut = nn.Conv2d(inward, width, 1, stride, bias=False) if stride > 1 or inward != width else None

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        """The block's output."""
        active = F.relu(self.norm1(x))
        kept = x if self.shortcut is None else self.shortcut(active)
        return kept + self.conv2(F.relu(self.norm2(self.conv1(active))))


class SalehiNetwork(nn.Module):
    """Image -> ResNet-18 -> global average -> rotation vector, pi tanh, and translation.

    The authors regress rotations alone; the translation's three outputs are an addition of this project.

    References
    ----------
    Salehi, Khan, Erdogmus, Gholipour, *Real-time deep pose estimation with geodesic loss for image-to-template rigid registration*,
    IEEE TMI 38(2), 2019 (online 2018).
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, _WIDTHS[0], 7, stride=2, padding=3, bias=False)
        blocks: list[nn.Module] = []
        inward = _WIDTHS[0]
        for index, width in enumerate(_WIDTHS):
            blocks += [PreActivationBlock(inward, width, 1 if index == 0 else 2), PreActivationBlock(width, width, 1)]
            inward = width
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.BatchNorm2d(inward)
        self.rotation, self.translation = nn.Linear(inward, 3), nn.Linear(inward, 3)
        # small first answers: far out, tanh is flat and its gradient nothing
        nn.init.normal_(self.rotation.weight, std=1e-3)
        nn.init.zeros_(self.rotation.bias)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Float[Tensor, "B 1 H W"]) -> tuple[Float[Tensor, "B 3"], Float[Tensor, "B 3"]]:
        """Predict rotation and translation.

        Parameters
        ----------
        images : Float[Tensor, "B 1 H W"]
            Standardised images of any size.

        Returns
        -------
        tuple
            Rotation vectors (B, 3) [rad], and translations (B, 3) as shares of their ranges.
        """
        x = F.max_pool2d(self.stem(images.contiguous(memory_format=torch.channels_last)), 3, 2, 1)
        x = F.relu(self.norm(self.blocks(x))).mean((2, 3))
        return math.pi * torch.tanh(self.rotation(x).float()), self.translation(x).float()
