"""BatchNorm followed by SiLU; in training on a CPU memory is read half as often as by the two apart.

The images of a batch are kept in "channels last" memory; each row of the kernels' arrays is one pixel, and their inner loops run over
the channels. Of the forward pass only the input is kept, from which the backward pass computes the activation once more.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from numba import njit
from torch import Tensor, nn

from xrcore._util.code_cache import cached_njit
from xrcore.learning.networks.on_cpu import in_parts, takes_kernels
from xrcore.renderer.cpu import intrinsics
from xrcore.renderer.cpu.intrinsics import add, bits_to_float, shift_left, truncate

_BLOCK = 1 << 14  # numbers that are summed in float32 before they are added to sums in float64
_SAMPLES = 64  # pixels whose mean is about that of all
_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": {"contract", "reassoc", "nsz"}}


class ConvolutionNormSilu(nn.Sequential):
    """A convolution, a norm and SiLU in a row, numbered as in an `nn.Sequential`.

    Parameters
    ----------
    *layers : nn.Module
        The convolution and the norm.
    """

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D h w"]:
        """The block's output."""
        return norm_silu(self[1], self[0](x))


def norm_silu(norm: nn.Module, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
    """Return `silu(norm(x))`.

    Parameters
    ----------
    norm : nn.Module
        A BatchNorm, whose running statistics are updated while it trains, or any other.
    x : Float[Tensor, "B C H W"]
        Features. Those in float32 on a CPU, while the norm trains, are computed by this module, and by torch otherwise.

    Returns
    -------
    Float[Tensor, "B C H W"]
        The activation.
    """
    count = x.numel() // x.shape[1]
    if not (isinstance(norm, nn.BatchNorm2d) and norm.training and norm.affine and takes_kernels(x) and count > 1):
        return F.silu(norm(x))
    y, mean, variance = _NormSilu.apply(x, norm.weight, norm.bias, norm.eps)
    if norm.running_mean is not None and norm.running_var is not None and norm.num_batches_tracked is not None:
        with torch.no_grad():
            norm.num_batches_tracked.add_(1)
            share = 1 / int(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
            norm.running_mean.lerp_(mean, share)
            norm.running_var.lerp_(variance * (count / (count - 1)), share)
    return y


class _NormSilu(torch.autograd.Function):
    """The activation, and mean and variance of each channel, which have no gradients of their own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
        x = x.contiguous(memory_format=torch.channels_last)
        pixels = _rows(x)
        # sums of squares lose no digits to a mean that is far from 0, or to a pixel that is
        shift = pixels[:: max(1, len(pixels) // _SAMPLES)].mean(0)
        first, second = sum(in_parts(len(pixels), lambda part: _sums(pixels[part], shift)))
        first, second = first / len(pixels), second / len(pixels)
        mean, variance = shift + first, np.maximum(second - first**2, 0.0)
        scale = weight.detach().double().numpy() / np.sqrt(variance + eps)
        offset = bias.detach().double().numpy() - mean * scale
        scale, offset = scale.astype(np.float32), offset.astype(np.float32)
        y = torch.empty_like(x)
        out = _rows(y)
        in_parts(len(pixels), lambda part: _activate(pixels[part], scale, offset, out[part]))
        ctx.save_for_backward(x)
        ctx.of_channels = mean, np.sqrt(variance + eps), scale, offset
        results = tuple(torch.from_numpy(of.astype(np.float32)) for of in (mean, variance))
        ctx.mark_non_differentiable(*results)
        return y, *results  # type: ignore[return-value]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        (x,) = ctx.saved_tensors
        mean, deviation, scale, offset = ctx.of_channels
        grad = grad.contiguous(memory_format=torch.channels_last)
        result = torch.empty_like(x)
        pixels, given, out = _rows(x), _rows(grad), _rows(result)
        centre = mean.astype(np.float32)
        parts = in_parts(len(pixels), lambda part: _activation_gradient(pixels[part], given[part], scale, offset, centre, out[part]))
        total, projected = sum(parts)
        # the gradient has no mean, and nothing in the direction of the input
        slope = -scale * projected / (deviation**2 * len(pixels))
        level = -scale * total / len(pixels) - slope * mean
        slope, level = slope.astype(np.float32), level.astype(np.float32)
        in_parts(len(pixels), lambda part: _normalisation_gradient(pixels[part], scale, slope, level, out[part]))
        of_weight, of_bias = (torch.from_numpy(of.astype(np.float32)) for of in (projected / deviation, total))
        return result, of_weight, of_bias, None


def _rows(x: Tensor) -> np.ndarray:
    """(B H W, C), the same memory."""
    return x.detach().permute(0, 2, 3, 1).view(-1, x.shape[1]).numpy()


@njit(**_OPTIONS)
def _sigmoid(z):  # type: ignore[no-untyped-def]
    """1 / (1 + exp(-z)) of a float32; 2^n 2^f, with |f| at most a half, and for 2^f its Taylor polynomial."""
    t = min(max(z * np.float32(-1.4426950408889634), np.float32(-125.0)), np.float32(125.0))
    n = np.floor(t + np.float32(0.5))
    f = (t - n) * np.float32(0.6931471805599453)
    p = np.float32(1 / 720) * f + np.float32(1 / 120)
    p = p * f + np.float32(1 / 24)
    p = p * f + np.float32(1 / 6)
    p = p * f + np.float32(0.5)
    p = p * f + np.float32(1.0)
    p = p * f + np.float32(1.0)
    power = bits_to_float(shift_left(add(truncate(n), np.int32(127)), np.int32(23)))
    return np.float32(1.0) / (np.float32(1.0) + p * power)


@njit(**_OPTIONS)
def _collect(first, second, totals):  # type: ignore[no-untyped-def]
    """Add the sums of a block to those in float64, and set them to 0 for the next."""
    for c in range(len(first)):
        totals[0, c] += first[c]
        totals[1, c] += second[c]
    first[:] = 0
    second[:] = 0


@cached_njit(_BLOCK, **_OPTIONS)
def _sums(pixels, shift):  # type: ignore[no-untyped-def]
    """Sums over pixels of each channel's value less a shift, and of its square: (2, C)."""
    count, channels = pixels.shape
    totals = np.zeros((2, channels))
    rows = max(4, _BLOCK // channels)
    first, second = np.zeros(channels, np.float32), np.zeros(channels, np.float32)
    for start in range(0, count, rows):
        stop = min(start + rows, count)
        r = start
        while r + 4 <= stop:
            for c in range(channels):
                k = shift[c]
                p, q, s, t = pixels[r, c] - k, pixels[r + 1, c] - k, pixels[r + 2, c] - k, pixels[r + 3, c] - k
                first[c] += (p + q) + (s + t)
                second[c] += (p * p + q * q) + (s * s + t * t)
            r += 4
        while r < stop:
            for c in range(channels):
                p = pixels[r, c] - shift[c]
                first[c] += p
                second[c] += p * p
            r += 1
        _collect(first, second, totals)
    return totals


@cached_njit(intrinsics, **_OPTIONS)
def _activate(pixels, scale, offset, out):  # type: ignore[no-untyped-def]
    """SiLU of `scale` x + `offset`."""
    for r in range(pixels.shape[0]):
        for c in range(pixels.shape[1]):
            z = pixels[r, c] * scale[c] + offset[c]
            out[r, c] = z * _sigmoid(z)


@cached_njit(intrinsics, _BLOCK, **_OPTIONS)
def _activation_gradient(pixels, grad, scale, offset, centre, out):  # type: ignore[no-untyped-def]
    """SiLU's gradient in `out`; returns its sums by channel, plain and times the input less `centre`: (2, C)."""
    count, channels = pixels.shape
    totals = np.zeros((2, channels))
    rows = max(4, _BLOCK // channels)
    first, second = np.zeros(channels, np.float32), np.zeros(channels, np.float32)
    for start in range(0, count, rows):
        for r in range(start, min(start + rows, count)):
            for c in range(channels):
                x = pixels[r, c]
                z = x * scale[c] + offset[c]
                s = _sigmoid(z)
                d = grad[r, c] * (s + z * s * (np.float32(1.0) - s))
                out[r, c] = d
                first[c] += d
                second[c] += d * (x - centre[c])
        _collect(first, second, totals)
    return totals


@cached_njit(**_OPTIONS)
def _normalisation_gradient(pixels, scale, slope, level, out):  # type: ignore[no-untyped-def]
    """Turn the gradient of the normalised input, in `out`, to that of the input."""
    for r in range(pixels.shape[0]):
        for c in range(pixels.shape[1]):
            out[r, c] = out[r, c] * scale[c] + pixels[r, c] * slope[c] + level[c]
