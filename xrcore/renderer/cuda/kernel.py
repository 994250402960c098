# mypy: ignore-errors
"""The GPU renderer's kernel, in Triton: Joseph's method, the pose Jacobian and the spectrum in one pass over the rays.

A program renders a tile of pixels of one view, a lane a ray. Rays of one tile may run along different axes: each lane has its own strides
through the words, so nothing branches. Coordinates and sums are single precision, counted from a point near the volume's middle, where
they are small. Integers become floats, and floats lose their fractions, by adding a power of two: additions run at full rate, where
conversions take turns at a few units. A ray's few divisions are rounded exactly, where a GPU's own are off by two units in the last place.
"""

from __future__ import annotations

import triton
import triton.language as tl

_TWO_23_BITS = tl.constexpr(0x4B000000)  # of the float32 2^23; with a 16-bit count in the lowest places, those of 2^23 + count
_ROUND = tl.constexpr(12582912.0)  # 1.5 x 2^23: float32 keeps no fractions around it
_ROUND_BITS = tl.constexpr(0x4B400000)
_DARKEST = tl.constexpr(-87.0)  # exponents below it underflow


@triton.jit
def _lower(word):
    """Bits of the float32 2^23 + the lower count."""
    return (word & 0xFFFF) | _TWO_23_BITS


@triton.jit
def _upper(word):
    """Bits of the float32 2^23 + the upper count."""
    return ((word >> 16) & 0xFFFF) | _TWO_23_BITS


@triton.jit
def _add(n, f, fu, kfu, fv, kfv, a, b, c, d, wu, wv, k, JACOBIAN: tl.constexpr):
    """One material's sums with another slice: of the bilinear function between corners a, b (next in u), c, d (next in v).

    The corners are given as bits with 2^23 in them: their differences are exact, and free of it. The value is a + wu (b - a) + wv df/dv;
    its part that is a count, a, is summed as an integer, n: exact, and added to others three at a time.
    """
    n += a
    a, b = a.to(tl.float32, bitcast=True), b.to(tl.float32, bitcast=True)
    c, d = c.to(tl.float32, bitcast=True), d.to(tl.float32, bitcast=True)
    across = b - a
    twist = (d - c) - across
    along_v = (c - a) + wu * twist
    f = f + wu * across + wv * along_v
    if JACOBIAN:
        along_u = across + wv * twist
        fu += along_u
        kfu += k * along_u
        fv += along_v
        kfv += k * along_v
    return n, f, fu, kfu, fv, kfv


@triton.jit
def _march(words, start, hop, drop, count, u0, du, v0, dv, JACOBIAN: tl.constexpr, UNROLL: tl.constexpr):
    """Sums over each ray's `count` slices: value, df/du, k df/du, df/dv, k df/dv of the lower material, then of the upper.

    k counts from the first slice. start: the word of the first slice's origin; hop, drop: words to the next slice and to the next v.
    """
    zero = tl.zeros_like(u0)
    n0, f0, fu0, kfu0, fv0, kfv0 = tl.zeros_like(start), zero, zero, zero, zero, zero
    n1, f1, fu1, kfu1, fv1, kfv1 = tl.zeros_like(start), zero, zero, zero, zero, zero
    # half a voxel less, so that rounding to the nearest is rounding down
    u0 = u0 - 0.5
    v0 = v0 - 0.5
    start = start - _ROUND_BITS - drop * _ROUND_BITS  # what the bits of the rounded floats hold too much; 32 bits wrap around
    longest = tl.max(count)
    k = zero
    for i in tl.range(0, longest, loop_unroll_factor=UNROLL):
        u = u0 + k * du
        v = v0 + k * dv
        ru = u + _ROUND
        rv = v + _ROUND
        wu = u - (ru - _ROUND) + 0.5
        wv = v - (rv - _ROUND) + 0.5
        index = start + rv.to(tl.int32, bitcast=True) * drop + ru.to(tl.int32, bitcast=True)
        here = words + tl.where(i < count, index, 0)  # past its last slice a ray reads the padding's zeros
        below = here + drop
        a = tl.load(here)
        b = tl.load(here + 1)
        c = tl.load(below)
        d = tl.load(below + 1)
        n0, f0, fu0, kfu0, fv0, kfv0 = _add(n0, f0, fu0, kfu0, fv0, kfv0, _lower(a), _lower(b), _lower(c), _lower(d), wu, wv, k, JACOBIAN)
        n1, f1, fu1, kfu1, fv1, kfv1 = _add(n1, f1, fu1, kfu1, fv1, kfv1, _upper(a), _upper(b), _upper(c), _upper(d), wu, wv, k, JACOBIAN)
        k += 1.0
        start += hop
    f0 += (n0 - longest * _TWO_23_BITS).to(tl.float32)
    f1 += (n1 - longest * _TWO_23_BITS).to(tl.float32)
    return f0, fu0, kfu0, fv0, kfv0, f1, fu1, kfu1, fv1, kfv1


@triton.jit
def _clip_range(first, last, at, slope, center, upper):
    """Slices k of [first, last] where 0 <= at + (k - center) slope <= upper."""
    slope = tl.where(tl.abs(slope) < 1e-9, 1e-9, slope)
    a = center - tl.div_rn(at, slope)
    b = center + tl.div_rn(upper - at, slope)
    return tl.maximum(first, tl.minimum(a, b)), tl.minimum(last, tl.maximum(a, b))


@triton.jit
def _body(occupied, first, last, px, py, pz, mx, my, mz, center, nx, ny, nz, BLOCK: tl.constexpr, STRIDE: tl.constexpr):
    """First and last slice near which the ray's surroundings hold anything, as floats; last < first where they never do.

    The map is dilated by a block of `BLOCK` voxels, so a look answers for the slices half a stride before and after it.
    """
    begin = tl.zeros_like(first) + 1e9
    end = tl.zeros_like(first) - 1e9
    bx = (nx + BLOCK - 1) // BLOCK
    by = (ny + BLOCK - 1) // BLOCK
    looks = tl.max(((last - first) / STRIDE).to(tl.int32)) + 2
    for i in range(looks):
        k = tl.minimum(first + i * STRIDE, last)
        t = k - center
        x = tl.minimum(tl.maximum((px + t * mx).to(tl.int32), 0), nx - 1) // BLOCK
        y = tl.minimum(tl.maximum((py + t * my).to(tl.int32), 0), ny - 1) // BLOCK
        z = tl.minimum(tl.maximum((pz + t * mz).to(tl.int32), 0), nz - 1) // BLOCK
        full = tl.load(occupied + (z * by + y) * bx + x) != 0
        begin = tl.where(full, tl.minimum(begin, k), begin)
        end = tl.where(full, tl.maximum(end, k), end)
    return tl.maximum(first, begin - STRIDE), tl.minimum(last, end + STRIDE)


@triton.jit
def _inside(low, first, last, high):
    """Whether both ends of a run are above `low` and below `high`: not so for a number that is none."""
    return (first > low) & (first < high) & (last > low) & (last < high)


@triton.jit
def _along(axis, x, y, z):
    """The component of each lane's own axis."""
    return tl.where(axis == 0, x, tl.where(axis == 1, y, z))


@triton.jit
def _attenuation(area, line_weights, line_mu, lines, MATERIALS: tl.constexpr):
    """-log of the transmitted intensity of the beam's lines, and its derivative by each material's area density."""
    intensity = tl.zeros_like(area[0])
    slope = ()
    for _ in tl.static_range(MATERIALS):
        slope = slope + (tl.zeros_like(area[0]),)
    for line in range(lines):
        mu = line_mu + line * MATERIALS
        exponent = tl.zeros_like(area[0])
        for m in tl.static_range(MATERIALS):
            exponent -= tl.load(mu + m) * area[m]
        passed = tl.load(line_weights + line) * tl.exp(tl.maximum(exponent, _DARKEST))
        intensity += passed
        steeper = ()
        for m in tl.static_range(MATERIALS):
            steeper = steeper + (slope[m] + tl.load(mu + m) * passed,)
        slope = steeper
    return -tl.log(intensity), intensity, slope


@triton.jit(do_not_specialize=["nx", "ny", "nz", "rows", "cols", "lines"])
def render(
    words,
    occupied,
    scale,
    views,
    twists,
    line_weights,
    line_mu,
    beams,
    image,
    jacobian,
    nx,
    ny,
    nz,
    rows,
    cols,
    fx,
    fy,
    cx,
    cy,
    step_x,
    step_y,
    middle,
    depth,
    lines,
    MATERIALS: tl.constexpr,
    PLANES: tl.constexpr,
    JACOBIAN: tl.constexpr,
    TILE_ROWS: tl.constexpr,
    TILE_COLS: tl.constexpr,
    BLOCK: tl.constexpr,
    STRIDE: tl.constexpr,
    UNROLL: tl.constexpr,
):
    """Attenuation images (B, H, W) and, if JACOBIAN, their derivatives (B, 6, H, W) by the six pose numbers.

    words, occupied, scale, (nx, ny, nz): a `PackedVolume`. views (B, 5, 3): in padded voxels, what one mm along each camera axis is,
    the source, and the camera axis' point at depth `middle`. twists (B, 6, 6): `Pose.twists`. line_weights (b, n), line_mu (b, n, M):
    beams, of which each view has one, beams (B,). fx, fy, cx, cy: the camera [pixels]; depth: of its
    detector [mm]; step_x, step_y: how far its source moves from column to column, and from row to row [mm].
    """
    across = (cols + TILE_COLS - 1) // TILE_COLS
    tiles = across * ((rows + TILE_ROWS - 1) // TILE_ROWS)
    view = tl.program_id(0) // tiles
    tile = tl.program_id(0) % tiles
    lane = tl.arange(0, TILE_ROWS * TILE_COLS)
    r = tile // across * TILE_ROWS + lane // TILE_COLS
    c = tile % across * TILE_COLS + lane % TILE_COLS
    x = tl.div_rn(c - cx, fx)
    y = tl.div_rn(r - cy, fy)
    sx = (c - cx) * step_x
    sy = (r - cy) * step_y

    v = views + view * 15
    xx, xy, xz = tl.load(v), tl.load(v + 1), tl.load(v + 2)
    yx, yy, yz = tl.load(v + 3), tl.load(v + 4), tl.load(v + 5)
    zx, zy, zz = tl.load(v + 6), tl.load(v + 7), tl.load(v + 8)
    dx, dy, dz = xx * x + yx * y + zx, xy * x + yy * y + zy, xz * x + yz * y + zz
    lx, ly, lz = tl.abs(dx), tl.abs(dy), tl.abs(dz)
    axis = tl.where((lx >= ly) & (lx >= lz), 0, tl.where(ly >= lz, 1, 2))
    # axis x: u = y, v = z; axis y: u = x, v = z; axis z: u = x, v = y
    u_axis = tl.where(axis == 0, 1, 0)
    v_axis = tl.where(axis == 2, 1, 2)
    along = _along(axis, dx, dy, dz)
    mu = tl.div_rn(_along(u_axis, dx, dy, dz), along)
    mv = tl.div_rn(_along(v_axis, dx, dy, dz), along)

    # the ray's point at depth `middle`
    px = tl.load(v + 12) + xx * (middle * x + sx) + yx * (middle * y + sy)
    py = tl.load(v + 13) + xy * (middle * x + sx) + yy * (middle * y + sy)
    pz = tl.load(v + 14) + xz * (middle * x + sx) + yz * (middle * y + sy)
    pa, pu, pv = _along(axis, px, py, pz), _along(u_axis, px, py, pz), _along(v_axis, px, py, pz)
    source = _along(axis, tl.load(v + 9), tl.load(v + 10), tl.load(v + 11))
    source += _along(axis, xx, xy, xz) * sx + _along(axis, yx, yy, yz) * sy

    # slices inside the grid and between source and detector
    detector = source + depth * along
    na, nu, nv = _along(axis, nx, ny, nz), _along(u_axis, nx, ny, nz), _along(v_axis, nx, ny, nz)
    first = tl.maximum(1.0, tl.minimum(source, detector))
    last = tl.minimum(na - 3.0, tl.maximum(source, detector))
    first, last = _clip_range(first, last, pu, mu, pa, nu - 2.0)
    first, last = _clip_range(first, last, pv, mv, pa, nv - 2.0)
    last = tl.where((r < rows) & (c < cols), last, first - 1.0)

    plane_words = nx * ny * nz
    grid = tl.where(axis == 0, PLANES * plane_words, 0)
    hop = tl.where(axis == 0, ny, tl.where(axis == 1, nx, nx * ny))
    drop = tl.where(axis == 2, nx, nx * ny)
    centimetres = tl.div_rn(tl.sqrt_rn(x * x + y * y + 1.0), tl.abs(along)) * 0.1  # between two slices
    map_size = ((nx + BLOCK - 1) // BLOCK) * ((ny + BLOCK - 1) // BLOCK) * ((nz + BLOCK - 1) // BLOCK)
    mx, my, mz = tl.div_rn(dx, along), tl.div_rn(dy, along), tl.div_rn(dz, along)

    area = ()
    sums = ()
    for plane in tl.static_range(PLANES):
        begin, end = _body(occupied + plane * map_size, first, last, px, py, pz, mx, my, mz, pa, nx, ny, nz, BLOCK, STRIDE)
        k0 = tl.ceil(begin)
        k1 = tl.floor(end)
        u0 = tl.maximum(pu + (k0 - pa) * mu, 0.0)
        v0 = tl.maximum(pv + (k0 - pa) * mv, 0.0)
        # what keeps every index in the grid, however large or small the numbers that came
        safe = _inside(0.5, k0, k1, na - 2.5) & (k1 >= k0)
        safe = safe & _inside(-1.0, u0, u0 + (k1 - k0) * mu, nu - 1.0) & _inside(-1.0, v0, v0 + (k1 - k0) * mv, nv - 1.0)
        count = tl.where(safe, k1 - k0 + 1.0, 0.0).to(tl.int32)
        start = grid + plane * plane_words + k0.to(tl.int32) * hop
        f0, fu0, kfu0, fv0, kfv0, f1, fu1, kfu1, fv1, kfv1 = _march(words, start, hop, drop, count, u0, mu, v0, mv, JACOBIAN, UNROLL)
        lead = k0 - source  # slices from the source to the first one
        weight = tl.load(scale + 2 * plane).to(tl.float32) * centimetres
        area = area + (f0 * weight,)
        sums = sums + ((fu0 * weight, (kfu0 + lead * fu0) * weight, fv0 * weight, (kfv0 + lead * fv0) * weight),)
        if 2 * plane + 1 < MATERIALS:
            weight = tl.load(scale + 2 * plane + 1).to(tl.float32) * centimetres
            area = area + (f1 * weight,)
            sums = sums + ((fu1 * weight, (kfu1 + lead * fu1) * weight, fv1 * weight, (kfv1 + lead * fv1) * weight),)

    first_line = tl.load(beams + view) * lines
    value, intensity, slope = _attenuation(area, line_weights + first_line, line_mu + first_line * MATERIALS, lines, MATERIALS)
    pixels = rows * cols
    inside = (r < rows) & (c < cols)
    pixel = r * cols + c
    tl.store(image + view.to(tl.int64) * pixels + pixel, value, mask=inside)
    if JACOBIAN:
        gu = tl.zeros_like(x)
        gku = tl.zeros_like(x)
        gv = tl.zeros_like(x)
        gkv = tl.zeros_like(x)
        whole = tl.zeros_like(x)
        for m in tl.static_range(MATERIALS):
            s = tl.div_rn(slope[m], intensity)
            gu += s * sums[m][0]
            gku += s * sums[m][1]
            gv += s * sums[m][2]
            gkv += s * sums[m][3]
            whole += s * area[m]
        # On slice k the ray stands at u(k) = o_u + (k - o_a) m_u with m_u = d_u / d_a. A motion of the source along a camera axis changes
        # o; a turn changes d by w x (x, y, 1), which also stretches the step between slices, and moves a source beside the origin.
        tx, wx = _motion(xx, xy, xz, axis, u_axis, v_axis, mu, mv, along, gu, gku, gv, gkv, whole)
        ty, wy = _motion(yx, yy, yz, axis, u_axis, v_axis, mu, mv, along, gu, gku, gv, gkv, whole)
        tz, wz = _motion(zx, zy, zz, axis, u_axis, v_axis, mu, mv, along, gu, gku, gv, gkv, whole)
        r0, r1, r2 = y * wz - wy + sy * tz, wx - x * wz - sx * tz, x * wy - y * wx + sx * ty - sy * tx
        t = twists + view * 36
        out = jacobian + view.to(tl.int64) * 6 * pixels + pixel
        for j in tl.static_range(6):
            moved = tl.load(t + j) * tx + tl.load(t + 6 + j) * ty + tl.load(t + 12 + j) * tz
            turned = tl.load(t + 18 + j) * r0 + tl.load(t + 24 + j) * r1 + tl.load(t + 30 + j) * r2
            tl.store(out + j * pixels, moved + turned, mask=inside)


@triton.jit
def _motion(x, y, z, axis, u_axis, v_axis, mu, mv, along, gu, gku, gv, gkv, whole):
    """Derivatives of a pixel when source, and when direction, moves by the camera axis (x, y, z)."""
    a = _along(axis, x, y, z)
    u = _along(u_axis, x, y, z) - a * mu
    v = _along(v_axis, x, y, z) - a * mv
    return u * gu + v * gv, tl.div_rn(u * gku + v * gkv - a * whole, along)
