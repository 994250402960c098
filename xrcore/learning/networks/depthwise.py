"""Depthwise convolution whose backward pass on a CPU costs about what its forward pass does.

For 5 x 5 kernels and for strides of 2, PyTorch's own takes 10 to 60 times as long (torch 2.13, oneDNN, bfloat16), and most of the
time of training an EfficientNet. Here the gradient of the input is made of depthwise convolutions of the output's gradient, one for
each phase of the stride, and the gradient of the weights is one pass over the pixels with the channels innermost. Nothing is padded
by a copy.
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
    pad = getattr(c, "static_padding", nn.Identity())
    # efficientnet-pytorch pads as TensorFlow does, by a layer of its own
    known = isinstance(pad, (nn.Identity, nn.ZeroPad2d))
    return depthwise and plain and square and known and c.kernel_size[0] > c.stride[0]


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
        return _convolve(x, weight, stride, padding).contiguous(memory_format=torch.channels_last)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor, None, None]:
        x, weight = ctx.saved_tensors
        grad = grad.contiguous(memory_format=torch.channels_last)
        input_gradient = _input_gradient(grad, weight, ctx.stride, ctx.before, x.shape) if ctx.needs_input_grad[0] else None
        return input_gradient, _weight_gradient(grad, x, ctx.stride, ctx.before, weight), None, None


def _input_gradient(grad: Tensor, weight: Tensor, stride: int, before: tuple[int, int], shape: torch.Size) -> Tensor:
    """Input pixels of one phase of the stride meet every stride-th weight: for each phase, a convolution with those, rotated."""
    parts = []
    for a in range(stride):
        for b in range(stride):
            some = weight[:, :, a::stride, b::stride].flip(-1, -2).contiguous()
            (rows, top), (cols, left) = _phase(a, shape[-2], before[0], stride), _phase(b, shape[-1], before[1], stride)
            reach = tuple(n - 1 for n in some.shape[-2:])
            part = F.conv2d(grad, some, padding=reach, groups=len(some))[..., top : top + len(rows), left : left + len(cols)]
            # beyond the last output pixel there is nothing to gain
            short = (0, len(cols) - part.shape[-1], 0, len(rows) - part.shape[-2])
            parts.append((rows, cols, F.pad(part, short) if any(short) else part))
    if stride == 1:
        return parts[0][2]
    out = torch.empty(shape, dtype=grad.dtype).contiguous(memory_format=torch.channels_last)
    for rows, cols, part in parts:
        out[..., rows.start :: stride, cols.start :: stride] = part
    return out


def _phase(phase: int, size: int, before: int, stride: int) -> tuple[range, int]:
    """Pixels y with (y + before) % stride == phase, and which entry of the convolution belongs to the first of them."""
    first = (phase - before) % stride
    return range(first, size, stride), (first + before) // stride


def _weight_gradient(grad: Tensor, x: Tensor, stride: int, before: tuple[int, int], weight: Tensor) -> Tensor:
    kernel = weight.shape[-1]
    g, pixels = (_bits(t) for t in (grad, x))
    # parts by their number, not by who is free: the sum is the same each time
    parts = np.array_split(np.arange(len(g)), min(torch.get_num_threads(), len(g)))
    sums = [np.zeros((kernel, kernel, g.shape[3]), dtype=np.float32) for _ in parts]
    with ThreadPoolExecutor(len(parts)) as pool:
        tasks = []
        for part, total in zip(parts, sums, strict=True):
            some = slice(part[0], part[-1] + 1)
            tasks.append(pool.submit(_correlate, g[some], pixels[some], stride, *before, total))
        for task in tasks:
            task.result()
    return torch.from_numpy(sum(sums)).permute(2, 0, 1)[:, None].to(weight.dtype)  # type: ignore[arg-type]


def _bits(t: Tensor) -> np.ndarray:
    """(B, H, W, C) as NumPy has it: bfloat16, which it has not, as whole numbers of 16 bits."""
    last = t.permute(0, 2, 3, 1).contiguous()
    if t.dtype == torch.bfloat16:
        return last.view(torch.int16).numpy().view(np.uint16)
    return last.float().numpy()


@cached_njit(nogil=True, fastmath={"contract", "reassoc"})
def _correlate(grad, pixels, stride, above, left, out):  # type: ignore[no-untyped-def]
    """out[i, j, c] += sum over images and pixels of grad[b, y, x, c] * pixels[b, y stride + i - above, x stride + j - left, c]."""
    images, rows, cols, channels = grad.shape
    height, width = pixels.shape[1:3]
    kernel = out.shape[0]
    g = np.empty((cols, channels), np.float32)
    p = np.empty((height, width, channels), np.float32)
    for b in range(images):
        _widen(pixels[b].ravel(), p.ravel())
        for y in range(rows):
            _widen(grad[b, y].ravel(), g.ravel())
            for i in range(kernel):
                row = y * stride + i - above
                if row < 0 or row >= height:
                    continue
                for j in range(kernel):
                    # of x stride + j - left the first that is not negative, and the last inside
                    first = max(0, -((j - left) // stride))
                    last = min(cols, (width - 1 - j + left) // stride + 1)
                    o = out[i, j]
                    x = first
                    while x + 4 <= last:  # four at once: each sum is loaded and stored a quarter as often
                        at = x * stride + j - left
                        ga, gb, gc, gd = g[x], g[x + 1], g[x + 2], g[x + 3]
                        pa, pb, pc, pd = p[row, at], p[row, at + stride], p[row, at + 2 * stride], p[row, at + 3 * stride]
                        for c in range(channels):
                            o[c] += (ga[c] * pa[c] + gb[c] * pb[c]) + (gc[c] * pc[c] + gd[c] * pd[c])
                        x += 4
                    while x < last:
                        gx, px = g[x], p[row, x * stride + j - left]
                        for c in range(channels):
                            o[c] += gx[c] * px[c]
                        x += 1


@cached_njit(nogil=True)
def _widen(given, whole):  # type: ignore[no-untyped-def]
    """Copy numbers of float32, or of bfloat16 given by their bits, to float32."""
    if given.itemsize == 2:
        bits = whole.view(np.uint32)
        for n in range(given.size):
            bits[n] = np.uint32(given[n]) << np.uint32(16)
    else:
        whole[:] = given
