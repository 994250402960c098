"""The correlation ratio against numpy's least squares, ZNCC and automatic differentiation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from xrcore import XrcoreError
from xrcore.registration.similarities import ZNCC, CorrelationRatio

SHAPE = (36, 30)
MASKS = {"full": torch.ones(SHAPE, dtype=torch.bool), "half": (torch.arange(SHAPE[1]) < 20).expand(SHAPE)}
generator = torch.Generator().manual_seed(3)
CENTRES = 2 * torch.rand(12, 2, generator=generator, dtype=torch.float64) - 1


def scene(pose: torch.Tensor) -> torch.Tensor:
    """Smooth blobs that six numbers move, stretch and brighten."""
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, n, dtype=torch.float64) for n in SHAPE), indexing="ij")
    x, y = (x - pose[0]) * torch.exp(pose[3]), (y - pose[1]) * torch.exp(pose[4])
    blobs = torch.exp(-((x[..., None] - CENTRES[:, 0]) ** 2 + (y[..., None] - CENTRES[:, 1]) ** 2) / 0.1)
    return (blobs * (1 + pose[5] * CENTRES[:, 0] + pose[2] * CENTRES[:, 1])).sum(-1)


TRUTH = scene(torch.zeros(6, dtype=torch.float64))
POSES = torch.tensor([[0.05, -0.04, 0.1, 0.02, -0.03, 0.1], [-0.2, 0.1, 0.0, 0.05, 0.1, -0.2]], dtype=torch.float64)
MOVING = torch.stack([scene(pose) for pose in POSES])
JACOBIAN = torch.stack([torch.func.jacfwd(scene)(pose) for pose in POSES])
every_mask = pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS.keys())


@every_mask
@pytest.mark.parametrize(
    "mapped", [lambda a: a, lambda a: torch.exp(-a), lambda a: -a, lambda a: 1 / (1 + torch.exp(2 - 2 * a)), torch.sqrt]
)
def test_how_grey_values_were_mapped_hardly_matters(mask, mapped):
    value = CorrelationRatio(knots=16).fit(mapped(TRUTH), mask).value(torch.stack([TRUTH, MOVING[1]]))
    assert value[0] > 0.998
    assert value[1] < 0.9


@every_mask
@pytest.mark.parametrize("knots", [2, 5, 8])
def test_value_is_the_explained_share_of_numpys_least_squares(mask, knots):
    value = CorrelationRatio(knots=knots).fit(TRUTH, mask).value(MOVING)
    wanted = TRUTH[mask].numpy()
    for i, moving in enumerate(MOVING):
        grey = moving[mask].numpy()
        at = np.linspace(grey.min(), grey.max(), knots)
        hats = np.stack([np.interp(grey, at, row) for row in np.eye(knots)], 1)
        _, (left,), *_ = np.linalg.lstsq(hats, wanted, rcond=None)
        assert float(value[i]) == pytest.approx(1 - left / ((wanted - wanted.mean()) ** 2).sum(), abs=2e-3)


def test_a_straight_line_gives_the_square_of_zncc():
    mask = MASKS["half"]
    assert_close(CorrelationRatio(knots=2).fit(TRUTH, mask).value(MOVING), ZNCC().fit(TRUTH, mask).value(MOVING) ** 2, atol=1e-4, rtol=0)


@every_mask
def test_gradient_is_that_of_minus_the_value(mask):
    fit, moving = CorrelationRatio().fit(TRUTH, mask), MOVING.clone().requires_grad_()
    (by_pixel,) = torch.autograd.grad(fit.value(moving).sum(), moving)
    normal = fit.normal_equations(MOVING, JACOBIAN)
    # the ridge leaves the residual not quite orthogonal to the basis
    assert_close(normal.gradient, -torch.einsum("bhw,bhwi->bi", by_pixel, JACOBIAN), rtol=0.01, atol=1e-3)
    assert_close(normal.value, fit.value(MOVING), rtol=1e-9, atol=1e-12)


def test_hessian_predicts_the_change_that_the_function_cannot_follow():
    normal = (
        CorrelationRatio().fit(TRUTH, MASKS["full"]).normal_equations(TRUTH[None], torch.func.jacfwd(scene)(torch.zeros(6).double())[None])
    )
    step = torch.tensor([0.004, -0.003, 0.002, 0.003, 0.002, 0.003], dtype=torch.float64)
    cost = 1 - CorrelationRatio().fit(TRUTH, MASKS["full"]).value(torch.stack([scene(step), TRUTH]))
    assert float(cost[0] - cost[1]) == pytest.approx(float(step @ normal.hessian[0] @ step / 2), rel=0.15)
    assert (torch.linalg.eigvalsh(normal.hessian[0]) > 0).all()


def test_masked_pixels_change_nothing():
    mask = MASKS["half"]
    soiled, fixed = MOVING.clone(), TRUTH.clone()
    soiled[:, ~mask], fixed[~mask] = 1e6, torch.nan
    assert torch.equal(CorrelationRatio().fit(fixed, mask).value(soiled), CorrelationRatio().fit(TRUTH, mask).value(MOVING))


@pytest.mark.parametrize("level", [0.0, 3.7, -1e4])
def test_a_constant_image_explains_nothing(level):
    fit, moving = CorrelationRatio().fit(TRUTH.float(), MASKS["full"]), torch.full((1, *SHAPE), level, requires_grad=True)
    value = fit.value(moving)
    assert value.item() == 0
    (gradient,) = torch.autograd.grad(value.sum(), moving)
    assert not gradient.any()
    normal = fit.normal_equations(moving.detach(), JACOBIAN[:1].float())
    assert not normal.gradient.any()
    assert not normal.hessian.any()


@pytest.mark.parametrize("knots", [1, 65, 2.5, "8"])
def test_knots_make_sense(knots):
    with pytest.raises(XrcoreError, match="knots"):
        CorrelationRatio(knots=knots)


def test_a_constant_xray_is_refused():
    with pytest.raises(XrcoreError, match="constant"):
        CorrelationRatio().fit(torch.ones(SHAPE), MASKS["full"])
