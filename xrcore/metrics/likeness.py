"""How alike two images are."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from xrcore._util.errors import XrcoreError

_WINDOW = 11  # [pixels]
_SIGMA = 1.5  # [pixels]


def ncc(
    a: Float[Tensor, "*B H W"] | np.ndarray,
    b: Float[Tensor, "*B H W"] | np.ndarray,
    mask: Bool[Tensor, "*B H W"] | np.ndarray | None = None,
) -> Float[Tensor, "*B"]:
    """Zero-normalised cross-correlation over the mask, in [-1, 1]; 0 where an image is constant."""
    x, y, inside = _images("ncc", a, b, mask)
    weight = inside.double()
    count = weight.sum((-2, -1), keepdim=True)
    constant = (_span(x, inside) == 0) | (_span(y, inside) == 0)
    x = (x - (x * weight).sum((-2, -1), keepdim=True) / count) * weight
    y = (y - (y * weight).sum((-2, -1), keepdim=True) / count) * weight
    norms = torch.linalg.norm(x, dim=(-2, -1)) * torch.linalg.norm(y, dim=(-2, -1))
    product = (x * y).sum((-2, -1))
    return torch.where(constant, torch.zeros_like(product), product / torch.where(constant, torch.ones_like(norms), norms))


def ssim(
    a: Float[Tensor, "*B H W"] | np.ndarray,
    b: Float[Tensor, "*B H W"] | np.ndarray,
    mask: Bool[Tensor, "*B H W"] | np.ndarray | None = None,
    data_range: float | None = None,
    *,
    k1: float = 0.01,
    k2: float = 0.03,
) -> Float[Tensor, "*B"]:
    """Structural similarity: 11 x 11 Gaussian window of sigma 1.5 pixels, averaged where the whole window is in the image and the mask.

    data_range: span of the grey values; default the larger of the two images' ranges inside the mask.
    Source: Wang et al., IEEE TIP 13(4), 2004, eq. 13.
    """
    luminance, structure, valid = _ssim_terms("ssim", a, b, mask, data_range, k1, k2)
    return _mean(luminance * structure, valid)


def css(
    a: Float[Tensor, "*B H W"] | np.ndarray,
    b: Float[Tensor, "*B H W"] | np.ndarray,
    mask: Bool[Tensor, "*B H W"] | np.ndarray | None = None,
    data_range: float | None = None,
    *,
    k2: float = 0.03,
) -> Float[Tensor, "*B"]:
    """Contrast-structure term of SSIM, (2 s_ab + C2) / (s_a^2 + s_b^2 + C2): SSIM blind to local brightness. Arguments as in `ssim`."""
    _, structure, valid = _ssim_terms("css", a, b, mask, data_range, 0.01, k2)
    return _mean(structure, valid)


def _ssim_terms(
    caller: str, a: object, b: object, mask: object, data_range: float | None, k1: float, k2: float
) -> tuple[Float[Tensor, "*B h w"], Float[Tensor, "*B h w"], Bool[Tensor, "*B h w"]]:
    """Luminance term, contrast-structure term, and where both count."""
    x, y, inside = _images(caller, a, b, mask)
    if min(x.shape[-2:]) < _WINDOW:
        raise XrcoreError(f"{caller}: images must be at least {_WINDOW} x {_WINDOW} pixels, got {tuple(x.shape[-2:])}")
    # a window counts when the smallest mask value under it is 1
    valid = -F.max_pool2d(-inside.double().reshape(-1, 1, *inside.shape[-2:]), _WINDOW, stride=1) > 0
    valid = valid.reshape(*inside.shape[:-2], *valid.shape[-2:])
    if not valid.flatten(-2).any(-1).all():
        raise XrcoreError(f"{caller}: the mask holds no whole {_WINDOW} x {_WINDOW} window")
    if data_range is None:
        span = torch.maximum(_span(x, inside), _span(y, inside))[..., None, None]
        span = torch.where(span > 0, span, torch.ones_like(span))
    elif data_range > 0:
        span = torch.tensor(float(data_range), dtype=torch.float64)
    else:
        raise XrcoreError(f"{caller}: data_range must be positive, got {data_range!r}")
    c1, c2 = (k1 * span) ** 2, (k2 * span) ** 2
    mx, my = _blur(x), _blur(y)
    sxx, syy, sxy = _blur(x * x) - mx * mx, _blur(y * y) - my * my, _blur(x * y) - mx * my
    return (2 * mx * my + c1) / (mx * mx + my * my + c1), (2 * sxy + c2) / (sxx + syy + c2), valid


def _span(image: Tensor, inside: Tensor) -> Tensor:
    high = torch.where(inside, image, torch.full_like(image, -torch.inf)).amax((-2, -1))
    low = torch.where(inside, image, torch.full_like(image, torch.inf)).amin((-2, -1))
    return high - low


def _blur(image: Float[Tensor, "*B H W"]) -> Float[Tensor, "*B h w"]:
    """Gaussian mean of each whole window."""
    offset = torch.arange(_WINDOW, dtype=torch.float64) - _WINDOW // 2
    kernel = torch.exp(-0.5 * (offset / _SIGMA) ** 2)
    kernel = kernel / kernel.sum()
    flat = image.reshape(-1, 1, *image.shape[-2:])
    flat = F.conv2d(F.conv2d(flat, kernel.view(1, 1, -1, 1)), kernel.view(1, 1, 1, -1))
    return flat.reshape(*image.shape[:-2], *flat.shape[-2:])


def _mean(values: Tensor, valid: Tensor) -> Tensor:
    return torch.where(valid, values, torch.zeros_like(values)).sum((-2, -1)) / valid.sum((-2, -1))


def _images(caller: str, a: object, b: object, mask: object) -> tuple[Tensor, Tensor, Tensor]:
    """Both images as float64, zero outside the mask, and the mask as bool, of one shape."""
    x, y = (_tensor(image).double() for image in (a, b))
    if x.ndim not in (2, 3):
        raise XrcoreError(f"{caller}: a must be (H, W) or (B, H, W), got {tuple(x.shape)}")
    if x.shape != y.shape:
        raise XrcoreError(f"{caller}: a is {tuple(x.shape)} but b is {tuple(y.shape)}")
    inside = torch.ones(x.shape, dtype=torch.bool) if mask is None else _tensor(mask).bool()
    if inside.shape != x.shape and inside.shape != x.shape[-2:]:
        raise XrcoreError(f"{caller}: mask is {tuple(inside.shape)} but a is {tuple(x.shape)}")
    inside = inside.expand(x.shape)
    if not inside.flatten(-2).any(-1).all():
        raise XrcoreError(f"{caller}: the mask leaves no pixel")
    for name, image in (("a", x), ("b", y)):
        if not torch.isfinite(image[inside]).all():
            raise XrcoreError(f"{caller}: {name} holds NaN or infinite pixels inside the mask")
    # pixels outside the mask may hold anything, NaN included
    x, y = (torch.where(inside, image, torch.zeros_like(image)) for image in (x, y))
    return x, y, inside


def _tensor(values: object) -> Tensor:
    if isinstance(values, np.ndarray):
        values = np.ascontiguousarray(values)
    return torch.as_tensor(values).detach().cpu()
