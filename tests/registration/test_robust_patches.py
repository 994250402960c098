"""The robust mean of patches: what it shares with the plain one, and what a tool does to both."""

from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from xrcore import XrcoreError
from xrcore.registration.similarities import LocalZNCC, RobustLocalZNCC

SHAPE = (64, 64)
MASK = torch.ones(SHAPE, dtype=torch.bool)
generator = torch.Generator().manual_seed(5)
WAVES = torch.rand(20, 4, generator=generator, dtype=torch.float64)


def scene(pose: torch.Tensor) -> torch.Tensor:
    """Waves all over the image, shifted, turned and stretched by six numbers."""
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, n, dtype=torch.float64) for n in SHAPE), indexing="ij")
    x, y = x - pose[0] + pose[2] * y + pose[3] * x, y - pose[1] - pose[2] * x + pose[4] * y
    phase = 16 * (WAVES[:, 0] - 0.5) * x[..., None] + 16 * (WAVES[:, 1] - 0.5) * y[..., None] + 6 * WAVES[:, 2]
    return (WAVES[:, 3] * torch.sin(phase)).sum(-1) + pose[5] * x * y


ZERO = torch.zeros(6, dtype=torch.float64)
FIXED = scene(ZERO)
POSES = 0.01 * torch.randn(2, 6, generator=generator, dtype=torch.float64)
MOVING = torch.stack([scene(pose) for pose in POSES])
JACOBIAN = torch.stack([torch.func.jacfwd(scene)(pose) for pose in POSES])


def test_a_large_tolerance_is_the_plain_mean():
    a, b = (chosen.fit(FIXED, MASK).normal_equations(MOVING, JACOBIAN) for chosen in (LocalZNCC(), RobustLocalZNCC(tolerance=1e9)))
    for one, other in zip(a, b, strict=True):
        assert_close(one, other, rtol=1e-7, atol=1e-9)


def test_one_for_equal_images_and_nearly_none_for_unrelated_ones():
    fit = RobustLocalZNCC().fit(FIXED, MASK)
    noise = torch.randn(SHAPE, generator=generator, dtype=torch.float64)
    same, unrelated = fit.value(torch.stack([3 * FIXED + 2, noise])).tolist()
    assert same == pytest.approx(1, abs=1e-9)
    assert abs(unrelated) < 0.1


def test_value_of_each_patch_is_geman_and_mcclures():
    plain = LocalZNCC(patch=64, overlap=False).fit(FIXED, MASK).value(MOVING)  # one patch
    loss = 1 - plain
    robust = RobustLocalZNCC(patch=64, overlap=False, tolerance=0.2).fit(FIXED, MASK).value(MOVING)
    assert_close(robust, 1 - 1.2 * loss / (0.2 + loss))


def test_gradient_is_that_of_minus_the_value():
    fit, moving = RobustLocalZNCC().fit(FIXED, MASK), MOVING.clone().requires_grad_()
    (by_pixel,) = torch.autograd.grad(fit.value(moving).sum(), moving)
    normal, by_patch = fit.equations_by_group(MOVING, JACOBIAN)
    assert_close(normal.gradient, -torch.einsum("bhw,bhwi->bi", by_pixel, JACOBIAN), rtol=1e-8, atol=1e-10)
    assert_close(by_patch.sum(1), normal.gradient)


def error_after_descent(chosen) -> float:
    """Of a Gauss-Newton descent from a displaced start, with a tool across the X-ray."""
    soiled = FIXED.clone()
    soiled[20:34] += 15.0
    soiled[:, 40:46] += 15.0
    fit, pose = chosen.fit(soiled, MASK), torch.tensor([0.01, -0.01, 0.01, 0.0, 0.0, 0.0], dtype=torch.float64)
    for _ in range(20):
        normal = fit.normal_equations(scene(pose)[None], torch.func.jacfwd(scene)(pose)[None])
        pose = pose - torch.linalg.solve(normal.hessian[0] + 1e-9 * torch.eye(6), normal.gradient[0])
    return float(pose.abs().max())


def test_a_tool_hardly_moves_it():
    assert error_after_descent(RobustLocalZNCC()) < 0.25 * error_after_descent(LocalZNCC())


@pytest.mark.parametrize("tolerance", [0, -1, math.nan, "a"])
def test_the_tolerance_makes_sense(tolerance):
    with pytest.raises(XrcoreError, match="tolerance"):
        RobustLocalZNCC(tolerance=tolerance)
