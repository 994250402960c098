"""Depthwise convolution whose backward pass on a CPU costs about what its forward pass does.

For 5 x 5 kernels and for strides of 2, PyTorch's own takes 4 to 20 times as long (torch 2.13, oneDNN, bfloat16), and most of the
time of training an EfficientNet. Here the gradient of the input is another depthwise convolution, and the gradient of the
weights one pass over the pixels with the channels innermost.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from xrcore._util.code_cache import cached_njit


def replace_depthwise(network: nn.Module) -> nn.Module:
    """Replace, in place, the depthwise convolutions for which the backward pass of this module is the faster one.

    Parameters
    ----------
    network : nn.Module
        Any network; names, values and gradients of its parameters stay the same.

    Returns
    -------
    nn.Module
        The same network.
    """
    for name, child in network.named_children():
        if isinstance(child, nn.Conv2d) and _is_faster_here(child):
            setattr(network, name, DepthwiseConvolution(child))
        else:
            replace_depthwise(child)
    return network


def _is_faster_here(c: nn.Conv2d) -> bool:
    depthwise = c.groups == c.in_channels == c.out_channels > 1 and c.bias is None
    plain = c.dilation == (1, 1) and c.padding_mode == "zeros" and not isinstance(c.padding, str)
    square = len(set(c.kernel_size)) == len(set(c.stride)) == len(set(c.padding)) == 1
    return depthwise and plain and square and (c.kernel_size[0] >= 5 or c.stride[0] > 1)


class DepthwiseConvolution(nn.Module):
    """Compute a convolution by this module on the CPU, and by torch elsewhere; its parameters keep their names.

    Parameters
    ----------
    convolution : nn.Conv2d
        Depthwise, without bias and dilation, padded by zeros; its weight is shared.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.weight = convolution.weight
        self.stride = convolution.stride[0]
        # efficientnet-pytorch pads as TensorFlow does, by a layer of its own
        self.pad = getattr(convolution, "static_padding", nn.Identity())
        self.padding = int(convolution.padding[0])

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C h w"]:
        """The convolution's output."""
        x = self.pad(x)
        if self.padding:
            x = F.pad(x, (self.padding,) * 4)
        weight = self.weight
        if x.device.type != "cpu" or not torch.is_grad_enabled():
            return F.conv2d(x, weight, None, self.stride, groups=len(weight))
        if torch.is_autocast_enabled("cpu"):
            kind = torch.get_autocast_dtype("cpu")
            x, weight = x.to(kind), weight.to(kind)
        return _DepthwiseFunction.apply(x, weight, self.stride)


class _DepthwiseFunction(torch.autograd.Function):
    """Depthwise convolution without padding."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        return F.conv2d(x, weight, None, stride, groups=x.shape[1])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor, None]:
        x, weight = ctx.saved_tensors
        grad = grad.contiguous(memory_format=torch.channels_last)
        input_gradient = _input_gradient(grad, weight, ctx.stride, x.shape) if ctx.needs_input_grad[0] else None
        return input_gradient, _weight_gradient(grad, x, ctx.stride, weight), None


def _input_gradient(grad: Tensor, weight: Tensor, stride: int, shape: torch.Size) -> Tensor:
    """Zeros between the gradients undo the stride; then the same convolution with the kernel rotated by 180 degrees."""
    kernel = weight.shape[-1]
    rows, cols = shape[-2:]
    spread = torch.zeros(
        (*grad.shape[:2], rows + kernel - 1, cols + kernel - 1), dtype=grad.dtype
    ).contiguous(memory_format=torch.channels_last)  # fmt: skip
    far = [kernel - 1 + stride * (n - 1) + 1 for n in grad.shape[2:]]
    spread[:, :, kernel - 1 : far[0] : stride, kernel - 1 : far[1] : stride] = grad
    return F.conv2d(spread, weight.flip(-1, -2).contiguous(), groups=grad.shape[1])


def _weight_gradient(grad: Tensor, x: Tensor, stride: int, weight: Tensor) -> Tensor:
    kernel = weight.shape[-1]
    g, pixels = (t.float().permute(0, 2, 3, 1).contiguous().numpy() for t in (grad, x))
    # parts by their number, not by who is free: the sum is the same each time
    parts = np.array_split(np.arange(len(g)), min(torch.get_num_threads(), len(g)))
    sums = [np.zeros((kernel, kernel, g.shape[3]), dtype=np.float32) for _ in parts]
    with ThreadPoolExecutor(len(parts)) as pool:
        tasks = [
            pool.submit(_correlate, g[p[0] : p[-1] + 1], pixels[p[0] : p[-1] + 1], stride, s) for p, s in zip(parts, sums, strict=True)
        ]
        for task in tasks:
            task.result()
    return torch.from_numpy(sum(sums)).permute(2, 0, 1)[:, None].to(weight.dtype)  # type: ignore[arg-type]


@cached_njit(nogil=True, fastmath={"contract", "reassoc"})
def _correlate(grad, pixels, stride, out):  # type: ignore[no-untyped-def]
    """out[i, j, c] += sum over images and pixels of grad[b, y, x, c] * pixels[b, y stride + i, x stride + j, c]."""
    images, rows, cols, channels = grad.shape
    kernel = out.shape[0]
    for b in range(images):
        for y in range(rows):
            for i in range(kernel):
                for x in range(cols):
                    for j in range(kernel):
                        o, g, p = out[i, j], grad[b, y, x], pixels[b, y * stride + i, x * stride + j]
                        for c in range(channels):
                            o[c] += g[c] * p[c]
