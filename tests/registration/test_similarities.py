"""Similarities against closed forms, numpy, scipy and float64 automatic differentiation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage
from scipy.interpolate import BSpline
from torch.testing import assert_close

from xrcore._util.errors import XrcoreError
from xrcore.registration.similarities import SIMILARITIES, WLMI, ZNCC, GradientZNCC, LocalZNCC, MutualInformation, Similarity, similarity

LEAST_SQUARES = [
    ZNCC(),
    GradientZNCC(),
    GradientZNCC(operator="central", sigma=0.8),
    LocalZNCC(),
    LocalZNCC(patch=12, floor=0.3),  # does not divide the image
    LocalZNCC(patch=9, overlap=False),  # odd number of pixels
]
INFORMATION = [
    MutualInformation(),
    MutualInformation(bins=12, window="linear", normalised=True),
    WLMI(patch=16, bins=8),
    WLMI(patch=15, bins=10, normalised=True),
]
ALL = LEAST_SQUARES + INFORMATION
SHAPE = (40, 34)
CENTRE, WIDTH, HEIGHT = (torch.rand(25, 4, generator=torch.Generator().manual_seed(7), dtype=torch.float64)).split((2, 1, 1), 1)
CENTRE, WIDTH, HEIGHT = 2 * CENTRE - 1, 0.1 + 0.2 * WIDTH.squeeze(), 0.3 + HEIGHT.squeeze()


def name_of(value: object) -> str | None:
    return str(value) if isinstance(value, Similarity) else None


def scene(pose: torch.Tensor) -> torch.Tensor:
    """A smooth image that six numbers move, turn, stretch and brighten: Gaussian blobs, stiffly moved together."""
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, n, dtype=torch.float64) for n in SHAPE), indexing="ij")
    x, y = x - pose[0], y - pose[1]
    x, y = x * torch.cos(pose[2]) - y * torch.sin(pose[2]), x * torch.sin(pose[2]) + y * torch.cos(pose[2])
    x, y = x * torch.exp(pose[3]), y * torch.exp(pose[4])
    blobs = HEIGHT * torch.exp(-((x[..., None] - CENTRE[:, 0]) ** 2 + (y[..., None] - CENTRE[:, 1]) ** 2) / (2 * WIDTH**2))
    return (blobs * (1 + pose[5] * CENTRE[:, 0])).sum(-1)


def disc() -> torch.Tensor:
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    return (x - 0.1) ** 2 + y**2 < 0.8


FIXED = scene(torch.zeros(6, dtype=torch.float64))
POSES = torch.tensor([[0.1, -0.05, 0.1, 0.05, -0.1, 0.3], [-0.3, 0.2, -0.2, 0.1, 0.1, -0.2]], dtype=torch.float64)
MASKS = {"full": torch.ones(SHAPE, dtype=torch.bool), "disc": disc()}
MOVING, JACOBIAN = torch.stack([scene(p) for p in POSES]), torch.stack([torch.func.jacfwd(scene)(p) for p in POSES])

every = pytest.mark.parametrize("chosen", ALL, ids=name_of)
every_least_squares = pytest.mark.parametrize("chosen", LEAST_SQUARES, ids=name_of)
every_mask = pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS.keys())


@every_least_squares
@every_mask
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_for_the_same_image_whatever_its_gain_and_offset(chosen, mask, dtype):
    fixed = FIXED.to(dtype)
    moving = torch.stack([fixed, 3.5 * fixed + 2, 0.01 * fixed - 1])
    assert_close(chosen.fit(fixed, mask).value(moving), torch.ones(3, dtype=dtype), atol=1e-4 if dtype == torch.float32 else 1e-12, rtol=0)


@every
@every_mask
def test_gain_and_offset_do_not_matter(chosen, mask):
    fit = chosen.fit(FIXED, mask)
    assert_close(fit.value(2.7 * MOVING - 4), fit.value(MOVING), atol=1e-10, rtol=0)
    assert_close(chosen.fit(0.2 * FIXED + 9, mask).value(MOVING), fit.value(MOVING), atol=1e-10, rtol=0)


@every
@every_mask
def test_falls_with_misalignment(chosen, mask):
    direction = torch.tensor([1.0, 0.5, 0.3, 0, 0, 0], dtype=torch.float64)
    value = chosen.fit(FIXED, mask).value(torch.stack([scene(s * direction) for s in (0.0, 0.04, 0.1, 0.2, 0.4)]))
    assert (value.diff() < 0).all()


@pytest.mark.parametrize("chosen", [c for c in LEAST_SQUARES if not isinstance(c, LocalZNCC)], ids=name_of)
def test_minus_one_for_the_negated_image(chosen):
    assert chosen.fit(FIXED, MASKS["full"]).value(-FIXED[None]).item() == pytest.approx(-1)


@every
@pytest.mark.parametrize("garbage", [1e12, -1e12])
def test_pixels_outside_the_mask_change_nothing(chosen, garbage):
    mask = MASKS["disc"]
    moving, jacobian = MOVING, JACOBIAN
    soiled_fixed, soiled, soiled_jacobian = FIXED.clone(), moving.clone(), jacobian.clone()
    soiled_fixed[~mask], soiled[:, ~mask], soiled_jacobian[:, ~mask] = torch.nan, garbage, -garbage
    fit, soiled_fit = chosen.fit(FIXED, mask), chosen.fit(soiled_fixed, mask)
    soiled.requires_grad_()
    value = soiled_fit.value(soiled)
    assert torch.equal(value, fit.value(moving))
    (gradient,) = torch.autograd.grad(value.sum(), soiled)
    assert not gradient[:, ~mask].any()
    assert gradient[:, mask].any()
    if chosen.least_squares:
        for a, b in zip(soiled_fit.normal_equations(soiled, soiled_jacobian), fit.normal_equations(moving, jacobian), strict=True):
            assert_close(a, b, rtol=0, atol=0)


@every
@every_mask
def test_value_is_differentiable(chosen, mask):
    fit = chosen.fit(FIXED, mask)
    noise = torch.rand(2, *SHAPE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    moving = (MOVING + 0.1 * noise).requires_grad_()
    (gradient,) = torch.autograd.grad(fit.value(moving).sum(), moving)
    direction = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    step = 1e-6
    numeric = (fit.value(moving + step * direction) - fit.value(moving - step * direction)) / (2 * step)
    assert_close((gradient * direction).sum((1, 2)), numeric, rtol=1e-6, atol=1e-9)


@every
@every_mask
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("level", [0.0, 0.1, 3.7, -1e4])
def test_constant_moving_image_has_value_and_gradient_zero(chosen, mask, dtype, level):
    fit = chosen.fit(FIXED.to(dtype), mask)
    moving = torch.full((2, *SHAPE), level, dtype=dtype, requires_grad=True)
    value = fit.value(moving)
    assert value.tolist() == [0, 0]
    (gradient,) = torch.autograd.grad(value.sum(), moving)
    assert not gradient.any()
    if chosen.least_squares:
        jacobian = JACOBIAN.to(dtype)
        normal = fit.normal_equations(moving, jacobian)
        assert not normal.value.any()
        assert not normal.gradient.any()
        assert not normal.hessian.any()


@pytest.mark.parametrize("chosen", [ZNCC(), LocalZNCC(), MutualInformation(), WLMI()], ids=name_of)
def test_rounding_noise_counts_as_constant(chosen):
    noise = torch.rand(2, *SHAPE, generator=torch.Generator().manual_seed(6)) < 0.5
    moving = torch.full((2, *SHAPE), 3.7).where(noise, torch.tensor(3.7).nextafter(torch.tensor(9.0)))
    assert chosen.fit(FIXED.float(), MASKS["full"]).value(moving).tolist() == [0, 0]


def in_groups(chosen: Similarity, image: torch.Tensor) -> torch.Tensor:
    """The pixels (G, Q) that a similarity compares: the image, its two gradient components, or its patches; zeros around the image."""
    if isinstance(chosen, ZNCC):
        return image.flatten()[None]
    image = image[None, None]
    if isinstance(chosen, GradientZNCC):
        if chosen.sigma > 0:
            i = torch.arange(-math.ceil(3 * chosen.sigma), math.ceil(3 * chosen.sigma) + 1, dtype=image.dtype)
            taps = torch.exp(-(i**2) / (2 * chosen.sigma**2))
            image = F.conv2d(image, (taps[:, None] * taps / taps.sum() ** 2)[None, None])
        across = [1, 2, 1] if chosen.operator == "sobel" else [0, 1, 0]
        stencil = torch.tensor(across, dtype=image.dtype)[:, None] * torch.tensor([-1, 0, 1], dtype=image.dtype)
        return F.conv2d(image, torch.stack([stencil, stencil.T])[:, None])[0].flatten(1)
    step = chosen.patch // 2 if chosen.overlap else chosen.patch
    rows, columns = image.shape[2:]
    return F.unfold(F.pad(image, (0, -columns % step, 0, -rows % step)), chosen.patch, stride=step)[0].T


def inside_groups(chosen: Similarity, mask: torch.Tensor) -> torch.Tensor:
    """Which of those pixels count: with their whole stencil inside the mask."""
    if isinstance(chosen, GradientZNCC):
        inside = 1 - F.max_pool2d((~mask).double()[None, None], 2 * math.ceil(3 * chosen.sigma) + 3, stride=1)
        return inside.flatten().expand(2, -1)
    return in_groups(chosen, mask.double())


def residual(chosen: Similarity, mask: torch.Tensor, moving: torch.Tensor) -> torch.Tensor:
    """The residual of one moving image from its definition, group after group, a pixel or a floor after the other."""
    inside = inside_groups(chosen, mask)
    kept = inside.sum(1) >= 0.25 * inside.sum(1).max()
    inside, count = inside[kept], inside[kept].sum(1)

    def standardised(image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        pixels = in_groups(chosen, image * mask)[kept]
        centred = (pixels - ((pixels * inside).sum(1) / count)[:, None]) * inside
        floor = getattr(chosen, "floor", 0) ** 2 * image[mask].var(correction=0)
        extended = torch.cat([centred, (count * floor).sqrt()[:, None]], 1) if floor > 0 else centred
        return extended / extended.norm(dim=1, keepdim=True), (centred**2).sum(1) / count, floor

    (u_fixed, variance, floor), (u_moving, _, _) = standardised(FIXED), standardised(moving)
    weight = count * variance / (variance + floor)
    return ((weight / weight.sum()).sqrt()[:, None] * (u_fixed - u_moving)).flatten()


@every_least_squares
@every_mask
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_normal_equations_are_those_of_the_residual(chosen, mask, dtype):
    normal = chosen.fit(FIXED.to(dtype), mask).normal_equations(MOVING.to(dtype) + 2, JACOBIAN.to(dtype))
    tolerance = 1e-4 if dtype == torch.float32 else 1e-10
    for i, pose in enumerate(POSES):
        r, d_r = residual(chosen, mask, scene(pose)), torch.func.jacfwd(lambda numbers: residual(chosen, mask, scene(numbers)))(pose)
        hessian = d_r.T @ d_r
        assert_close(normal.value[i], 1 - r @ r / 2, rtol=0, atol=tolerance)
        assert_close(normal.gradient[i], d_r.T @ r, rtol=0, atol=tolerance * hessian.abs().max().sqrt().item())
        assert_close(normal.hessian[i], hessian, rtol=0, atol=tolerance * hessian.abs().max().item())


@every_least_squares
@every_mask
def test_half_the_squared_residual_is_one_minus_value(chosen, mask):
    value = chosen.fit(FIXED, mask).value(MOVING)
    half = torch.stack([residual(chosen, mask, moving).square().sum() / 2 for moving in MOVING])
    assert_close(half, 1 - value, rtol=1e-11, atol=1e-12)


@every_least_squares
@every_mask
def test_gradient_of_the_cost_is_that_of_minus_the_value(chosen, mask):
    fit, moving, jacobian = chosen.fit(FIXED, mask), MOVING.clone().requires_grad_(), JACOBIAN
    (by_pixel,) = torch.autograd.grad(fit.value(moving).sum(), moving)
    assert_close(fit.normal_equations(moving, jacobian).gradient, -torch.einsum("bhw,bhwi->bi", by_pixel, jacobian), rtol=1e-9, atol=1e-11)


@every_least_squares
def test_jacobian_may_be_stored_as_planes(chosen):
    fit, moving, jacobian = chosen.fit(FIXED, MASKS["full"]), MOVING, JACOBIAN
    planes = jacobian.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)
    before = planes.clone()
    for a, b in zip(fit.normal_equations(moving, planes), fit.normal_equations(moving, jacobian), strict=True):
        assert_close(a, b, rtol=1e-10, atol=1e-12)
    assert torch.equal(planes, before)


@every_least_squares
def test_normal_equations_leave_their_arguments_alone(chosen):
    fit, moving, jacobian = chosen.fit(FIXED, MASKS["disc"]), MOVING, JACOBIAN
    copies = moving.clone(), jacobian.clone()
    fit.normal_equations(moving, jacobian)
    assert torch.equal(moving, copies[0])
    assert torch.equal(jacobian, copies[1])


@every
def test_batch_is_its_images_one_by_one(chosen):
    fit, moving, jacobian = chosen.fit(FIXED, MASKS["disc"]), MOVING, JACOBIAN
    assert_close(fit.value(moving), torch.cat([fit.value(m[None]) for m in moving]), rtol=1e-12, atol=1e-13)
    if chosen.least_squares:
        single = [fit.normal_equations(m[None], j[None]).hessian for m, j in zip(moving, jacobian, strict=True)]
        assert_close(fit.normal_equations(moving, jacobian).hessian, torch.cat(single), rtol=1e-10, atol=1e-12)


@every_least_squares
@every_mask
def test_gauss_newton_finds_the_pose(chosen, mask):
    fit = chosen.fit(FIXED, mask)
    pose = 0.3 * POSES[0]
    for _ in range(12):
        normal = fit.normal_equations(scene(pose)[None], torch.func.jacfwd(scene)(pose)[None])
        pose = pose - torch.linalg.solve(normal.hessian[0], normal.gradient[0])
    assert pose.abs().max() < 1e-8


def test_covariance_from_count_is_that_of_ordinary_least_squares():
    """White noise on the fixed image scatters the Gauss-Newton estimate as |r|^2 / (count - 6) hessian^-1 says."""
    generator = torch.Generator().manual_seed(3)
    jacobian, moving = torch.func.jacfwd(scene)(torch.zeros(6, dtype=torch.float64))[None], FIXED[None]
    steps, predicted = [], []
    for _ in range(400):
        noisy = FIXED + 0.05 * torch.randn(SHAPE, generator=generator, dtype=torch.float64)
        normal = ZNCC().fit(noisy, MASKS["disc"]).normal_equations(moving, jacobian)
        inverse = torch.linalg.inv(normal.hessian[0])
        steps.append(inverse @ normal.gradient[0])
        predicted.append(2 * (1 - normal.value) / (normal.effective_count - 6) * inverse.diagonal())
    assert normal.effective_count == pytest.approx(MASKS["disc"].sum().item())
    assert_close(torch.stack(steps).var(0), torch.stack(predicted).mean(0), rtol=0.25, atol=0)


def test_zncc_is_pearsons_correlation():
    for mask in MASKS.values():
        expected = [np.corrcoef(FIXED[mask], m[mask])[0, 1] for m in MOVING]
        assert ZNCC().fit(FIXED, mask).value(MOVING).tolist() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("sigma", [0.0, 1.2])
@pytest.mark.parametrize("operator", ["sobel", "central"])
def test_gradient_zncc_is_pearsons_correlation_of_scipys_gradients(operator, sigma):
    reach = 1 + int(np.ceil(3 * sigma))
    mask = ndimage.binary_erosion(MASKS["disc"].numpy(), np.ones((2 * reach + 1, 2 * reach + 1)))

    def gradients(image: torch.Tensor) -> list[np.ndarray]:
        smooth = ndimage.gaussian_filter(image.numpy(), sigma, radius=reach - 1) if sigma else image.numpy()
        filtered = [ndimage.sobel(smooth, i) if operator == "sobel" else ndimage.correlate1d(smooth, [-1, 0, 1], i) for i in (0, 1)]
        return [g[mask] for g in filtered]

    expected = [np.mean([np.corrcoef(f, m)[0, 1] for f, m in zip(gradients(FIXED), gradients(x), strict=True)]) for x in MOVING]
    chosen = GradientZNCC(operator=operator, sigma=sigma)
    assert chosen.fit(FIXED, MASKS["disc"]).value(MOVING).tolist() == pytest.approx(expected, abs=1e-10)


def test_gradient_component_in_which_the_fixed_image_is_flat_does_not_count():
    stripes = torch.sin(torch.arange(SHAPE[1], dtype=torch.float64)).expand(SHAPE)
    both = stripes + torch.sin(torch.arange(SHAPE[0], dtype=torch.float64))[:, None]
    value = GradientZNCC().fit(stripes, MASKS["full"]).value(torch.stack([stripes, both]))
    assert_close(value, torch.ones(2, dtype=torch.float64))


@pytest.mark.parametrize("overlap", [True, False])
def test_local_zncc_is_the_weighted_mean_over_patches(overlap):
    mask, side, floor = MASKS["disc"].numpy(), 10, 0.2
    step = side // 2 if overlap else side
    f, m = FIXED.numpy(), MOVING[0].numpy()
    floor_f, floor_m = floor * f[mask].std(), floor * m[mask].std()
    found = []
    for row in range(0, SHAPE[0] - (step if overlap else 0), step):
        for column in range(0, SHAPE[1] - (step if overlap else 0), step):
            window = np.s_[row : row + side, column : column + side]
            inside = mask[window]
            if inside.sum() == 0:
                continue
            a, b = f[window][inside], m[window][inside]
            a, b, n = np.append(a - a.mean(), np.sqrt(a.size) * floor_f), np.append(b - b.mean(), np.sqrt(b.size) * floor_m), a.size
            variance = a[:-1].var()
            found.append((n, n * variance / (variance + floor_f**2), a @ b / np.sqrt((a @ a) * (b @ b))))
    n, weight, correlation = np.array(found).T
    weight = np.where(n >= n.max() / 4, weight, 0)
    expected = (weight * correlation).sum() / weight.sum()
    value = LocalZNCC(patch=side, overlap=overlap, floor=floor).fit(FIXED, MASKS["disc"]).value(MOVING[:1])
    assert value.item() == pytest.approx(expected, abs=1e-12)


def test_local_zncc_forgives_gain_and_offset_of_each_patch():
    row, column = np.indices(SHAPE) // 10
    moving = torch.tensor(1 + (row + 2 * column) % 3) * FIXED + torch.tensor(5.0 * (-1) ** (row + column))
    local = LocalZNCC(patch=10, overlap=False, floor=0.01)
    assert ZNCC().fit(FIXED, MASKS["full"]).value(moving[None]) < 0.5
    assert local.fit(FIXED, MASKS["full"]).value(moving[None]) > 0.97


def levels(bins: int, seed: int, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """Random grey values 0 ... bins - 1, the extremes among them: bin centres of the linear window, so that it is hard."""
    image = np.random.default_rng(seed).integers(0, bins, shape)
    image[0, 0], image[-1, -1] = 0, bins - 1
    return image


def information(a: np.ndarray, b: np.ndarray, bins: int) -> tuple[float, float, float]:
    """Mutual information, joint entropy, and entropy of the first image, from numpy's histogram."""
    p = np.histogram2d(a.ravel(), b.ravel(), bins=bins, range=[[-0.5, bins - 0.5]] * 2)[0] / a.size

    def entropy(p: np.ndarray) -> float:
        return -(p[p > 0] * np.log(p[p > 0])).sum()

    return entropy(p.sum(0)) + entropy(p.sum(1)) - entropy(p), entropy(p), entropy(p.sum(1))


@pytest.mark.parametrize("normalised", [False, True])
def test_mutual_information_is_that_of_a_hard_histogram(normalised):
    bins = 9
    a, noise = levels(bins, 0), levels(bins, 1)
    b = np.where(noise > 3, a, noise)
    mi, joint, _ = information(a, b, bins)
    chosen = MutualInformation(bins=bins, window="linear", normalised=normalised)
    value = chosen.fit(torch.tensor(a, dtype=torch.float64), MASKS["full"]).value(torch.tensor(b, dtype=torch.float64)[None])
    assert value.item() == pytest.approx(mi / joint if normalised else mi, abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_mutual_information_of_a_uniform_image_with_itself_is_log_bins(dtype):
    image = torch.arange(16, dtype=dtype).repeat(SHAPE[0] * SHAPE[1] // 16).view(SHAPE)
    fit = MutualInformation(bins=16, window="linear").fit(image, MASKS["full"])
    assert_close(fit.value(torch.stack([image, -image])), torch.full((2,), np.log(16), dtype=dtype), rtol=1e-5, atol=0)


def test_mutual_information_of_independent_images_is_zero():
    rows, columns = (torch.arange(n, dtype=torch.float64).expand(SHAPE if n == SHAPE[1] else SHAPE[::-1]) for n in SHAPE)
    assert MutualInformation().fit(rows.T.contiguous(), MASKS["full"]).value(columns[None]).item() == pytest.approx(0, abs=1e-12)


def test_cubic_window_is_scipys_b_spline():
    bins = 11
    f, m = FIXED.numpy().ravel(), MOVING[0].numpy().ravel()
    position = 1 + (m - m.min()) / np.ptp(m) * (bins - 3)
    spline = BSpline.basis_element(np.arange(-2, 3), extrapolate=False)
    spread = np.nan_to_num(spline(position[:, None] - np.arange(bins)))
    joint = np.zeros((bins, bins))
    np.add.at(joint, np.minimum((f - f.min()) / np.ptp(f) * bins, bins - 1).astype(int), spread / f.size)
    assert joint.sum() == pytest.approx(1)
    outer = joint.sum(1, keepdims=True) * joint.sum(0)
    expected = (joint[joint > 0] * np.log((joint / outer)[joint > 0])).sum()
    assert MutualInformation(bins=bins).fit(FIXED, MASKS["full"]).value(MOVING[:1]).item() == pytest.approx(expected, abs=1e-10)


def test_wlmi_weighs_patches_by_the_fixed_entropy():
    bins, side, shape = 6, 20, (40, 64)  # the last 4 columns are slivers of patches, which do not count
    a, noise = levels(bins, 2, shape), levels(bins, 3, shape)
    a[:20, :20] = np.minimum(a[:20, :20], 1)  # little entropy
    a[20:, 40:] = 2  # none
    b = np.where(noise > 2, a, noise)
    patches = [np.s_[r : r + side, c : c + side] for r in range(0, 40, side) for c in range(0, 60, side)]
    mi, _, weight = np.array([information(a[p], b[p], bins) for p in patches]).T
    fit = WLMI(patch=side, bins=bins, window="linear").fit(torch.tensor(a, dtype=torch.float64), torch.ones(shape, dtype=torch.bool))
    assert fit.value(torch.tensor(b, dtype=torch.float64)[None]).item() == pytest.approx((weight * mi).sum() / weight.sum(), abs=1e-12)


def test_information_does_not_mind_inversion_or_gamma():
    values = (
        MutualInformation().fit(FIXED, MASKS["full"]).value(torch.stack([FIXED, FIXED.max() - FIXED, FIXED.sqrt(), torch.rand_like(FIXED)]))
    )
    assert values[:3].min() > 1.5 > 0.5 > values[3]


@pytest.mark.parametrize("name", SIMILARITIES)
def test_names_give_default_options(name):
    found = similarity(name)
    assert found.name == name
    assert isinstance(found, Similarity)
    assert found == type(found)()
    assert len({found, type(found)()}) == 1
    assert similarity(found) is found


@pytest.mark.parametrize("unknown", ["ncc", "", 3, None, ZNCC])
def test_unknown_name_lists_the_valid_ones(unknown):
    with pytest.raises(XrcoreError, match=", ".join(SIMILARITIES)):
        similarity(unknown)


@pytest.mark.parametrize("chosen", INFORMATION, ids=name_of)
def test_information_says_that_it_has_no_residual(chosen):
    fit, moving, jacobian = chosen.fit(FIXED, MASKS["full"]), MOVING, JACOBIAN
    assert not chosen.least_squares
    with pytest.raises(XrcoreError, match="no least-squares residual"):
        fit.normal_equations(moving, jacobian)


@every
def test_bad_images_are_refused(chosen):
    full = MASKS["full"]
    with pytest.raises(XrcoreError, match="constant"):
        chosen.fit(torch.full(SHAPE, 0.1), full)
    with pytest.raises(XrcoreError, match=r"constant|mask"):
        chosen.fit(FIXED, ~full)
    with pytest.raises(XrcoreError, match="share a shape"):
        chosen.fit(FIXED, full[1:])
    with pytest.raises(XrcoreError, match="mask bool"):
        chosen.fit(FIXED, full.double())
    with pytest.raises(XrcoreError, match="NaN"):
        chosen.fit(FIXED.log() * torch.nan, full)
    with pytest.raises(XrcoreError, match="moving images must be"):
        chosen.fit(FIXED, full).value(FIXED)
    if chosen.least_squares:
        with pytest.raises(XrcoreError, match="jacobian must be"):
            chosen.fit(FIXED, full).normal_equations(FIXED[None], torch.zeros(1, *SHAPE, 3))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: GradientZNCC(operator="scharr"), "operator"),
        (lambda: GradientZNCC(sigma=-1), "sigma"),
        (lambda: GradientZNCC(sigma=9).fit(FIXED, MASKS["full"]), "lower sigma"),
        (lambda: LocalZNCC(patch=2), "patch"),
        (lambda: LocalZNCC(patch=9), "even"),
        (lambda: LocalZNCC(floor=0), "floor"),
        (lambda: MutualInformation(bins=2), "bins"),
        (lambda: MutualInformation(window="box"), "window"),
        (lambda: WLMI(patch=1), "patch"),
    ],
)
def test_bad_options_are_refused(build, message):
    with pytest.raises(XrcoreError, match=message):
        build()


@pytest.mark.parametrize("name", SIMILARITIES)
@pytest.mark.parametrize("size", [8, 12, 17])
def test_images_smaller_than_the_patches(name, size):
    image = torch.rand(size, size + 1, generator=torch.Generator().manual_seed(5))
    value = similarity(name).fit(image, torch.ones_like(image, dtype=torch.bool)).value(torch.stack([image, image.flip(0)]))
    assert value[0] > value[1]
