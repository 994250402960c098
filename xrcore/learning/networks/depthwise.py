"""Depthwise convolution whose backward pass on a CPU costs about what its forward pass does.

For 5 x 5 kernels and for strides of 2, PyTorch's own takes many times as long (torch 2.13, oneDNN), and most of the time of training
an EfficientNet. Here the backward pass, and in single or double precision the forward pass too, runs over the pixels with the channels
innermost, and nothing is padded by a copy.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from xrcore._util.code_cache import cached_njit
from xrcore.learning.networks.on_cpu import in_parts

_OPTIONS: dict[str, Any] = {"nogil": True, "fastmath": {"contract", "reassoc"}}


class DepthwiseConvolution(nn.Module):
    """Compute a convolution by this module on the CPU, and by torch elsewhere; its parameters keep their names.

    Parameters
    ----------
    convolution : nn.Conv2d
        Depthwise, square, without bias and dilation, padded by zeros, whether by itself or by efficientnet-pytorch's `static_padding`;
        its weight is shared.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.weight = convolution.weight
        self.stride = convolution.stride[0]
        pad = getattr(convolution, "static_padding", nn.Identity())
        left, right, above, below = pad.padding if isinstance(pad, nn.ZeroPad2d) else (0, 0, 0, 0)
        p = int(convolution.padding[0])
        self.padding = (above + p, below + p, left + p, right + p)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C h w"]:
        """The convolution's output."""
        weight = self.weight
        if x.device.type != "cpu" or not torch.is_grad_enabled():
            return _convolve(x, weight, self.stride, self.padding)
        if torch.is_autocast_enabled("cpu"):
            kind = torch.get_autocast_dtype("cpu")
            x, weight = x.to(kind), weight.to(kind)
        return _DepthwiseFunction.apply(x, weight, self.stride, self.padding)


def _convolve(x: Tensor, weight: Tensor, stride: int, padding: tuple[int, int, int, int]) -> Tensor:
    """Convolve with as many rows of zeros above and below, and columns left and right, as `padding` says, without copying `x`.

    torch pads both ends alike: an end that gets more than it should has whole strides more, so that the output is only cut.
    """
    kernel = weight.shape[-1]
    ends = tuple(zip(padding[::2], padding[1::2], x.shape[-2:], strict=True))
    count = [(size + a + b - kernel) // stride + 1 for a, b, size in ends]
    more = [stride * -(-max(0, b - a) // stride) for a, b, _ in ends]
    out = F.conv2d(x, weight, None, stride, tuple(a + m for (a, _, _), m in zip(ends, more, strict=True)), groups=len(weight))
    first = [m // stride for m in more]
    return out[..., first[0] : first[0] + count[0], first[1] : first[1] + count[1]]


class _DepthwiseFunction(torch.autograd.Function):
    """Depthwise convolution with zeros around."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, padding: tuple[int, int, int, int]) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.before = stride, padding[::2]
        if _is_half(x):
            return _convolve(x, weight, stride, padding).contiguous(memory_format=torch.channels_last)
        ends = zip(x.shape[2:], padding[::2], padding[1::2], strict=True)
        out = _empty(x.dtype, *x.shape[:2], *((size + a + b - weight.shape[-1]) // stride + 1 for size, a, b in ends))
        pixels, weights, result = _pixels(x), _taps(weight), _pixels(out)
        in_parts(len(x), lambda part: _correlate(pixels[part], weights, stride, *ctx.before, result[part]))
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor, None, None]:
        x, weight = ctx.saved_tensors
        given, pixels, weights = _pixels(grad), _pixels(x), _taps(weight)
        input_gradient = None
        if ctx.needs_input_grad[0]:
            input_gradient = _empty(torch.float32 if _is_half(x) else x.dtype, *x.shape)
            result = _pixels(input_gradient)
            in_parts(len(x), lambda part: _input_gradient(given[part], weights, ctx.stride, *ctx.before, result[part]))
            input_gradient = input_gradient.to(x.dtype)
        sums = in_parts(len(x), lambda part: _weight_gradient(given[part], pixels[part], ctx.stride, *ctx.before, len(weights)))
        return input_gradient, torch.from_numpy(sum(sums)).permute(2, 0, 1)[:, None].to(weight.dtype), None, None


def _is_half(x: Tensor) -> bool:
    return x.dtype.itemsize == 2


def _in_float32(x: Tensor) -> Tensor:
    """A half precision as float32, because NumPy has no bfloat16; other kinds as they are."""
    return x.float() if _is_half(x) else x


def _empty(kind: torch.dtype, *shape: int) -> Tensor:
    return torch.empty(shape, dtype=kind, memory_format=torch.channels_last)


def _pixels(x: Tensor) -> np.ndarray:
    """(B, H, W, C), the same memory where possible."""
    return _in_float32(x.detach().permute(0, 2, 3, 1).contiguous()).numpy()


def _taps(weight: Tensor) -> np.ndarray:
    """(k, k, C)."""
    return _in_float32(weight.detach()[:, 0].permute(1, 2, 0).contiguous()).numpy()


@cached_njit(**_OPTIONS)
def _correlate(pixels, weights, stride, above, left, out):  # type: ignore[no-untyped-def]
    """out[b, y, x, c] = sum over taps of weights[i, j, c] * pixels[b, y stride + i - above, x stride + j - left, c]."""
    images, rows, cols, channels = out.shape
    height, width = pixels.shape[1:3]
    kernel = len(weights)
    for b in range(images):
        for y in range(rows):
            top = y * stride - above
            for x in range(cols):
                at = x * stride - left
                o = out[b, y, x]
                o[:] = 0
                for i in range(max(0, -top), min(kernel, height - top)):
                    p, w = pixels[b, top + i], weights[i]
                    j, last = max(0, -at), min(kernel, width - at)
                    while j + 3 <= last:  # three at once: each sum is loaded and stored a third as often
                        for c in range(channels):
                            o[c] += w[j, c] * p[at + j, c] + w[j + 1, c] * p[at + j + 1, c] + w[j + 2, c] * p[at + j + 2, c]
                        j += 3
                    while j < last:
                        for c in range(channels):
                            o[c] += w[j, c] * p[at + j, c]
                        j += 1


@cached_njit(**_OPTIONS)
def _input_gradient(grad, weights, stride, above, left, out):  # type: ignore[no-untyped-def]
    """The transpose of `_correlate`: each input pixel meets every stride-th tap."""
    images, height, width, channels = out.shape
    rows, cols = grad.shape[1:3]
    kernel = len(weights)
    for b in range(images):
        for y in range(height):
            for x in range(width):
                o = out[b, y, x]
                o[:] = 0
                for i in range((y + above) % stride, kernel, stride):
                    row = (y + above - i) // stride
                    if row < 0 or row >= rows:
                        continue
                    g, w = grad[b, row], weights[i]
                    j = (x + left) % stride
                    at = (x + left - j) // stride  # the output pixel of tap j; of the next tap, the one before
                    if at >= cols:
                        j += (at - cols + 1) * stride
                        at = cols - 1
                    last = min(kernel, j + (at + 1) * stride)
                    while j + 2 * stride < last:
                        for c in range(channels):
                            o[c] += w[j, c] * g[at, c] + w[j + stride, c] * g[at - 1, c] + w[j + 2 * stride, c] * g[at - 2, c]
                        j += 3 * stride
                        at -= 3
                    while j < last:
                        for c in range(channels):
                            o[c] += w[j, c] * g[at, c]
                        j += stride
                        at -= 1


@cached_njit(**_OPTIONS)
def _weight_gradient(grad, pixels, stride, above, left, kernel):  # type: ignore[no-untyped-def]
    """out[i, j, c] = sum over images and pixels of grad[b, y, x, c] * pixels[b, y stride + i - above, x stride + j - left, c]."""
    images, rows, cols, channels = grad.shape
    height, width = pixels.shape[1:3]
    out = np.zeros((kernel, kernel, channels), grad.dtype)
    for b in range(images):
        for y in range(rows):
            g = grad[b, y]
            for i in range(kernel):
                row = y * stride + i - above
                if row < 0 or row >= height:
                    continue
                p = pixels[b, row]
                for j in range(kernel):
                    # of x stride + j - left the first that is not negative, and the last inside
                    first = max(0, -((j - left) // stride))
                    last = min(cols, (width - 1 - j + left) // stride + 1)
                    o = out[i, j]
                    x = first
                    while x + 4 <= last:  # four at once: each sum is loaded and stored a quarter as often
                        at = x * stride + j - left
                        for c in range(channels):
                            o[c] += (g[x, c] * p[at, c] + g[x + 1, c] * p[at + stride, c]) + (
                                g[x + 2, c] * p[at + 2 * stride, c] + g[x + 3, c] * p[at + 3 * stride, c]
                            )
                        x += 4
                    while x < last:
                        for c in range(channels):
                            o[c] += g[x, c] * p[x * stride + j - left, c]
                        x += 1
    return out
