"""Expose one image: from the intensity behind the patient to the grey values of the file."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter

from xrcore._util.errors import XrcoreError
from xrcore.geometry import CArm
from xrcore.simulation.acquisition import Acquisition
from xrcore.simulation.noise import FAINTEST, SHADOW, count_photons

SIGMA_PER_FWHM = 1 / math.sqrt(8 * math.log(2))


def expose(
    primary: Float[NDArray, "H W"], carm: CArm, settings: Acquisition, generator: np.random.Generator
) -> tuple[Float[NDArray, "H W"], Bool[NDArray, "H W"]]:
    """Grey values and the field of view, for the share of intensity that passed: scatter, blur, noise, grey levels, in this order."""
    intensity = blur(with_scatter(primary, carm, settings), carm, settings)
    seen = exposed_field(carm, settings)
    return display(count_photons(intensity, settings, generator), seen, carm, settings), seen


def with_scatter(primary: Float[NDArray, "H W"], carm: CArm, settings: Acquisition) -> Float[NDArray, "H W"]:
    """Primary plus scattered intensity.

    Scatter arises where primary photons are lost, so it is the blurred -P log P, scaled to the wanted median
    scatter-to-primary ratio behind the patient, where anything arrives. Source: Ohnesorge, Flohr, Klingenbeck-Regn,
    European Radiology 9, 1999.
    """
    shadow = (primary < SHADOW) & (primary > FAINTEST)
    if settings.scatter == 0 or not shadow.any():
        return primary
    shape = _gaussian(-primary * np.log(np.maximum(primary, FAINTEST)), carm, settings.scatter_width)
    return primary + shape * (settings.scatter / float(np.median(shape[shadow] / primary[shadow])))


def blur(intensity: Float[NDArray, "H W"], carm: CArm, settings: Acquisition) -> Float[NDArray, "H W"]:
    """Intensity blurred by focal spot and detector."""
    return _gaussian(intensity, carm, settings.blur) if settings.blur > 0 else intensity


def exposed_field(carm: CArm, settings: Acquisition) -> Bool[NDArray, "H W"]:
    """True where the detector is exposed."""
    y, x = (np.abs(np.arange(n) - (n - 1) / 2) for n in carm.shape)
    radius, half_rows, half_cols = field_extents(carm, settings)
    return (np.hypot(y[:, None], x) <= radius) & (y[:, None] <= half_rows) & (x <= half_cols)


def field_extents(carm: CArm, settings: Acquisition) -> tuple[float, float, float]:
    """How far from its centre the field goes [pixels]: in any direction, along the rows' index, along the columns'."""
    rows, cols = carm.shape
    share = settings.mask_fraction
    radius = half_rows = half_cols = math.inf
    if settings.mask == "circle":
        radius = share * min(rows, cols) / 2
    elif settings.mask == "rectangle":
        half_rows, half_cols = share * rows / 2, share * cols / 2
    y, x = (0.5 - n % 2 / 2 for n in carm.shape)  # of the pixel nearest to the centre
    if math.hypot(y, x) > radius or y > half_rows or x > half_cols:
        raise XrcoreError(f"Acquisition: mask_fraction {share:g} leaves none of {rows} x {cols} pixels exposed; give a larger one")
    return radius, half_rows, half_cols


def exposed_spans(carm: CArm, settings: Acquisition) -> tuple[tuple[int, int], tuple[int, int]]:
    """The rows and the columns that the field touches, each as (first, how many)."""
    radius, *halves = field_extents(carm, settings)
    spans = []
    for n, other, half in zip(carm.shape, reversed(carm.shape), halves, strict=True):
        nearest = 0.5 - other % 2 / 2  # distance from the centre of the pixel that is nearest to it
        distances = np.abs(np.arange(n) - (n - 1) / 2)
        count = int(((np.hypot(distances, nearest) <= radius) & (distances <= half)).sum())
        spans.append(((n - count) // 2, count))
    return spans[0], spans[1]


def display(attenuation: Float[NDArray, "H W"], seen: Bool[NDArray, "H W"], carm: CArm, settings: Acquisition) -> Float[NDArray, "H W"]:
    """Grey values of the file: gamma, burnt-in text, polarity and quantisation within the range seen; then gain and offset.

    Outside the field the file holds its darkest grey.
    """
    low, high = float(attenuation[seen].min()), float(attenuation[seen].max())
    span = high - low if high > low else 1.0
    grey = np.clip((attenuation - low) / span, 0.0, 1.0) ** settings.gamma
    if settings.text:
        ink = text_page(settings.text, carm.shape, *exposed_spans(carm, settings)) / 255
        grey = grey + ink * (1.0 - grey)
    if settings.inverted:
        grey = 1.0 - grey
    grey = np.where(seen, grey, 0.0)
    if settings.bits is not None:
        levels = 2**settings.bits - 1
        grey = np.round(grey * levels) / levels
    return settings.gain * (low + span * grey) + settings.offset


def _gaussian(image: Float[NDArray, "H W"], carm: CArm, width: float) -> Float[NDArray, "H W"]:
    """Gaussian of full width `width` [mm] at half maximum; beyond its edge the image goes on as it ends."""
    return gaussian_filter(image, [width * SIGMA_PER_FWHM / s for s in carm.spacing], mode="nearest")


def text_page(text: str, shape: tuple[int, int], rows: tuple[int, int], cols: tuple[int, int]) -> UInt8[NDArray, "H W"]:
    """Coverage, 0 to 255, of `text` in the upper left of the field, whose rows and columns are given as (first, how many)."""
    # the corner of the square within the field's circle
    inset = (1 - math.sqrt(0.5)) / 2
    top, left = (first + inset * count for first, count in (rows, cols))
    page = Image.new("L", (shape[1], shape[0]))
    ImageDraw.Draw(page).text((left, top), text, fill=255, font=ImageFont.load_default(size=max(6.0, min(shape) / 14)))
    return np.array(page)
