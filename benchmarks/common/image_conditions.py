"""What happens to an X-ray on its way to a registration: exposure, processing, occlusion, and files that do not say what they hold.

A condition turns area densities into an `Xray` as `read_xray` would give it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage
from skimage import exposure

import xrcore as xr
from xrcore.xray.exposed_field import field_of_view

from .independent_simulator import intensity

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Scene:
    """One exposure: area densities (3, H, W) as the CT says and with changed soft tissue, and the C-arm."""

    area: NDArray[np.float32]
    changed: NDArray[np.float32]
    carm: xr.CArm


def counts(
    scene: Scene,
    generator: Generator,
    *,
    changed: bool = False,
    photons: float = 20_000,
    scatter: float = 0.3,
    extra: Array | None = None,
) -> Array:
    """Detected photons. scatter: its share of the primary, median over the shadow; extra: iron in the way [g/cm2]."""
    area = (scene.changed if changed else scene.area).copy()
    if extra is not None:
        area[2] += extra
    primary = intensity(area, generator.uniform(70, 120))
    shadow = primary < 0.7
    if scatter and shadow.any():
        wide = ndimage.gaussian_filter(-primary * np.log(primary + 1e-12), 25, mode="nearest")
        primary = primary + wide * scatter / np.median(wide[shadow] / primary[shadow])
    exposed = ndimage.gaussian_filter(primary, 0.8)
    photons = max(photons, 300 / max(float(np.median(exposed[shadow])) if shadow.any() else 1.0, 1e-6)) if photons > 1000 else photons
    return generator.poisson(exposed * photons).astype(float)


def attenuation(detected: Array) -> Array:
    """Logarithm of counts, bone bright."""
    return -np.log(np.maximum(detected, 0.5) / max(np.percentile(detected, 99.9), 1.0))


def unit(image: Array, low: float = 0.2, high: float = 99.8) -> Array:
    """Between two percentiles, as 0 to 1."""
    a, b = np.percentile(image, (low, high))
    return np.clip((image - a) / max(b - a, 1e-9), 0, 1)


def as_read(image: Array, scene: Scene, bits: int | None = None) -> xr.Xray:
    """What `read_xray` makes of a raster file with these values."""
    values = np.round(unit(image, 0, 100) * (2**bits - 1)) if bits else image
    values = values.astype(np.float32)
    return xr.Xray(image=torch.from_numpy(values), carm=scene.carm, mask=torch.from_numpy(field_of_view(values)))


def counts_said(scene: Scene, g: Generator) -> xr.Xray:
    """A file of counts that says so."""
    return as_read(attenuation(counts(scene, g)), scene)


def counts_not_said(scene: Scene, g: Generator) -> xr.Xray:
    """A 16-bit file of counts, bone dark, read as it is."""
    return as_read(unit(counts(scene, g), 0, 99.99), scene, 16)


def display(scene: Scene, g: Generator) -> xr.Xray:
    """Eight bits and a gamma of 0.5 to 2."""
    return as_read(unit(attenuation(counts(scene, g))) ** np.exp(g.uniform(-0.7, 0.7)), scene, 8)


def sigmoid(scene: Scene, g: Generator) -> xr.Xray:
    """A sigmoid window, bone dark."""
    image = unit(attenuation(counts(scene, g)))
    middle = np.median(image[image > 0.1])
    return as_read(-1 / (1 + np.exp(-g.uniform(4, 9) * (image - middle))), scene, 12)


def clahe(scene: Scene, g: Generator) -> xr.Xray:
    """Contrast-limited adaptive histogram equalisation."""
    return as_read(
        exposure.equalize_adapthist(unit(attenuation(counts(scene, g))), kernel_size=32, clip_limit=g.uniform(0.01, 0.04)), scene, 8
    )


def unsharp(scene: Scene, g: Generator) -> xr.Xray:
    """Edges enhanced by unsharp masking."""
    image = unit(attenuation(counts(scene, g)))
    return as_read(unit(image + g.uniform(1.5, 4) * (image - ndimage.gaussian_filter(image, g.uniform(3, 10)))), scene, 10)


def saturated(scene: Scene, g: Generator) -> xr.Xray:
    """35 % of the pixels at the ends of the grey scale."""
    low = g.uniform(10, 25)
    return as_read(unit(attenuation(counts(scene, g)), low, 65 + low), scene, 10)


def _strokes(shape: tuple[int, int], draw: Callable[[ImageDraw.ImageDraw], None]) -> Array:
    page = Image.new("F", (shape[1] * 2, shape[0] * 2))
    draw(ImageDraw.Draw(page))
    return np.array(page.resize((shape[1], shape[0]), Image.Resampling.BOX), dtype=float)


def _tools(shape: tuple[int, int], g: Generator) -> Array:
    rows, cols = shape

    def draw(pen: ImageDraw.ImageDraw) -> None:
        for _ in range(g.integers(2, 5)):
            x, y = g.uniform(0.2, 0.8, 2) * (2 * cols, 2 * rows)
            angle, length = g.uniform(0, 2 * np.pi), g.uniform(0.25, 0.8) * cols
            dx, dy = length * np.cos(angle), length * np.sin(angle)
            pen.line((x - dx, y - dy, x + dx, y + dy), fill=float(g.uniform(3, 12)), width=int(g.integers(5, 22)))
        x, y, radius = g.uniform(0.3, 0.7) * 2 * cols, g.uniform(0.3, 0.7) * 2 * rows, g.uniform(0.1, 0.3) * 2 * cols
        pen.arc((x - radius, y - radius, x + radius, y + radius), 0, 300, fill=float(g.uniform(4, 8)), width=int(g.integers(8, 20)))

    return _strokes(shape, draw)


def tools(scene: Scene, g: Generator) -> xr.Xray:
    """Rods and a retractor of metal that the CT lacks."""
    return as_read(attenuation(counts(scene, g, extra=_tools(scene.carm.shape, g))), scene, 12)


def text(scene: Scene, g: Generator) -> xr.Xray:
    """Letters and a ruler burnt in."""
    image, shape = unit(attenuation(counts(scene, g))), scene.carm.shape

    def draw(pen: ImageDraw.ImageDraw) -> None:
        for words in ("L", "PORTABLE 12:41", "AP SUPINE"):
            place = tuple(g.uniform(0.02, 0.7, 2) * (2 * shape[1], 2 * shape[0]))
            pen.text(place, words, fill=1.0, font=ImageFont.load_default(size=int(g.integers(20, 60))))
        for k in range(20):
            pen.line((2 * shape[1] - 30, 40 + 20 * k, 2 * shape[1] - 10, 40 + 20 * k), fill=1.0, width=2)

    return as_read(np.maximum(image, _strokes(shape, draw)), scene, 8)


def collimated(scene: Scene, g: Generator) -> xr.Xray:
    """Blades leave a rectangle off the centre; behind them the file is black."""
    image = unit(attenuation(counts(scene, g)))
    rows, cols = scene.carm.shape
    height, width = (g.uniform(0.45, 0.7, 2) * (rows, cols)).astype(int)
    top, left = g.integers(0, rows - height), g.integers(0, cols - width)
    blades = np.ones((rows, cols), dtype=bool)
    blades[top : top + height, left : left + width] = False
    return as_read(np.where(blades, 0.0, 0.02 + 0.98 * image), scene, 12)


def leaking_blades(scene: Scene, g: Generator) -> xr.Xray:
    """Blades behind which scatter and noise are counted; nothing is constant."""
    detected = counts(scene, g)
    rows, cols = scene.carm.shape
    height, width = (g.uniform(0.5, 0.75, 2) * (rows, cols)).astype(int)
    top, left = g.integers(0, rows - height), g.integers(0, cols - width)
    blades = np.ones((rows, cols))
    blades[top : top + height, left : left + width] = 0
    blades = ndimage.gaussian_filter(blades, 1.0)
    leak = ndimage.gaussian_filter(detected, 40) * 0.03
    return as_read(attenuation(g.poisson(np.maximum(detected * (1 - blades) + leak * blades, 0)).astype(float)), scene, 12)


def few_photons(scene: Scene, g: Generator) -> xr.Xray:
    """300 photons a pixel without the patient."""
    return as_read(attenuation(counts(scene, g, photons=300)), scene, 12)


def tissue_changed(scene: Scene, g: Generator) -> xr.Xray:
    """Bowel gas moved, soft tissue changed smoothly at random."""
    return as_read(attenuation(counts(scene, g, changed=True)), scene, 12)


def much_scatter(scene: Scene, g: Generator) -> xr.Xray:
    """60 % of what is detected behind the patient is scatter."""
    return as_read(attenuation(counts(scene, g, scatter=1.5)), scene, 12)


def wires(scene: Scene, g: Generator) -> xr.Xray:
    """Wires and the edge of a table."""
    rows, cols = scene.carm.shape

    def draw(pen: ImageDraw.ImageDraw) -> None:
        for _ in range(4):
            x = np.linspace(0, 2 * cols, 40)
            y = 2 * rows * (g.uniform(0.1, 0.9) + 0.1 * np.sin(x / g.uniform(40, 120) + g.uniform(0, 6)))
            pen.line([tuple(p) for p in np.stack([x, y], 1)], fill=float(g.uniform(0.3, 1.0)), width=3)
        edge = g.uniform(0.1, 0.9) * 2 * cols
        pen.polygon([(edge, 0), (2 * cols, 0), (2 * cols, 2 * rows), (edge + 60, 2 * rows)], fill=0.15)

    return as_read(attenuation(counts(scene, g, extra=_strokes(scene.carm.shape, draw))), scene, 12)


def vignetted(scene: Scene, g: Generator) -> xr.Xray:
    """A round field, darker towards its border; heel effect."""
    rows, cols = scene.carm.shape
    y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : cols * 1j]
    shade = (1 - 0.4 * (x**2 + y**2)) * (1 + g.uniform(-0.3, 0.3) * y)
    image = attenuation(np.maximum(counts(scene, g) * shade, 0.5))
    image = unit(image)
    return as_read(np.where(np.hypot(x, y) <= 1, 0.02 + 0.98 * image, 0.0), scene, 12)


def motion(scene: Scene, g: Generator) -> xr.Xray:
    """Blurred along a line of 6 pixels."""
    detected = counts(scene, g)
    angle = g.uniform(0, np.pi)
    steps = [(t * np.sin(angle), t * np.cos(angle)) for t in np.linspace(-3, 3, 7)]
    return as_read(attenuation(np.mean([ndimage.shift(detected, s, order=1, mode="nearest") for s in steps], 0)), scene, 12)


def equalised(scene: Scene, g: Generator) -> xr.Xray:
    """Histogram equalised over the whole image, bone dark."""
    return as_read(-exposure.equalize_hist(attenuation(counts(scene, g))), scene, 8)


def everything(scene: Scene, g: Generator) -> xr.Xray:
    """Tools, changed tissue, much scatter and a display gamma at once."""
    detected = counts(scene, g, changed=True, scatter=0.8, extra=0.5 * _tools(scene.carm.shape, g))
    return as_read(unit(attenuation(detected)) ** np.exp(g.uniform(-0.4, 0.4)), scene, 8)


CONDITIONS: dict[str, Callable[[Scene, Generator], xr.Xray]] = {
    "counts, said so": counts_said,
    "counts, not said": counts_not_said,
    "display, 8 bit, gamma": display,
    "sigmoid, bone dark": sigmoid,
    "CLAHE": clahe,
    "unsharp masking": unsharp,
    "35 % saturated": saturated,
    "metal tools": tools,
    "burnt-in text": text,
    "collimated": collimated,
    "300 photons": few_photons,
    "soft tissue changed": tissue_changed,
    "scatter 60 %": much_scatter,
    "wires, table edge": wires,
    "leaking blades": leaking_blades,
    "round field, vignetted": vignetted,
    "motion blur": motion,
    "histogram equalised": equalised,
    "several at once": everything,
}

# what the verdict was set on
SET_ON_PATIENTS = ("1", "3", "4")
SET_ON = (
    "counts, said so",
    "display, 8 bit, gamma",
    "unsharp masking",
    "35 % saturated",
    "collimated",
    "300 photons",
    "scatter 60 %",
    "wires, table edge",
    "motion blur",
)
# what is added up of all conditions
ALL, UNSEEN = "all of the full-sized", "of these, under conditions that the verdict was not set on"
UNSEEN_PATIENTS = "of these, of patients that it was not set on"
