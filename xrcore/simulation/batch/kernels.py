# mypy: ignore-errors
"""Noise and rods for a batch of images, in Triton. `noise` and `rods` do the same in some 400 launches of torch operations."""

from __future__ import annotations

import triton
import triton.language as tl

from xrcore.simulation.batch.random_numbers import BITS, FEW, MOST

_SHIFT = tl.constexpr(32 - BITS)
_SCALE = tl.constexpr(2.0**-BITS)
_FEW = tl.constexpr(FEW)
_MOST = tl.constexpr(MOST)
_ROOT_2 = tl.constexpr(2.0**0.5)


@triton.jit
def _uniform(word):
    """As `random_numbers.uniforms` makes them of words of 32 bits."""
    return ((word >> _SHIFT).to(tl.int32).to(tl.float32) + 0.5) * _SCALE


@triton.jit
def _normal(u):
    """The normal deviate below which the share u lies.

    Source: Giles, Approximating the erfinv function, GPU Computing Gems Jade Edition, 2011, its single precision.
    """
    w = -tl.log(4.0 * u * (1.0 - u))
    near = tl.minimum(w, 5.0) - 2.5
    p = 3.43273939e-07 + 2.81022636e-08 * near
    p = -3.5233877e-06 + p * near
    p = -4.39150654e-06 + p * near
    p = 0.00021858087 + p * near
    p = -0.00125372503 + p * near
    p = -0.00417768164 + p * near
    p = 0.246640727 + p * near
    p = 1.50140941 + p * near
    far = tl.sqrt(tl.maximum(w, 5.0)) - 3.0
    q = 0.000100950558 - 0.000200214257 * far
    q = 0.00134934322 + q * far
    q = -0.00367342844 + q * far
    q = 0.00573950773 + q * far
    q = -0.0076224613 + q * far
    q = 0.00943887047 + q * far
    q = 1.00167406 + q * far
    q = 2.83297682 + q * far
    return _ROOT_2 * tl.where(w < 5.0, p, q) * (2.0 * u - 1.0)


@triton.jit
def _poisson(mean, u):
    """As `random_numbers.poisson`."""
    many = tl.maximum(mean, _FEW)
    w, root = _normal(u), tl.sqrt(many)
    w2 = w * w
    first = (2.0 + w2) * (1.0 / 6.0) - (w * (1.0 / 36.0) + w * w2 * (1.0 / 72.0)) / root
    expansion = many + root * w + first + (-8.0 / 405.0 + w2 * (7.0 / 810.0) + w2 * w2 * (1.0 / 270.0)) / many
    few = tl.minimum(mean, _FEW)
    term = tl.exp(-few)
    below = term
    counts = tl.zeros_like(mean)
    for n in tl.static_range(1, _MOST + 1):
        counts += tl.where(u > below, 1.0, 0.0)
        term = term * few / n
        below += term
    return tl.where(mean < _FEW, counts, tl.maximum(tl.floor(expansion), 0.0))


@triton.jit(do_not_specialize=["pixels", "blocks"])
def detect(intensity, photons, electronic, seeds, out, pixels, blocks, LANES: tl.constexpr):
    """Attenuation images of the photons counted; a program is LANES pixels of an image.

    intensity, out (B, pixels). photons (B,): a pixel without a patient, 0 for no noise. electronic (B,): [photons]. seeds (B,): int64.
    """
    image = tl.program_id(0) // blocks
    pixel = tl.program_id(0) % blocks * LANES + tl.arange(0, LANES)
    there = pixel < pixels
    at = image.to(tl.int64) * pixels + pixel
    passed = tl.load(intensity + at, mask=there, other=1.0)
    per_pixel = tl.load(photons + image)
    # two pixels share a counter, one half of the image's with the other's
    half = (pixels + 1) // 2
    upper = pixel >= half
    place = tl.where(upper, pixel - half, pixel)
    none = tl.zeros_like(place)
    a, b, c, d = tl.philox(tl.load(seeds + image), place, none, none, none)
    quanta = _poisson(passed * per_pixel, _uniform(tl.where(upper, b, a)))
    counts = quanta + tl.load(electronic + image) * _normal(_uniform(tl.where(upper, d, c)))
    noisy = -tl.log(tl.maximum(counts, 1.0) / tl.where(per_pixel > 0.0, per_pixel, 1.0))
    exact = -tl.log(tl.maximum(passed, 1e-30))
    tl.store(out + at, tl.where(per_pixel > 0.0, noisy, exact), mask=there)


@triton.jit(do_not_specialize=["rows", "cols", "blocks", "energies"])
def shade(images, chosen, rods, spectra, rows, cols, blocks, energies, lines, LANES: tl.constexpr):
    """Multiply intensities by the share that passes each image's rod; a program is LANES pixels of a chosen image.

    images (B, rows, cols), float32, written. chosen (n,): which of them. rods (n, 8), float64: tip, direction, length, radius [mm].
    spectra (2, n, energies), float32: weights, and attenuation [1/mm]. lines (4,), float64: the x [mm at a depth of 1 mm] of the first
    column and from column to column, then of the rows.
    """
    rod = tl.program_id(0) // blocks
    pixel = tl.program_id(0) % blocks * LANES + tl.arange(0, LANES)
    there = pixel < rows * cols
    x = tl.load(lines) + (pixel % cols).to(tl.float64) * tl.load(lines + 1)
    y = tl.load(lines + 2) + (pixel // cols).to(tl.float64) * tl.load(lines + 3)
    r = rods + rod * 8
    px, py, pz = tl.load(r), tl.load(r + 1), tl.load(r + 2)
    ax, ay, az = tl.load(r + 3), tl.load(r + 4), tl.load(r + 5)
    length, radius = tl.load(r + 6), tl.load(r + 7)
    norm = tl.sqrt(x * x + y * y + 1.0)
    ux, uy, uz = x / norm, y / norm, 1.0 / norm
    cx, cy, cz = uy * az - uz * ay, uz * ax - ux * az, ux * ay - uy * ax
    sine = tl.maximum(tl.sqrt(cx * cx + cy * cy + cz * cz), 1e-6)
    distance = tl.abs(cx * px + cy * py + cz * pz) / sine
    cosine = ux * ax + uy * ay + uz * az
    along = (cosine * (ux * px + uy * py + uz * pz) - (ax * px + ay * py + az * pz)) / (sine * sine)
    inside = (distance < radius) & (along >= 0.0) & (along <= length)
    chord = tl.where(inside, 2.0 * tl.sqrt(tl.maximum(radius * radius - distance * distance, 0.0)) / sine, 0.0).to(tl.float32)
    passed = tl.zeros((LANES,), tl.float32)
    weights = spectra + rod * energies
    attenuation = weights + tl.num_programs(0) // blocks * energies
    for energy in range(energies):
        passed += tl.load(weights + energy) * tl.exp(-chord * tl.load(attenuation + energy))
    at = images + tl.load(chosen + rod) * rows * cols + pixel
    tl.store(at, tl.load(at, mask=there, other=0.0) * tl.where(chord > 0.0, passed, 1.0), mask=there)
