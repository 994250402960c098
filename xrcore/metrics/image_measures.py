"""Measures of the similarity of two images."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from xrcore._util.conversion import as_tensor
from xrcore._util.errors import XrcoreError, is_number, require

Image = Shaped[Tensor, "*B H W"] | Shaped[np.ndarray, "*B H W"]
Mask = Shaped[Tensor, "*M H W"] | Shaped[np.ndarray, "*M H W"]

_WINDOW = 11  # [pixels]
_SIGMA = 1.5  # [pixels]


def likeness(fixed: Image, moving: Image, mask: Mask | None = None) -> dict[str, Float[Tensor, "*B"]]:
    """Compare an X-ray with a DRR: NCC, SSIM and CSS of the standardised images.

    An X-ray's gain and offset are not a DRR's, and SSIM of the images as they are would compare them; so both are standardised over the
    mask first. The tables of the paper are measured by this.

    Parameters
    ----------
    fixed, moving : Float[Tensor, "*B H W"]
        The images.
    mask : Bool[Tensor, "*B H W"], optional
        Where the images are compared, one mask for all or one for each image; default everywhere.

    Returns
    -------
    dict of str to Float[Tensor, "*B"]
        "ncc", "ssim" and "css" of each pair; see the functions of these names.

    Examples
    --------
    >>> import torch
    >>> import xrcore as xr
    >>> image = torch.linspace(0, 1, 400).reshape(20, 20)
    >>> {name: round(float(value), 3) for name, value in xr.metrics.likeness(image, 2 * image + 5).items()}
    {'ncc': 1.0, 'ssim': 1.0, 'css': 1.0}
    """
    a, b = (standardised(image, mask) for image in (fixed, moving))
    return {"ncc": ncc(a, b, mask), "ssim": ssim(a, b, mask), "css": css(a, b, mask)}


def standardised(image: Image, mask: Mask | None = None) -> Float[Tensor, "*B H W"]:
    """Shift and scale images to zero mean and unit variance over the mask.

    Parameters
    ----------
    image : Float[Tensor, "*B H W"]
        One image or a batch.
    mask : Bool[Tensor, "*B H W"], optional
        Which pixels count; default all.

    Returns
    -------
    Float[Tensor, "*B H W"]
        float64, 0 outside the mask; a constant image becomes 0.
    """
    x, _, inside = _images("standardised", image, image, mask)
    constant = _span(x, inside)[..., None, None] == 0
    count = inside.sum((-2, -1), keepdim=True)
    x = torch.where(inside, x - x.sum((-2, -1), keepdim=True) / count, 0.0)
    deviation = (x.square().sum((-2, -1), keepdim=True) / count).sqrt()
    return torch.where(constant, 0.0, x / torch.where(constant, 1.0, deviation))


def ncc(a: Image, b: Image, mask: Mask | None = None) -> Float[Tensor, "*B"]:
    """Measure the zero-normalised cross-correlation of two images.

    Parameters
    ----------
    a, b : Float[Tensor, "*B H W"]
        The images, one pair or a batch.
    mask : Bool[Tensor, "*B H W"], optional
        Where they are compared; default everywhere.

    Returns
    -------
    Float[Tensor, "*B"]
        In [-1, 1]; 0 where an image is constant.

    Examples
    --------
    >>> import torch
    >>> import xrcore as xr
    >>> image = torch.linspace(0, 1, 400).reshape(20, 20)
    >>> round(float(xr.metrics.ncc(image, 1 - image)), 3)
    -1.0
    """
    x, y, inside = _images("ncc", a, b, mask)
    x, y = (standardised(image, inside) for image in (x, y))
    return (x * y).sum((-2, -1)) / inside.sum((-2, -1))


def ssim(
    a: Image, b: Image, mask: Mask | None = None, data_range: float | None = None, *, k1: float = 0.01, k2: float = 0.03
) -> Float[Tensor, "*B"]:
    """Measure the structural similarity of two images as they are.

    The window is an 11 x 11 Gaussian of sigma 1.5 pixels; the mean is over the windows that lie whole in the image and the mask.
    Images of different gain and offset are better compared by `likeness`.

    Parameters
    ----------
    a, b : Float[Tensor, "*B H W"]
        The images, one pair or a batch.
    mask : Bool[Tensor, "*B H W"], optional
        Where they are compared; default everywhere.
    data_range : float, optional
        Span of the grey values; default the larger of the two images' ranges inside the mask.
    k1, k2 : float
        Constants of the luminance and of the contrast-structure term, as shares of `data_range`.

    Returns
    -------
    Float[Tensor, "*B"]
        At most 1, which only equal images reach.

    References
    ----------
    Wang et al., IEEE TIP 13(4), 2004, eq. 13.

    Examples
    --------
    >>> import torch
    >>> import xrcore as xr
    >>> image = torch.linspace(0, 1, 400).reshape(20, 20)
    >>> float(xr.metrics.ssim(image, image))
    1.0
    """
    luminance, structure, valid = _ssim_terms("ssim", a, b, mask, data_range, k1, k2)
    return _mean(luminance * structure, valid)


def css(a: Image, b: Image, mask: Mask | None = None, data_range: float | None = None, *, k2: float = 0.03) -> Float[Tensor, "*B"]:
    """Measure the contrast-structure term of SSIM, which does not see local brightness.

    The mean of (2 s_ab + C2) / (s_a^2 + s_b^2 + C2), windows as in `ssim`.

    Parameters
    ----------
    a, b : Float[Tensor, "*B H W"]
        The images, one pair or a batch.
    mask : Bool[Tensor, "*B H W"], optional
        Where they are compared; default everywhere.
    data_range : float, optional
        Span of the grey values; default the larger of the two images' ranges inside the mask.
    k2 : float
        Constant of the term, as a share of `data_range`.

    Returns
    -------
    Float[Tensor, "*B"]
        At most 1.

    References
    ----------
    Wang et al., IEEE TIP 13(4), 2004.

    Examples
    --------
    >>> import torch
    >>> import xrcore as xr
    >>> image = torch.linspace(0, 1, 400).reshape(20, 20)
    >>> round(float(xr.metrics.css(image, image + 0.5)), 3)
    1.0
    """
    _, structure, valid = _ssim_terms("css", a, b, mask, data_range, 0.01, k2)
    return _mean(structure, valid)


def _ssim_terms(
    caller: str, a: Any, b: Any, mask: Any, data_range: float | None, k1: float, k2: float
) -> tuple[Float[Tensor, "*B h w"], Float[Tensor, "*B h w"], Bool[Tensor, "*B h w"]]:
    """Luminance term, contrast-structure term, and where both count."""
    for name, k in (("k1", k1), ("k2", k2)):
        require(caller, name, k, is_number(k) and k >= 0, "a number, 0 or more")
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
        span = torch.where(span > 0, span, 1.0)
    else:
        require(caller, "data_range", data_range, is_number(data_range) and data_range > 0, "positive")
        span = torch.tensor(data_range, dtype=torch.float64)
    c1, c2 = (k1 * span) ** 2, (k2 * span) ** 2
    mx, my = _blur(x), _blur(y)
    sxx, syy, sxy = _blur(x * x) - mx * mx, _blur(y * y) - my * my, _blur(x * y) - mx * my
    return (2 * mx * my + c1) / (mx * mx + my * my + c1), (2 * sxy + c2) / (sxx + syy + c2), valid


def _span(image: Float[Tensor, "*B H W"], inside: Bool[Tensor, "*B H W"]) -> Float[Tensor, "*B"]:
    high, low = torch.where(inside, image, -torch.inf), torch.where(inside, image, torch.inf)
    return high.amax((-2, -1)) - low.amin((-2, -1))


def _blur(image: Float[Tensor, "*B H W"]) -> Float[Tensor, "*B h w"]:
    """Gaussian mean of each whole window."""
    offset = torch.arange(_WINDOW, dtype=torch.float64) - _WINDOW // 2
    kernel = torch.exp(-0.5 * (offset / _SIGMA) ** 2)
    kernel = kernel / kernel.sum()
    flat = image.reshape(-1, 1, *image.shape[-2:])
    flat = F.conv2d(F.conv2d(flat, kernel.view(1, 1, -1, 1)), kernel.view(1, 1, 1, -1))
    return flat.reshape(*image.shape[:-2], *flat.shape[-2:])


def _mean(values: Float[Tensor, "*B h w"], valid: Bool[Tensor, "*B h w"]) -> Float[Tensor, "*B"]:
    return torch.where(valid, values, 0.0).sum((-2, -1)) / valid.sum((-2, -1))


def _images(caller: str, a: Any, b: Any, mask: Any) -> tuple[Float[Tensor, "*B H W"], Float[Tensor, "*B H W"], Bool[Tensor, "*B H W"]]:
    """Both images as float64, zero outside the mask, and the mask as bool, of one shape."""
    x, y = (as_tensor(caller, name, image, "an image").detach().cpu() for name, image in (("a", a), ("b", b)))
    if x.ndim not in (2, 3):
        raise XrcoreError(f"{caller}: a must be (H, W) or (B, H, W), got {tuple(x.shape)}")
    if x.shape != y.shape:
        raise XrcoreError(f"{caller}: a is {tuple(x.shape)} but b is {tuple(y.shape)}")
    given = torch.ones(x.shape) if mask is None else mask
    inside = as_tensor(caller, "mask", given, "a mask", dtype=torch.bool).detach().cpu()
    if inside.shape not in (x.shape, x.shape[-2:]):
        raise XrcoreError(f"{caller}: mask is {tuple(inside.shape)} but a is {tuple(x.shape)}")
    inside = inside.expand(x.shape)
    if not inside.flatten(-2).any(-1).all():
        raise XrcoreError(f"{caller}: the mask leaves no pixel")
    for name, image in (("a", x), ("b", y)):
        if not torch.isfinite(image[inside]).all():
            raise XrcoreError(f"{caller}: {name} holds NaN or infinite pixels inside the mask")
    # pixels outside the mask may hold anything, NaN included
    x, y = (torch.where(inside, image, 0.0) for image in (x, y))
    return x, y, inside
