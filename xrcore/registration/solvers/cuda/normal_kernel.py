# mypy: ignore-errors
"""Normal equations of standardised pixels, in Triton; the formulas of `similarities.standardised`, on tiles of 8 x 8.

With the numbers x = (J1 .. J6, m, 1) of a pixel, all that is asked for are the sums of x x^T and of f x over the pixels of each group:
from them x's covariances follow, and from those the correlation, its gradient and the Gauss-Newton Hessian. Products and sums are double
precision, in which variances may be differences of raw sums.
"""

from __future__ import annotations

import triton
import triton.language as tl

ROWS = 9  # of 8 sums: x x^T, then f x

_SUMS = tl.constexpr(8 * ROWS)
_CROSS = tl.constexpr(64)


@triton.jit(do_not_specialize=["count", "cells", "splits", "rounds", "pixel_view", "pixel_cell", "column_view", "column_cell"])
def sums(
    pixels,
    columns,
    fixed,
    inside,
    out,
    count,
    cells,
    splits,
    rounds,
    pixel_view,
    pixel_cell,
    pixel_step,
    column_view,
    column_cell,
    column_step,
    column_number,
    MASKED: tl.constexpr,
    LANES: tl.constexpr,
):
    """Sums of x x^T and f x over a part of a cell's pixels; a program is one of `splits` parts of a cell of a view.

    pixels (B, C, P), columns (B, C, P, 6), with their strides: m and J. fixed, inside (C, P): f, and 1 where a pixel counts. count: P.
    out (B, C, splits, 9, 8), float64: written.
    """
    program = tl.program_id(0)
    cell = program // splits % cells
    view = (program // splits // cells).to(tl.int64)
    number = tl.arange(0, 8)
    lane = tl.arange(0, LANES)
    m_of = pixels + view * pixel_view + cell * pixel_cell
    j_of = columns + view * column_view + cell * column_cell + number * column_number
    products = tl.zeros((8, 8, LANES), tl.float64)
    cross = tl.zeros((8, LANES), tl.float64)
    for n in range(rounds):
        p = (program % splits * rounds + n) * LANES + lane
        counts = p < count
        if MASKED:
            counts = counts & (tl.load(inside + cell * count + p, mask=counts, other=0.0) != 0.0)
        m = tl.load(m_of + p * pixel_step, mask=counts, other=0.0)
        f = tl.load(fixed + cell * count + p, mask=counts, other=0.0)
        j = tl.load(j_of[:, None] + (p * column_step)[None, :], mask=(number < 6)[:, None] & counts[None, :], other=0.0)
        one = tl.where(counts, 1.0, 0.0)
        x = tl.where((number == 6)[:, None], m[None, :], tl.where((number == 7)[:, None], one[None, :], j)).to(tl.float64)
        products += x[:, None, :] * x[None, :, :]
        cross += x * f.to(tl.float64)[None, :]
    o = out + program.to(tl.int64) * _SUMS
    tl.store(o + number[:, None] * 8 + number[None, :], tl.sum(products, 2))
    tl.store(o + _CROSS + number, tl.sum(cross, 1))


@triton.jit
def row_of(tile, i: tl.constexpr):
    """A row of an 8 x 8 tile."""
    return tl.sum(tl.where(tl.arange(0, 8)[:, None] == i, tile, 0.0), 0)


@triton.jit
def element_of(vector, i: tl.constexpr):
    """An element of a vector of 8."""
    return tl.sum(tl.where(tl.arange(0, 8) == i, vector, 0.0))


@triton.jit
def _with_image(tile):
    """Of sums x x^T: how many pixels (at least 1), the means of x, and the covariances of x with m."""
    last = row_of(tile, 7)
    count = tl.maximum(element_of(last, 7), 1.0)
    mean = last / count
    return count, mean, row_of(tile, 6) / count - element_of(mean, 6) * mean


@triton.jit(do_not_specialize=["groups"])
def standardised(
    group_sums,
    totals,
    weights,
    fixed_scale,
    fixed_extra,
    out,
    groups,
    variance_floor,
    tolerance,
    robustness,
    FLOORED: tl.constexpr,
    ROBUST: tl.constexpr,
    GROUPS: tl.constexpr,
):
    """Normal equations of GROUPS groups of a view, weighted and added up; a program is a block of groups of a view.

    group_sums (B, G, 9, 8): from `sums`. totals (B, 9, 8): of the whole image, if FLOORED: `variance_floor` times its variance is every
    group's contrast floor. weights, fixed_scale, fixed_extra (G,): of a `StandardisedFit`. tolerance: `flat_tolerance`.
    robustness: its `tolerance`, if ROBUST.
    out (B, blocks, 8, 8): written, as `normal_tiles` says. All tensors are float64.
    """
    program = tl.program_id(0)
    blocks = (groups + GROUPS - 1) // GROUPS
    view = program // blocks
    i = tl.arange(0, 8)
    row = i[:, None]
    col = i[None, :]
    place = row * 8 + col

    # zeros are made of tensors, because a plain 0.0 is single precision and would change its type in a branch or a loop
    d_floor = tl.zeros((8,), tl.float64)
    d_root = d_floor
    e = tl.sum(d_floor)
    root = e
    if FLOORED:
        _, _, whole = _with_image(tl.load(totals + view * _SUMS + place))
        e = variance_floor * element_of(whole, 6)
        root = tl.sqrt(tl.maximum(e, 0.0))
        d_floor = 2.0 * variance_floor * whole
        d_root = d_floor / (2.0 * tl.where(e > 0.0, root, 1.0))

    gradient = tl.zeros((8,), tl.float64)
    value = tl.sum(gradient)
    hessian = tl.zeros((8, 8), tl.float64)
    for n in range(GROUPS):
        number = program % blocks * GROUPS + n
        group = tl.minimum(number, groups - 1)
        s = group_sums + (view * groups + group).to(tl.int64) * _SUMS
        products = tl.load(s + place)
        cross = tl.load(s + _CROSS + i)
        scale = tl.load(fixed_scale + group)
        extra = tl.load(fixed_extra + group)

        count, mean, with_m = _with_image(products)
        with_f = cross / count - element_of(cross, 7) / count * mean
        variance = element_of(with_m, 6)
        average = element_of(mean, 6)
        varied = variance + e > tolerance * (variance + average * average)
        q = tl.where(varied, variance + e, 1.0)
        correlation = (element_of(with_f, 6) * scale + root * extra) / tl.sqrt(q)
        h = (with_m + 0.5 * d_floor) / q
        f_j = with_f * scale + extra * d_root
        weight = tl.where(varied & (number < groups), tl.load(weights + group), 0.0)
        worth = correlation
        if ROBUST:
            loss = 1.0 - correlation
            worth = 1.0 - loss * (1.0 + robustness) / (robustness + loss)
        value += tl.where(varied, weight * worth, 0.0)  # also where it is not a number
        if ROBUST:
            weight = weight * robustness * (1.0 + robustness) / ((robustness + loss) * (robustness + loss))
        gradient += weight * (correlation * h - f_j / tl.sqrt(q))
        of_j = products / count - mean[:, None] * mean[None, :] + d_root[:, None] * d_root[None, :]
        hessian += weight * (of_j / q - h[:, None] * h[None, :])

    tile = tl.where((row < 6) & (col < 6), hessian, 0.0)
    tile = tl.where((row == 6) & (col < 6), gradient[None, :], tile)
    tile = tl.where((row == 7) & (col == 7), value, tile)
    tl.store(out + program.to(tl.int64) * 64 + place, tile)
