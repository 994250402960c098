"""Whatever numbers come: one line says which makes no sense, or an image comes out and no kernel reads outside its grid."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xrcore import CArm, Pose, SearchBox, Volume, XrcoreError, render, render_with_jacobian
from xrcore._util.bounds import LARGEST_ANGLE, LARGEST_LENGTH
from xrcore.geometry.pose import NAMES
from xrcore.renderer.packing import pack
from xrcore.simulation import integrator

CARM = CArm(source_to_detector=1000, source_to_isocenter=700, shape=(6, 7), pixel_spacing=20.0)
VOLUME = Volume(density=torch.rand(2, 9, 11, 10), materials=("soft", "bone"), world_from_voxel=torch.diag(torch.tensor([8.0, 8, 8, 1])))
WATERLESS = replace(VOLUME, density=torch.zeros_like(VOLUME.density))

# numbers that users, files and solvers come with: everyday ones, the bounds, beyond them
anything = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([0.0, -0.0, 1e-300, 1e5, -1e5, 1e19, -1e19, 1e38, 1e300, math.inf, -math.inf, math.nan, 2.0**31, 2.0**63]),
    st.floats(-400, 400),
)
angle = st.one_of(st.floats(-LARGEST_ANGLE, LARGEST_ANGLE), st.sampled_from([0.0, 45.0, 90.0, -90.0, 180.0, 3600.0]))
length = st.one_of(st.floats(-LARGEST_LENGTH, LARGEST_LENGTH), st.floats(-900, 900), st.sampled_from([0.0, 700.0, -700.0, 1e5]))
pose = st.tuples(angle, angle, angle, length, length, length)
many = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)


@many
@given(st.tuples(*[anything] * 6))
def test_six_numbers_are_a_pose_or_one_line(numbers):
    numbers = torch.tensor(numbers, dtype=torch.float64)
    if bool((numbers.abs() <= torch.tensor([LARGEST_ANGLE] * 3 + [LARGEST_LENGTH] * 3)).all()):
        assert torch.isfinite(render(VOLUME, CARM, Pose(numbers), backend="cpu")).all()
        return
    with pytest.raises(XrcoreError, match=r"^Pose: .*"):
        Pose(numbers)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [1e19, -1e19, 1e308])
def test_the_number_that_is_too_large_is_named(name, value):
    numbers = [value if name == other else 0.0 for other in NAMES]
    for make in (lambda: Pose(**{name: value}), lambda: Pose(numbers), lambda: Pose([[0.0] * 6, numbers])):
        with pytest.raises(XrcoreError, match=f"^Pose: {name} must be a finite number, at most .*got"):
            make()


@pytest.mark.parametrize(
    ("words", "make"),
    [
        ("Pose: isocenter", lambda v: Pose().world_from_camera(CARM, (0.0, v, 0.0))),
        ("Pose.random: rotation", lambda v: Pose.random(rotation=(1.0, v, 1.0))),
        ("Pose.random: translation", lambda v: Pose.random(translation=(1.0, v, 1.0))),
        ("SearchBox: rotation", lambda v: SearchBox(rotation=(1.0, v, 1.0))),
        ("SearchBox: translation", lambda v: SearchBox(translation=(v, 1.0, 1.0))),
        ("CArm: source_to_detector", lambda v: replace(CARM, source_to_detector=v)),
        ("CArm: source_to_isocenter", lambda v: replace(CARM, source_to_isocenter=v)),
        ("CArm: pixel_spacing", lambda v: replace(CARM, pixel_spacing=v)),
        ("CArm: principal_point", lambda v: replace(CARM, principal_point=(v, 0.0))),
        ("CArm: shape", lambda v: replace(CARM, shape=(v, 4.0))),
        ("Volume: isocenter", lambda v: replace(VOLUME, isocenter=(0.0, 0.0, v))),
        ("Volume: world_from_voxel", lambda v: replace(VOLUME, world_from_voxel=torch.diag(torch.tensor([v, 1.0, 1.0, 1.0])))),
    ],
)
@pytest.mark.parametrize("value", [1e19, 1e300, math.inf, math.nan])
def test_a_geometry_beyond_its_bounds_is_refused_by_name(words, make, value):
    with pytest.raises(XrcoreError, match=f"^{words}"):
        make(value)


def test_a_search_box_at_the_bounds_stays_within_them():
    corner = Pose([LARGEST_ANGLE, 0, 0, -LARGEST_LENGTH, 0, 0])
    box = SearchBox(rotation=(LARGEST_ANGLE,) * 3, translation=(LARGEST_LENGTH,) * 3, candidates=32).widened(2.0, 32)
    assert len(box.poses(corner)) == 32


@many
@given(pose, st.floats(20.0, 1e5), st.floats(0.01, 0.99), st.floats(1e-3, 1e5), st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)))
def test_every_pose_and_camera_within_bounds_gives_a_finite_image(numbers, distance, share, spacing, point):
    isocentre = max(10.0, share * distance)
    carm = CArm(source_to_detector=distance, source_to_isocenter=isocentre, shape=(3, 9), pixel_spacing=spacing, principal_point=point)
    image, jacobian = render_with_jacobian(VOLUME, carm, Pose([*numbers]), backend="cpu")
    assert torch.isfinite(image).all()
    assert (image >= 0).all()
    assert torch.isfinite(jacobian).all()


@many
@given(pose)
def test_within_bounds_it_is_the_reference_image(numbers):
    off_planes = Pose(0.99 * torch.tensor(numbers, dtype=torch.float64) + 0.123)  # where it is a convention which side counts
    image = render(VOLUME, CARM, off_planes, backend="cpu")
    reference = render(replace(VOLUME, density=VOLUME.density.double()), CARM, off_planes, backend="reference")
    torch.testing.assert_close(image.double(), reference, atol=2e-3, rtol=2e-3)


@many
@given(st.lists(anything, min_size=12, max_size=12), st.lists(anything, min_size=7, max_size=7))
def test_the_kernel_itself_stays_in_the_grid_for_any_floats(numbers, camera):
    """Also beneath the bounds: views and cameras that no pose or C-arm makes."""
    from xrcore.renderer.cpu import kernels

    packed = pack(WATERLESS)
    words = [w.numpy().view(np.uint32) for w in (packed.words_zyx, packed.words_zxy)]
    image, jacobian = np.full((1, 2, 3), 7.0, np.float32), np.full((1, 2, 3, 6), 7.0, np.float32)
    view = np.array(numbers).reshape(1, 3, 4)
    with np.errstate(all="ignore"):
        kernels.render_bands(
            *words,
            np.array(packed.size),
            packed.scale.numpy(),
            packed.occupied.numpy() * 0 + 1,  # no block is skipped
            view,
            np.zeros((1, 6, 6)),
            np.array(camera),
            np.ones(1, np.float32),
            np.ones((1, 2), np.float32),
            0,
            1,
            True,
            image,
            jacobian,
        )
    assert not (image == 7.0).any()


@many
@given(*(st.lists(anything, min_size=n, max_size=n) for n in (3, 6, 2)), anything)
def test_the_integrator_stays_in_the_grid_for_any_floats(origin, directions, ends, step):
    values = np.zeros((5, 9, 7), np.float32)
    sums = np.full(2, 7.0, np.float32)
    rays = np.array(directions).reshape(2, 3)
    integrator._march(values.ravel(), 7, 9, 5, np.ones((1, 2, 1), bool), np.tile(origin, (2, 1)), rays, np.array(ends), step, sums)
    assert (sums == 0).all()


def test_the_integrator_reads_the_cells_at_both_ends_of_the_diagonal():
    z, y, x = np.meshgrid(*[np.arange(7, dtype=np.float32)] * 3, indexing="ij")
    ray, sums = np.ones((1, 3)), np.zeros(1, np.float32)
    integrator._march((x + y + z).ravel(), 7, 7, 7, np.ones((1, 1, 1), bool), np.zeros((1, 3)), ray, np.full(1, np.inf), 0.1, sums)
    assert sums[0] == pytest.approx(60 * 9)  # samples, and their mean


@many
@given(pose)
def test_the_integrator_gives_a_finite_area_for_every_pose_within_bounds(numbers):
    area = integrator.area_density(VOLUME, CARM, Pose([*numbers]), step=5.0)
    assert torch.isfinite(area).all()
    assert (area >= 0).all()


def test_the_kernel_with_every_read_checked():
    """`NUMBA_BOUNDSCHECK=1` also checks the reads of the inner loop, in code of its own."""
    code = """
import numpy as np, pytest
from xrcore._util.code_cache import BOUNDS_CHECKED
from xrcore.renderer.cpu import kernels
assert BOUNDS_CHECKED
words, sums = np.zeros(64, np.uint32), np.zeros((2, 5), np.float32)
march = (words, np.int32(0), np.int32(16), np.int32(4), 2, np.float32(1), np.float32(0), np.float32(1), np.float32(0), sums)
kernels._march(*march)
for n in (60, -7, 2):
    with pytest.raises(IndexError):
        kernels._march(words, np.int32(n), *march[2:])
"""
    environment = os.environ | {"NUMBA_BOUNDSCHECK": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
