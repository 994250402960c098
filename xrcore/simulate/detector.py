"""From the intensity that leaves the patient to the grey values of a file."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter

from xrcore.geometry import CArm
from xrcore.simulate.acquisition import Acquisition

_SIGMA_PER_FWHM = 1 / math.sqrt(8 * math.log(2))
_SHADOW = 0.1  # attenuation above which a pixel is behind the patient


def with_scatter(primary: Float[NDArray, "H W"], carm: CArm, settings: Acquisition) -> Float[NDArray, "H W"]:
    """Primary plus scattered intensity.

    Scatter arises where primary photons are lost, so it is the blurred -P log P, scaled to the wanted median
    scatter-to-primary ratio behind the patient. Source: Ohnesorge, Flohr, Klingenbeck-Regn, European Radiology 9, 1999.
    """
    shadow = primary < math.exp(-_SHADOW)
    if settings.scatter == 0 or not shadow.any():
        return primary
    shape = _blurred(-primary * np.log(np.maximum(primary, 1e-30)), carm, settings.scatter_width)
    return primary + shape * (settings.scatter / float(np.median(shape[shadow] / primary[shadow])))


def blurred(intensity: Float[NDArray, "H W"], carm: CArm, settings: Acquisition) -> Float[NDArray, "H W"]:
    """Intensity blurred by focal spot and detector."""
    return _blurred(intensity, carm, settings.blur) if settings.blur > 0 else intensity


def counted(intensity: Float[NDArray, "H W"], settings: Acquisition, generator: np.random.Generator) -> Float[NDArray, "H W"]:
    """Attenuation image -log(I / I0) of the photons counted; a starved pixel reads one photon."""
    if settings.photons is None:
        return -np.log(np.maximum(intensity, 1e-30))
    shadow = intensity[intensity < math.exp(-_SHADOW)]
    photons = max(settings.photons, settings.exposure_control / float(np.median(shadow)) if shadow.size else 0.0)
    counts = generator.poisson(intensity * photons) + generator.normal(0.0, settings.electronic_noise, intensity.shape)
    return -np.log(np.maximum(counts, 1.0) / photons)


def field_of_view(carm: CArm, settings: Acquisition) -> Bool[NDArray, "H W"]:
    """True where the detector is exposed."""
    rows, cols = carm.shape
    y = np.arange(rows)[:, None] - (rows - 1) / 2
    x = np.arange(cols)[None] - (cols - 1) / 2
    share = settings.mask_fraction
    if settings.mask == "circle":
        return np.hypot(y, x) <= share * min(rows, cols) / 2
    if settings.mask == "rectangle":
        return (np.abs(y) <= share * rows / 2) & (np.abs(x) <= share * cols / 2)
    return np.ones((rows, cols), dtype=bool)


def displayed(attenuation: Float[NDArray, "H W"], seen: Bool[NDArray, "H W"], settings: Acquisition) -> Float[NDArray, "H W"]:
    """Grey values of the file: gamma, burnt-in text, polarity and quantisation within the range seen; then gain and offset.

    Outside the field the file holds its darkest grey.
    """
    low, high = float(attenuation[seen].min()), float(attenuation[seen].max())
    span = high - low if high > low else 1.0
    grey = np.clip((attenuation - low) / span, 0.0, 1.0) ** settings.gamma
    if settings.text:
        ink = _text(settings.text, seen)
        grey = grey + ink * (1.0 - grey)
    if settings.inverted:
        grey = 1.0 - grey
    grey = np.where(seen, grey, 0.0)
    if settings.bits is not None:
        levels = 2**settings.bits - 1
        grey = np.round(grey * levels) / levels
    return settings.gain * (low + span * grey) + settings.offset


def _blurred(image: Float[NDArray, "H W"], carm: CArm, width: float) -> Float[NDArray, "H W"]:
    """Gaussian of full width `width` [mm] at half maximum; beyond its edge the image goes on as it ends."""
    return gaussian_filter(image, [width * _SIGMA_PER_FWHM / s for s in carm.spacing], mode="nearest")


def _text(text: str, seen: Bool[NDArray, "H W"]) -> Float[NDArray, "H W"]:
    """Coverage, 0 to 1, of `text` in the upper left of the field."""
    rows, cols = seen.shape
    inside_rows, inside_cols = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
    # the corner of the square within the field's circle
    inset = (1 - math.sqrt(0.5)) / 2
    top = inside_rows[0] + inset * len(inside_rows)
    left = inside_cols[0] + inset * len(inside_cols)
    page = Image.new("L", (cols, rows))
    ImageDraw.Draw(page).text((left, top), text, fill=255, font=ImageFont.load_default(size=max(6.0, min(rows, cols) / 14)))
    return np.asarray(page, dtype=np.float64) / 255
