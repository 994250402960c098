"""EfficientNet's block: the library's layers, and a forward pass that learns fast on a CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from efficientnet_pytorch.model import MBConvBlock
from efficientnet_pytorch.utils import drop_connect
from jaxtyping import Float
from torch import Tensor, nn

from xrcore._util.code_cache import cached_njit
from xrcore.learning.networks.batch_norm import norm_silu
from xrcore.learning.networks.depthwise import DepthwiseConvolution
from xrcore.learning.networks.on_cpu import in_parts, takes_kernels


class MobileBlock(nn.Module):
    """Expansion, depthwise convolution, squeeze and excitation, projection; a shortcut where the shape stays.

    Parameters
    ----------
    block : MBConvBlock
        The library's, whose layers are taken over, and their names.

    References
    ----------
    Sandler et al., *MobileNetV2: inverted residuals and linear bottlenecks*, CVPR 2018.
    Tan, Le, *EfficientNet: rethinking model scaling for convolutional neural networks*, ICML 2019.
    """

    _expand_conv: nn.Conv2d
    _se_reduce: nn.Conv2d
    _se_expand: nn.Conv2d
    _project_conv: nn.Conv2d
    _bn0: nn.BatchNorm2d
    _bn1: nn.BatchNorm2d
    _bn2: nn.BatchNorm2d

    def __init__(self, block: MBConvBlock) -> None:
        super().__init__()
        arguments = block._block_args
        self.expands = arguments.expand_ratio != 1
        self.channels = arguments.output_filters
        self.shortcut = block.id_skip and arguments.stride == 1 and arguments.input_filters == arguments.output_filters
        for name, layer in block.named_children():
            if name != "_swish":
                self.add_module(name, layer)
        self._depthwise_conv = DepthwiseConvolution(block._depthwise_conv)

    def forward(self, x: Float[Tensor, "B C H W"], drop: float = 0.0) -> Float[Tensor, "B D h w"]:
        """Return the block's output.

        Parameters
        ----------
        x : Float[Tensor, "B C H W"]
            Features.
        drop : float
            Probability that an image takes the shortcut alone, while training.

        Returns
        -------
        Float[Tensor, "B D h w"]
            Features.
        """
        y = norm_silu(self._bn0, pointwise(self._expand_conv, x)) if self.expands else x
        y = norm_silu(self._bn1, self._depthwise_conv(y))
        y = self._bn2(pointwise(self._project_conv, self._excited(y)))
        if not self.shortcut:
            return y
        return (drop_connect(y, p=drop, training=self.training) if drop else y) + x

    def _excited(self, x: Tensor) -> Tensor:
        kernels = takes_kernels(x) and torch.is_grad_enabled()
        x, mean = _Mean.apply(x) if kernels else (x, x.mean((2, 3), keepdim=True))
        factor = torch.sigmoid(self._se_expand(F.silu(self._se_reduce(mean))))
        return _Scale.apply(x, factor) if kernels else x * factor


def pointwise(convolution: nn.Conv2d, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D H W"]:
    """Compute a 1 x 1 convolution; in float32 on a CPU as a matrix product, which is faster than torch's own there.

    Parameters
    ----------
    convolution : nn.Conv2d
        Of 1 x 1 pixels, stride 1 and one group.
    x : Float[Tensor, "B C H W"]
        Features, in "channels last" memory.

    Returns
    -------
    Float[Tensor, "B D H W"]
        The convolution's output.
    """
    if not takes_kernels(x):
        return convolution(x)
    return F.linear(x.permute(0, 2, 3, 1), convolution.weight[:, :, 0, 0], convolution.bias).permute(0, 3, 1, 2)


class _Mean(torch.autograd.Function):
    """Features and the means of their channels; their gradients are added up in one pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.view_as(x), x.mean((2, 3), keepdim=True)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, of_x: Tensor, of_mean: Tensor) -> Tensor:
        return of_x + of_mean / (of_x.shape[2] * of_x.shape[3])


class _Scale(torch.autograd.Function):
    """Features times a factor for each image and channel."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: Tensor) -> Tensor:
        ctx.save_for_backward(x, factor)
        return x * factor

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        x, factor = ctx.saved_tensors
        of_x, of_factor = torch.empty_like(x, memory_format=torch.channels_last), torch.empty_like(factor)
        given, features, out = (_by_image(t) for t in (grad, x, of_x))
        factors, sums = (t.detach().flatten(1).numpy() for t in (factor, of_factor))
        in_parts(len(x), lambda part: _scale_gradient(given[part], features[part], factors[part], out[part], sums[part]))
        return of_x, of_factor


def _by_image(x: Tensor) -> np.ndarray:
    """(B, H W, C), the same memory where it is "channels last"."""
    return x.detach().contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1).flatten(1, 2).numpy()


@cached_njit(nogil=True, fastmath={"contract", "reassoc"})
def _scale_gradient(grad, features, factors, out, sums):  # type: ignore[no-untyped-def]
    """Both gradients of features (B, H W, C) times factors (B, C)."""
    for b in range(len(grad)):
        f, total = factors[b], sums[b]
        total[:] = 0
        for r in range(grad.shape[1]):
            for c in range(len(f)):
                g = grad[b, r, c]
                out[b, r, c] = g * f[c]
                total[c] += g * features[b, r, c]
