"""Expose a batch of images: from the intensity behind the patient to the grey values of the files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor

from xrcore._util.devices import on_device
from xrcore._util.errors import XrcoreError
from xrcore.geometry import CArm
from xrcore.simulation import detector
from xrcore.simulation.acquisition import MOST_PHOTONS, Acquisition
from xrcore.simulation.batch.blur import gaussian_blur
from xrcore.simulation.batch.noise import detect
from xrcore.simulation.noise import FAINTEST, SHADOW


def expose_batch(
    intensity: Float[Tensor, "B H W"], carm: CArm, settings: Sequence[Acquisition], seeds: Sequence[int]
) -> tuple[Float[Tensor, "B H W"], Bool[Tensor, "B H W"]]:
    """Make grey values and fields of view as `detector.expose` does of one image: scatter, blur, noise, grey levels, in this order.

    Parameters
    ----------
    intensity : Float[Tensor, "B H W"]
        The share that passed, float32 or float64; computed in its precision and on its device.
    carm : CArm
        The imaging system of all images.
    settings : Sequence of Acquisition
        Of each image.
    seeds : Sequence of int
        Of each image's noise, which depends on it alone, 0 to 2**64 - 1.

    Returns
    -------
    images : Float[Tensor, "B H W"]
        Grey values, float32.
    seen : Bool[Tensor, "B H W"]
        True where the detector is exposed.

    Raises
    ------
    XrcoreError
        If settings or seeds are not as many as the images, or the images are not of the detector's shape.
    """
    if not len(intensity) == len(settings) == len(seeds):
        raise XrcoreError(
            f"expose_batch: {len(intensity)} images, {len(settings)} settings and {len(seeds)} seeds; give one of each per image"
        )
    if tuple(intensity.shape[1:]) != carm.shape:
        raise XrcoreError(f"expose_batch: images of {tuple(intensity.shape[1:])} pixels, but the detector has {carm.shape}")
    total = gaussian_blur(with_scatter(intensity, carm, settings), carm, [s.blur for s in settings])
    seen = exposed_fields(carm, settings, intensity.device)
    return display(count_photons(total, settings, seeds), seen, carm, settings).float(), seen


def with_scatter(primary: Float[Tensor, "B H W"], carm: CArm, settings: Sequence[Acquisition]) -> Float[Tensor, "B H W"]:
    """Primary plus scattered intensity; see `detector.with_scatter`."""
    if not any(s.scatter for s in settings):
        return primary
    shapes = gaussian_blur(-primary * primary.clamp_min(FAINTEST).log(), carm, [s.scatter_width for s in settings])
    (scatter,) = _columns([(s.scatter,) for s in settings], primary)
    # without a shadow the median is infinite, and nothing is scattered
    return primary + shapes * (scatter / _median(shapes / primary, (primary < SHADOW) & (primary > FAINTEST)))


def count_photons(intensity: Float[Tensor, "B H W"], settings: Sequence[Acquisition], seeds: Sequence[int]) -> Float[Tensor, "B H W"]:
    """Attenuation images of the photons counted; see `noise.count_photons`."""
    if not any(s.photons for s in settings):
        return -intensity.clamp_min(FAINTEST).log()
    fewest, control, electronic = _columns(
        [(s.photons or 0.0, s.exposure_control if s.photons else 0.0, s.electronic_noise) for s in settings], intensity
    )
    needed = control / _median(intensity, intensity < SHADOW).clamp_min(FAINTEST)
    photons = torch.maximum(fewest, needed.clamp_max(MOST_PHOTONS))
    return detect(intensity, photons, electronic, seeds)


def exposed_fields(carm: CArm, settings: Sequence[Acquisition], device: torch.device) -> Bool[Tensor, "B H W"]:
    """True where each detector is exposed; see `detector.exposed_field`."""
    radius, half_rows, half_cols = on_device(np.array([detector.field_extents(carm, s) for s in settings]).T, device)[
        ..., None, None
    ].unbind(0)
    y, x = (torch.arange(n, dtype=torch.float64, device=device) - (n - 1) / 2 for n in carm.shape)
    y = y[:, None]
    return ((y**2 + x**2) <= radius**2) & (y.abs() <= half_rows) & (x.abs() <= half_cols)


def display(
    attenuation: Float[Tensor, "B H W"], seen: Bool[Tensor, "B H W"], carm: CArm, settings: Sequence[Acquisition]
) -> Float[Tensor, "B H W"]:
    """Grey values of the files; see `detector.display`."""
    gamma, gain, offset, inverted, levels = _columns(
        [(s.gamma, s.gain, s.offset, s.inverted, 0 if s.bits is None else 2**s.bits - 1) for s in settings], attenuation
    )
    low = torch.where(seen, attenuation, math.inf).amin((1, 2), keepdim=True)
    high = torch.where(seen, attenuation, -math.inf).amax((1, 2), keepdim=True)
    span = torch.where(high > low, high - low, 1.0)
    grey = ((attenuation - low) / span).clamp(0, 1) ** gamma
    if any(s.text for s in settings):
        grey = grey + _ink(carm, settings, attenuation) * (1 - grey)
    if any(s.inverted for s in settings):
        grey = torch.where(inverted > 0, 1 - grey, grey)
    grey = torch.where(seen, grey, 0.0)
    if any(s.bits is not None for s in settings):
        grey = torch.where(levels > 0, (grey * levels).round() / levels, grey)
    return gain * (low + span * grey) + offset


def _columns(rows: Sequence[Sequence[float]], like: Tensor) -> tuple[Float[Tensor, "B 1 1"], ...]:
    """Numbers with one row per image, as one tensor per column, transferred at once."""
    table = np.array(rows, dtype=np.float64).T[..., None, None]
    return on_device(table, like.device).to(like.dtype).unbind(0)


def _median(values: Float[Tensor, "B H W"], among: Bool[Tensor, "B H W"]) -> Float[Tensor, "B 1 1"]:
    """Median of each image over some of its pixels, infinite where there are none."""
    ascending = torch.where(among, values, math.inf).flatten(1).sort(1).values
    count = among.flatten(1).sum(1, keepdim=True)
    # the middle two, which for an odd number are the same
    middle = torch.cat([(count - 1).clamp_min(0) // 2, count // 2], 1)
    return ascending.gather(1, middle).mean(1)[:, None, None]


def _ink(carm: CArm, settings: Sequence[Acquisition], like: Tensor) -> Float[Tensor, "B H W"]:
    """Coverage, 0 to 1, of each image's text.

    Only the box that holds it goes to the device, and the same text in the same field is drawn once.
    """
    drawn = {i: _text_box(s.text, carm.shape, *detector.exposed_spans(carm, s)) for i, s in enumerate(settings) if s.text}
    boxes = np.array([box for _, box in drawn.values()])
    top, left = (int(v) for v in boxes[:, :2].min(0))
    bottom, right = (int(v) for v in boxes[:, 2:].max(0))
    pages = np.zeros((len(settings), bottom - top, right - left), dtype=np.uint8)
    for i, (page, _) in drawn.items():
        pages[i] = page[top:bottom, left:right]
    ink = on_device(pages, like.device).to(like.dtype) / 255
    rows, cols = carm.shape
    return F.pad(ink, (left, cols - right, top, rows - bottom))


@lru_cache(maxsize=512)
def _text_box(
    text: str, shape: tuple[int, int], rows: tuple[int, int], cols: tuple[int, int]
) -> tuple[NDArray[np.uint8], tuple[int, int, int, int]]:
    """The text's page and the box (top, left, bottom, right) outside of which it is blank."""
    page = detector.text_page(text, shape, rows, cols)
    page.setflags(write=False)
    if not page.any():
        return page, (0, 0, 1, 1)
    y, x = np.nonzero(page)
    return page, (int(y.min()), int(x.min()), int(y.max()) + 1, int(x.max()) + 1)
