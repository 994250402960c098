# mypy: ignore-errors
"""One Levenberg-Marquardt step of a batch of poses, in Triton: judge the last trial, solve the damped 6 x 6 system, move the camera.

A program is one pose. Torch would need a long row of tiny operations for the same, and each costs a launch.
"""

from __future__ import annotations

import triton
import triton.language as tl

from xrcore.registration.solvers.cuda.normal_kernel import element_of

# where a pose's state (float64) keeps what: two 3 x 4 matrices world_from_camera, the normal equations, and the damping
CURRENT = 0
TRIAL = 12
VALUE = 24
GRADIENT = 25
HESSIAN = 31
DAMPING = 67
GROWTH = 68
PREDICTED = 69
CONVERGED = 70
SIZE = 72
LOGGED = 14  # float64 of a pose and an iteration: value, matrix, and one that keeps all at multiples of 16 bytes

_CURRENT = tl.constexpr(CURRENT)
_TRIAL = tl.constexpr(TRIAL)
_VALUE = tl.constexpr(VALUE)
_GRADIENT = tl.constexpr(GRADIENT)
_HESSIAN = tl.constexpr(HESSIAN)
_DAMPING = tl.constexpr(DAMPING)
_GROWTH = tl.constexpr(GROWTH)
_PREDICTED = tl.constexpr(PREDICTED)
_CONVERGED = tl.constexpr(CONVERGED)
_SIZE = tl.constexpr(SIZE)
_LOGGED = tl.constexpr(LOGGED)


@triton.jit
def _solve(matrix, right):
    """x (8,) with matrix x = right in the upper left 6 x 6 of an 8 x 8 tile; Gauss-Jordan, no pivoting: the matrix is positive definite."""
    row = tl.arange(0, 8)[:, None]
    col = tl.arange(0, 8)[None, :]
    tile = tl.where(col == 7, right[:, None], matrix)
    for j in tl.static_range(6):
        pivot_row = tl.sum(tl.where(row == j, tile, 0.0), 0)
        pivot_row = pivot_row / element_of(pivot_row, j)
        pivot_col = tl.sum(tl.where(col == j, tile, 0.0), 1)
        tile = tl.where(row == j, pivot_row[None, :], tile - pivot_col[:, None] * pivot_row[None, :])
    return tl.sum(tl.where(col == 7, tile, 0.0), 1)


@triton.jit
def _exp(twist):
    """Rotation and translation of a twist (v, w), row by row; the closed form of SE(3), its series below 1e-4 rad."""
    vx, vy, vz = element_of(twist, 0), element_of(twist, 1), element_of(twist, 2)
    wx, wy, wz = element_of(twist, 3), element_of(twist, 4), element_of(twist, 5)
    square = wx * wx + wy * wy + wz * wz
    tiny = square < 1e-8
    safe = tl.where(tiny, 1.0, square)
    angle = tl.sqrt(safe)
    a = tl.where(tiny, 1.0 - square / 6.0, tl.sin(angle) / angle)
    b = tl.where(tiny, 0.5 - square / 24.0, (1.0 - tl.cos(angle)) / safe)
    c = tl.where(tiny, 1.0 / 6.0 - square / 120.0, (1.0 - a) / safe)
    cosine = 1.0 - b * square
    # w x v and w x (w x v)
    x, y, z = wy * vz - wz * vy, wz * vx - wx * vz, wx * vy - wy * vx
    xx, yy, zz = wy * z - wz * y, wz * x - wx * z, wx * y - wy * x
    first = (cosine + b * wx * wx, b * wx * wy - a * wz, b * wx * wz + a * wy, vx + b * x + c * xx)
    second = (b * wx * wy + a * wz, cosine + b * wy * wy, b * wy * wz - a * wx, vy + b * y + c * yy)
    third = (b * wx * wz - a * wy, b * wy * wz + a * wx, cosine + b * wz * wz, vz + b * z + c * zz)
    return first, second, third


@triton.jit(do_not_specialize=["blocks"])
def step(
    state,
    normal,
    basis,
    voxel_from_world,
    views,
    log,
    blocks,
    middle,
    tolerance,
    most_turn,
    most_shift,
    FIRST: tl.constexpr,
    LAST: tl.constexpr,
):
    """Judge the trial whose normal equations these are, note where the pose stands, and propose the next trial unless LAST.

    state (B, SIZE). normal (B, blocks, 8, 8): `normal_tiles` of the trials, by the coefficients of `basis` (6, 6), whose columns are
    camera-frame twists. views (B, 5, 3): written, the next trials for the renderer; middle: their reference depth. log (B, LOGGED):
    written, the value and the matrix after judging. FIRST: the trial is the start. All float64 but for the views. most_turn, most_shift:
    a step's limits [deg, mm].
    """
    pose = tl.program_id(0)
    s = state + pose * _SIZE
    i = tl.arange(0, 8)
    row = i[:, None]
    col = i[None, :]
    six = i < 6
    square = (row < 6) & (col < 6)

    tile = tl.zeros((8, 8), tl.float64)
    for block in range(blocks):
        tile += tl.load(normal + (pose * blocks + block) * 64 + row * 8 + col)
    new_value = tl.sum(tl.where((row == 7) & (col == 7), tile, 0.0))
    new_gradient = tl.sum(tl.where((row == 6) & (col < 6), tile, 0.0), 0)
    new_hessian = tl.where(square, tile, 0.0)
    damping = tl.load(s + _DAMPING)
    growth = tl.load(s + _GROWTH)
    if FIRST:
        better = new_value == new_value
        active = new_value == new_value
        v, g, h = new_value, new_gradient, new_hessian
    else:
        old = tl.load(s + _VALUE)
        gain = (new_value - old) / tl.maximum(tl.load(s + _PREDICTED), 1e-30)
        active = tl.load(s + _CONVERGED) == 0.0
        better = active & (gain > 0.0)
        worse = active & (better == 0)  # also where the gain is not a number
        cube = 2.0 * gain - 1.0
        eased = damping * tl.minimum(tl.maximum(1.0 - cube * cube * cube, 1.0 / 3.0), 2.0)
        damping = tl.where(better, eased, tl.where(worse, damping * growth, damping))
        growth = tl.where(better, 2.0, tl.where(worse, growth * 2.0, growth))
        active = active & (damping <= 1e6)
        v = tl.where(better, new_value, old)
        g = tl.where(better, new_gradient, tl.load(s + _GRADIENT + i, mask=six, other=0.0))
        h = tl.where(better, new_hessian, tl.load(s + _HESSIAN + row * 6 + col, mask=square, other=0.0))

    out = log + pose * _LOGGED
    tl.store(out, v)
    here = ()
    for n in tl.static_range(12):
        entry = tl.where(better, tl.load(s + _TRIAL + n), tl.load(s + _CURRENT + n))
        tl.store(out + 1 + n, entry)
        here = here + (entry,)

    if not LAST:
        diagonal = tl.sum(tl.where(row == col, h, 0.0), 0)
        scale = tl.maximum(tl.maximum(diagonal, 1e-12 * tl.max(diagonal)), 1e-20)
        damped = h + tl.where((row == col) & square, damping * scale[None, :], 0.0)
        change = _solve(damped, -g)
        change = tl.where(tl.abs(change) < 1e300, change, 0.0)  # also where it is not a number
        limit = tl.where(i < 3, most_turn, most_shift)
        change = change / tl.maximum(tl.max(tl.abs(change) / limit), 1.0)
        predicted = -tl.sum(g * change) - 0.5 * tl.sum(change * tl.sum(h * change[None, :], 1))
        small = tl.max(tl.abs(change)) < tolerance
        rows = tl.load(basis + row * 6 + col, mask=square, other=0.0)
        first, second, third = _exp(tl.sum(rows * change[None, :], 1))

        stays = small | (active == 0)
        taken = active & small & (damping < 1.0)  # small for want of slope, not of permission
        there = ()
        for r in tl.static_range(3):
            for c in tl.static_range(4):
                moved = here[4 * r] * first[c] + here[4 * r + 1] * second[c] + here[4 * r + 2] * third[c]
                if c == 3:
                    moved += here[4 * r + 3]
                entry = tl.where(taken, moved, here[4 * r + c])
                tl.store(s + _CURRENT + 4 * r + c, entry)
                entry = tl.where(stays, entry, moved)
                tl.store(s + _TRIAL + 4 * r + c, entry)
                there = there + (entry,)
        active = active & (small == 0)
        tl.store(s + _PREDICTED, predicted)
        for a in tl.static_range(3):
            v0 = tl.load(voxel_from_world + 4 * a)
            v1 = tl.load(voxel_from_world + 4 * a + 1)
            v2 = tl.load(voxel_from_world + 4 * a + 2)
            x = v0 * there[0] + v1 * there[4] + v2 * there[8]
            y = v0 * there[1] + v1 * there[5] + v2 * there[9]
            z = v0 * there[2] + v1 * there[6] + v2 * there[10]
            source = v0 * there[3] + v1 * there[7] + v2 * there[11] + tl.load(voxel_from_world + 4 * a + 3)
            view = views + pose * 15 + a
            tl.store(view, x.to(tl.float32))
            tl.store(view + 3, y.to(tl.float32))
            tl.store(view + 6, z.to(tl.float32))
            tl.store(view + 9, source.to(tl.float32))
            tl.store(view + 12, (source + middle * z).to(tl.float32))
    else:
        for n in tl.static_range(12):
            tl.store(s + _CURRENT + n, here[n])
    tl.store(s + _VALUE, v)
    tl.store(s + _GRADIENT + i, g, mask=six)
    tl.store(s + _HESSIAN + row * 6 + col, h, mask=square)
    tl.store(s + _DAMPING, damping)
    tl.store(s + _GROWTH, growth)
    tl.store(s + _CONVERGED, tl.where(active, 0.0, 1.0))
