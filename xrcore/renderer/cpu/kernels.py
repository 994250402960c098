"""The CPU renderer's inner loops: Joseph's method with the pose Jacobian in the same pass.

A ray is a run of slices of its dominant axis. The loop over slices has no branch and no store, only sums, so LLVM
turns it into gathers and keeps every sum in a register. What one ray reads just fits the first-level cache and its
neighbour in the row reads nearly the same, so rows are walked from end to end: square tiles take twice as long.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from xrcore._util.code_cache import BOUNDS_CHECKED, cached_njit
from xrcore.renderer.cpu import intrinsics
from xrcore.renderer.cpu.intrinsics import add, bit_and, bits_to_float, load_u32, multiply, shift_left, shift_right, to_float, truncate
from xrcore.renderer.packing import BLOCK

BAND = 8  # image rows a thread takes at a time
_SEGMENT = 8  # neighbouring rays that share one search for the body
_STRIDE = 4  # slices between two looks at the occupancy map
# A look covers BLOCK voxels around it (the map is dilated by a block), less the bilinear neighbour and half a stride.
_REACH = BLOCK - 1 - _STRIDE // 2

_LANES = 16  # float32 in the widest vector in use

_LOW = np.int32(0xFFFF)
_HIGH = np.int32(16)
_ONE = np.int32(1)

_common: Any = {"nogil": True, "error_model": "numpy", "boundscheck": False}
_options: Any = _common | {"fastmath": True}
# where indices are made of floats: comparisons with what is not a number are false, as fastmath would not have it
_careful: Any = _common | {"fastmath": {"nsz", "arcp", "contract", "afn", "reassoc"}}


@njit(inline="always", **_options)
def _corners(words, index, row, length):
    if BOUNDS_CHECKED and (index < 0 or index + row + 1 >= len(words) or index % length + 1 == length):
        raise IndexError("a ray reads outside the grid, or from the end of one row and the start of the next")
    below = add(index, row)
    return load_u32(words, index), load_u32(words, add(index, _ONE)), load_u32(words, below), load_u32(words, add(below, _ONE))


@njit(**_options)
def _march(words, start, slice_step, row_step, count, u0, du, v0, dv, sums):
    """Sums over `count` slices of both materials in `words`: sums[m, 0]."""
    total0 = np.float32(0)
    total1 = np.float32(0)
    length = min(slice_step, row_step)  # of a row of words
    for i in range(count):
        k = np.int32(i)
        kf = to_float(k)
        u = u0 + kf * du
        v = v0 + kf * dv
        iu = truncate(u)
        iv = truncate(v)
        wu = u - to_float(iu)
        wv = v - to_float(iv)
        index = add(add(start, multiply(k, slice_step)), add(multiply(iv, row_step), iu))
        a, b, c, d = _corners(words, index, row_step, length)

        low_a = to_float(bit_and(a, _LOW))
        low_c = to_float(bit_and(c, _LOW))
        upper = low_a + wu * (to_float(bit_and(b, _LOW)) - low_a)
        lower = low_c + wu * (to_float(bit_and(d, _LOW)) - low_c)
        total0 += upper + wv * (lower - upper)

        high_a = to_float(shift_right(a, _HIGH))
        high_c = to_float(shift_right(c, _HIGH))
        upper = high_a + wu * (to_float(shift_right(b, _HIGH)) - high_a)
        lower = high_c + wu * (to_float(shift_right(d, _HIGH)) - high_c)
        total1 += upper + wv * (lower - upper)
    sums[0, 0] = total0
    sums[1, 0] = total1


@njit(**_options)
def _march_with_gradient(words, start, slice_step, row_step, count, u0, du, v0, dv, sums):
    """As `_march`, and the sums of df/du, k df/du, df/dv, k df/dv: sums[m, 1..4], k counted from the first slice."""
    f0 = np.float32(0)
    fu0 = np.float32(0)
    kfu0 = np.float32(0)
    fv0 = np.float32(0)
    kfv0 = np.float32(0)
    f1 = np.float32(0)
    fu1 = np.float32(0)
    kfu1 = np.float32(0)
    fv1 = np.float32(0)
    kfv1 = np.float32(0)
    length = min(slice_step, row_step)
    for i in range(count):
        k = np.int32(i)
        kf = to_float(k)
        u = u0 + kf * du
        v = v0 + kf * dv
        iu = truncate(u)
        iv = truncate(v)
        wu = u - to_float(iu)
        wv = v - to_float(iv)
        index = add(add(start, multiply(k, slice_step)), add(multiply(iv, row_step), iu))
        a, b, c, d = _corners(words, index, row_step, length)

        low_a = to_float(bit_and(a, _LOW))
        low_c = to_float(bit_and(c, _LOW))
        slope_upper = to_float(bit_and(b, _LOW)) - low_a
        slope_lower = to_float(bit_and(d, _LOW)) - low_c
        upper = low_a + wu * slope_upper
        gradient_v = low_c + wu * slope_lower - upper
        gradient_u = slope_upper + wv * (slope_lower - slope_upper)
        f0 += upper + wv * gradient_v
        fu0 += gradient_u
        kfu0 += kf * gradient_u
        fv0 += gradient_v
        kfv0 += kf * gradient_v

        high_a = to_float(shift_right(a, _HIGH))
        high_c = to_float(shift_right(c, _HIGH))
        slope_upper = to_float(shift_right(b, _HIGH)) - high_a
        slope_lower = to_float(shift_right(d, _HIGH)) - high_c
        upper = high_a + wu * slope_upper
        gradient_v = high_c + wu * slope_lower - upper
        gradient_u = slope_upper + wv * (slope_lower - slope_upper)
        f1 += upper + wv * gradient_v
        fu1 += gradient_u
        kfu1 += kf * gradient_u
        fv1 += gradient_v
        kfv1 += kf * gradient_v
    sums[0, 0] = f0
    sums[0, 1] = fu0
    sums[0, 2] = kfu0
    sums[0, 3] = fv0
    sums[0, 4] = kfv0
    sums[1, 0] = f1
    sums[1, 1] = fu1
    sums[1, 2] = kfu1
    sums[1, 3] = fv1
    sums[1, 4] = kfv1


@njit(inline="always", **_careful)
def _voxel(x, top):
    """Index in 0..top of a coordinate, whatever it is."""
    if not x > 0.0:
        return 0
    return int(x) if x < top else top


@njit(inline="always", **_careful)
def _within(x, top):
    """Whether a coordinate, rounded down, is an index whose next one the padded grid or its guard still has."""
    return x > -1.0 and x < top


@njit(inline="always", **_careful)
def _dominant(d0, d1, d2):
    a0, a1, a2 = abs(d0), abs(d1), abs(d2)
    if a0 >= a1 and a0 >= a2:
        return 0
    return 1 if a1 >= a2 else 2


@njit(inline="always", **_careful)
def _clip_range(first, last, origin, slope, center, upper):
    """Slices k in [first, last] where 0 <= origin + (k - center) * slope <= upper."""
    if abs(slope) < 1e-12:
        if origin < 0.0 or origin > upper:
            return 1.0, 0.0
        return first, last
    a = center + (0.0 - origin) / slope
    b = center + (upper - origin) / slope
    return max(first, min(a, b)), min(last, max(a, b))


@njit(**_careful)
def _body_range(occupied, size, ray, axis, first, last):
    """First and last slice at which the ray's neighbourhood holds anything; (0, -1) when it never does."""
    begin, end = 0, -1
    a, b, c = ray[0], ray[1], ray[2]  # origin, in padded voxels
    k = first
    while k <= last:
        t = (k - ray[axis]) / ray[3 + axis]
        x = _voxel(a + t * ray[3], size[0] - 1) // BLOCK
        y = _voxel(b + t * ray[4], size[1] - 1) // BLOCK
        z = _voxel(c + t * ray[5], size[2] - 1) // BLOCK
        if occupied[z, y, x]:
            if end < begin:
                begin = k
            end = k
        if k == last:
            break
        k = min(k + _STRIDE, last)
    if end < begin:
        return 0, -1
    return begin - _STRIDE, end + _STRIDE


@njit(**_options)
def _exp(x):
    """exp of float32 x in [-87, 0], to 4e-6 of its value; branch-free, so that loops over it vectorise.

    2^y = 2^n 2^f with f in [0, 1): the exponent goes into the bits, 2^f is its Taylor polynomial about 1/2.
    """
    y = max(x, np.float32(-87.0)) * np.float32(1.4426950408889634) + np.float32(127.0)
    n = truncate(y)
    h = (y - to_float(n) - np.float32(0.5)) * np.float32(0.6931471805599453)
    p = np.float32(1 / 5040)
    p = p * h + np.float32(1 / 720)
    p = p * h + np.float32(1 / 120)
    p = p * h + np.float32(1 / 24)
    p = p * h + np.float32(1 / 6)
    p = p * h + np.float32(0.5)
    p = p * h + np.float32(1.0)
    p = p * h + np.float32(1.0)
    return bits_to_float(shift_left(n, np.int32(23))) * (p * np.float32(1.4142135623730951))


@njit(**_options)
def _expose(area, count, line_weights, line_mu, intensity, slope):
    """-log of the transmitted intensity from area densities (materials, rays); slope[m] = its derivative by area[m]."""
    materials = area.shape[0]
    for i in range(count):
        intensity[i] = np.float32(0)
    for m in range(materials):
        for i in range(count):
            slope[m, i] = np.float32(0)
    exponent = np.empty(count, np.float32)
    for line in range(line_weights.shape[0]):
        for i in range(count):
            exponent[i] = np.float32(0)
        for m in range(materials):
            mu = line_mu[line, m]
            for i in range(count):
                exponent[i] -= mu * area[m, i]
        weight = line_weights[line]
        for i in range(count):
            exponent[i] = weight * _exp(exponent[i])
            intensity[i] += exponent[i]
        for m in range(materials):
            mu = line_mu[line, m]
            for i in range(count):
                slope[m, i] += mu * exponent[i]
    for i in range(count):
        inverse = np.float32(1) / intensity[i]
        for m in range(materials):
            slope[m, i] *= inverse
        intensity[i] = -math.log(intensity[i])


@njit(inline="always", **_careful)
def _direction(view, x, y):
    return (
        view[0, 0] * x + view[0, 1] * y + view[0, 2],
        view[1, 0] * x + view[1, 1] * y + view[1, 2],
        view[2, 0] * x + view[2, 1] * y + view[2, 2],
    )


@njit(**_careful)
def _search(occupied, size, view, origin, steps, xs, y, first_col, last_col, begin, end):
    """Fill begin, end (planes,) with the slices between which a segment of rays meets the body; all of them if unsure.

    origin: of the row's ray at column 0; steps: of the source from column to column.
    """
    planes = occupied.shape[0]
    left = _direction(view, xs[first_col], y)
    right = _direction(view, xs[last_col], y)
    axis = _dominant(left[0], left[1], left[2])
    for plane in range(planes):
        begin[plane], end[plane] = 0, 1 << 40
    if _dominant(right[0], right[1], right[2]) != axis:
        return
    ray = np.empty(6)
    for j in range(3):
        ray[j] = origin[j] + 0.5 * (first_col + last_col) * steps[j]
        ray[3 + j] = 0.5 * (left[j] + right[j])
    reach = max(abs(ray[axis]), abs(size[axis] - 1 - ray[axis]))
    for j in range(3):
        apart = (last_col - first_col) * (abs(steps[j]) + abs(steps[axis]))
        if reach * abs(left[j] / left[axis] - right[j] / right[axis]) + apart > 2 * _REACH:
            return
    for plane in range(planes):
        begin[plane], end[plane] = _body_range(occupied[plane], size, ray, axis, 0, size[axis] - 1)


@njit(**_options)
def _twist_row(view, x, y, source_x, source_y, axis, ju, jv, d, gu, gku, gv, gkv, whole, row):
    """Derivative of one pixel by the camera's twist (v, w), from its weighted sums.

    On slice k the ray stands at u(k) = o_u + (k - o_a) m_u with m_u = d_u / d_a; a motion of the source changes o, a turn
    changes d by w x (x, y, 1), which also stretches the step between slices, and moves a source beside the origin by
    w x (source_x, source_y, 0).
    """
    along = d[axis]
    mu, mv = d[ju] / along, d[jv] / along
    for j in range(3):
        oa = view[axis, j]
        row[j] = (view[ju, j] - oa * mu) * gu + (view[jv, j] - oa * mv) * gv
        if j == 0:
            cx, cy, cz = 0.0, -1.0, y
        elif j == 1:
            cx, cy, cz = 1.0, 0.0, -x
        else:
            cx, cy, cz = -y, x, 0.0
        da = view[axis, 0] * cx + view[axis, 1] * cy + view[axis, 2] * cz
        du = view[ju, 0] * cx + view[ju, 1] * cy + view[ju, 2] * cz
        dv = view[jv, 0] * cx + view[jv, 1] * cy + view[jv, 2] * cz
        row[3 + j] = ((du - mu * da) * gku + (dv - mv * da) * gkv - da * whole) / along
    row[3] += source_y * row[2]
    row[4] -= source_x * row[2]
    row[5] += source_x * row[1] - source_y * row[0]


@cached_njit(intrinsics, BLOCK, **_careful)  # and all it calls with it
def render_bands(
    words_zyx,
    words_zxy,
    size,
    scale,
    occupied,
    views,
    twists,
    camera,
    line_weights,
    line_mu,
    first_band,
    band_step,
    with_jacobian,
    image,
    jacobian,
):
    """Render every `band_step`-th band of rows of a batch, from `first_band` on.

    views: (B, 3, 4) padded-voxel from camera, float64. twists: (B, 6, 6), Pose.twists. camera: (fx, fy, cx, cy, depth, and how
    far the source moves from column to column, and from row to row).
    line_weights (n,), line_mu (n, M): the beam. image: (B, H, W). jacobian: (B, H, W, 6), left alone unless with_jacobian.
    """
    batch, rows, cols = image.shape
    planes = occupied.shape[0]
    materials = line_mu.shape[1]
    fx, fy, cx, cy, depth = camera[0], camera[1], camera[2], camera[3], camera[4]
    step_x, step_y = camera[5], camera[6]
    plane_words = size[0] * size[1] * size[2]

    # by dominant axis: steps in words to the next slice and row, and the axes called u and v
    slice_steps = np.array([size[1], size[0], size[0] * size[1]])
    row_steps = np.array([size[0] * size[1], size[0] * size[1], size[0]])
    axis_u = np.array([1, 0, 0])
    axis_v = np.array([2, 2, 1])

    xs = (np.arange(cols) - cx) / fx
    area = np.zeros((2 * planes, cols), np.float32)
    slope = np.zeros((2 * planes, cols), np.float32)
    value = np.zeros(cols, np.float32)
    gradient = np.zeros((2 * planes, cols, 4), np.float32)
    sums = np.zeros((2, 5), np.float32)
    begin = np.zeros(planes, np.int64)
    end = np.zeros(planes, np.int64)
    twist_row = np.zeros(6)
    bands = (rows + BAND - 1) // BAND

    for band in range(first_band, batch * bands, band_step):
        b = band // bands
        top = band % bands * BAND
        view = views[b]
        steps = (view[0, 0] * step_x, view[1, 0] * step_x, view[2, 0] * step_x)
        for r in range(top, min(top + BAND, rows)):
            y = (r - cy) / fy
            source_y = (r - cy) * step_y
            at_zero = (
                view[0, 3] + view[0, 1] * source_y - cx * steps[0],
                view[1, 3] + view[1, 1] * source_y - cx * steps[1],
                view[2, 3] + view[2, 1] * source_y - cx * steps[2],
            )
            for c in range(cols):
                if c % _SEGMENT == 0:
                    _search(occupied, size, view, at_zero, steps, xs, y, c, min(c + _SEGMENT, cols) - 1, begin, end)
                x = xs[c]
                origin = (at_zero[0] + c * steps[0], at_zero[1] + c * steps[1], at_zero[2] + c * steps[2])
                d = _direction(view, x, y)
                axis = _dominant(d[0], d[1], d[2])
                along = d[axis]
                ju, jv = axis_u[axis], axis_v[axis]
                mu, mv = d[ju] / along, d[jv] / along
                # slices inside the grid and between source and detector
                at_detector = origin[axis] + depth * along
                first = max(1.0, min(origin[axis], at_detector))
                last = min(float(size[axis] - 3), max(origin[axis], at_detector))
                first, last = _clip_range(first, last, origin[ju], mu, origin[axis], float(size[ju] - 2))
                first, last = _clip_range(first, last, origin[jv], mv, origin[axis], float(size[jv] - 2))
                centimetres = math.sqrt(x * x + y * y + 1.0) / abs(along) * 0.1  # between two slices
                # also what keeps every index in the grid: not so for a number that is none
                low, high = 1, 0
                if first >= 1.0 and last >= first and last <= float(size[axis] - 3):
                    low, high = math.ceil(first), math.floor(last)
                else:
                    centimetres = 0.0
                for plane in range(planes):
                    k0 = max(low, begin[plane])
                    k1 = min(high, end[plane])
                    # whole vectors: some more air costs less than a scalar remainder
                    k1 = min(high, k0 + (k1 - k0 + _LANES) // _LANES * _LANES - 1)
                    u0 = np.float32(max(origin[ju] + (k0 - origin[axis]) * mu, 0.0))
                    v0 = np.float32(max(origin[jv] + (k0 - origin[axis]) * mv, 0.0))
                    u1, v1 = u0 + np.float32(k1 - k0) * np.float32(mu), v0 + np.float32(k1 - k0) * np.float32(mv)
                    top_u, top_v = float(size[ju] - 1), float(size[jv] - 1)
                    sums[:] = np.float32(0)
                    if k1 >= k0 and _within(u0, top_u) and _within(u1, top_u) and _within(v0, top_v) and _within(v1, top_v):
                        start = np.int32(plane * plane_words + k0 * slice_steps[axis])
                        hop, drop = np.int32(slice_steps[axis]), np.int32(row_steps[axis])
                        words = words_zxy if axis == 0 else words_zyx
                        if with_jacobian:
                            _march_with_gradient(words, start, hop, drop, k1 - k0 + 1, u0, np.float32(mu), v0, np.float32(mv), sums)
                        else:
                            _march(words, start, hop, drop, k1 - k0 + 1, u0, np.float32(mu), v0, np.float32(mv), sums)
                    lead = k0 - origin[axis]  # slices from the source to the first one
                    for half in range(2):
                        m = 2 * plane + half
                        weight = scale[m] * centimetres
                        area[m, c] = sums[half, 0] * weight
                        gradient[m, c, 0] = sums[half, 1] * weight
                        gradient[m, c, 1] = (sums[half, 2] + lead * sums[half, 1]) * weight
                        gradient[m, c, 2] = sums[half, 3] * weight
                        gradient[m, c, 3] = (sums[half, 4] + lead * sums[half, 3]) * weight

            _expose(area[:materials], cols, line_weights, line_mu, value, slope)
            image[b, r, :] = value
            if not with_jacobian:
                continue
            for c in range(cols):
                gu = gku = gv = gkv = whole = 0.0
                for m in range(materials):
                    s = slope[m, c]
                    gu += s * gradient[m, c, 0]
                    gku += s * gradient[m, c, 1]
                    gv += s * gradient[m, c, 2]
                    gkv += s * gradient[m, c, 3]
                    whole += s * area[m, c]
                d = _direction(view, xs[c], y)
                axis = _dominant(d[0], d[1], d[2])
                source_x = (c - cx) * step_x
                _twist_row(view, xs[c], y, source_x, source_y, axis, axis_u[axis], axis_v[axis], d, gu, gku, gv, gkv, whole, twist_row)
                for j in range(6):
                    total = 0.0
                    for i in range(6):
                        total += twist_row[i] * twists[b, i, j]
                    jacobian[b, r, c, j] = total
