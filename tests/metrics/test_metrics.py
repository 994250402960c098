"""Metrics against closed forms and scikit-image."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from skimage.metrics import structural_similarity
from torch.testing import assert_close

from xrcore import metrics
from xrcore._util.errors import XrcoreError
from xrcore.geometry import CArm, Pose

CARM = CArm(source_to_detector=1259.65, source_to_isocenter=742.5, shape=(64, 48), pixel_spacing=(1.5, 2.0))
ISOCENTER = torch.tensor([12.0, -30.0, 250.0], dtype=torch.float64)


def cloud(n: int = 20, spread: float = 120.0, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return ISOCENTER + spread * (2 * torch.rand(n, 3, dtype=torch.float64, generator=generator) - 1)


def pictures(seed: int = 0, shape: tuple[int, int] = (40, 57)) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    a = gaussian_filter(generator.normal(size=shape), 2.0)
    return a, 0.7 * a + 0.3 * gaussian_filter(generator.normal(size=shape), 2.0) + 0.05


def test_the_true_pose_has_no_error():
    pose = Pose.random(4, generator=torch.Generator().manual_seed(1))
    for metric in (metrics.mtre, metrics.mpd):
        assert_close(metric(pose, pose, cloud(), CARM, ISOCENTER), torch.zeros(4, dtype=torch.float64))
    assert_close(metrics.pose_error(pose, pose), torch.zeros(4, 6, dtype=torch.float64))


def test_mtre_of_a_translation_is_its_length():
    truth = Pose.random(5, generator=torch.Generator().manual_seed(2))
    step = torch.tensor([3.0, -4.0, 12.0], dtype=torch.float64)
    moved = Pose(truth.numbers + torch.cat([torch.zeros(3, dtype=torch.float64), step]))
    assert_close(metrics.mtre(moved, truth, cloud(), CARM, ISOCENTER), torch.full((5,), 13.0, dtype=torch.float64))


def test_mtre_of_a_roll_is_the_chord():
    # an in-plane rotation about the isocentre moves a point at radius r by the chord 2 r sin(angle / 2)
    radius, angle = 80.0, 10.0
    point = (ISOCENTER + torch.tensor([radius, 0.0, 0.0], dtype=torch.float64))[None]
    error = metrics.mtre(Pose(rz=angle), Pose.zero(), point, CARM, ISOCENTER)
    assert_close(error, torch.tensor([2 * radius * math.sin(math.radians(angle) / 2)], dtype=torch.float64))


def test_mpd_of_an_in_plane_translation_is_magnified():
    # at the isocentre's depth, 1 mm is source_to_detector / source_to_isocenter mm on the detector
    plane = cloud()
    plane[:, 1] = ISOCENTER[1]
    error = metrics.mpd(Pose(tx=3.0, ty=4.0), Pose.zero(), plane, CARM, ISOCENTER)
    assert_close(error, torch.tensor([5.0 * CARM.magnification], dtype=torch.float64))


def test_mpd_of_a_depth_translation_scales_with_the_offset():
    # a point at offset r and depth z projects to D r / z
    r, step = 100.0, 20.0
    point = (ISOCENTER + torch.tensor([0.0, 0.0, r], dtype=torch.float64))[None]
    z = CARM.source_to_isocenter
    expected = CARM.source_to_detector * r * abs(1 / z - 1 / (z - step))
    assert_close(metrics.mpd(Pose(tz=step), Pose.zero(), point, CARM, ISOCENTER), torch.tensor([expected], dtype=torch.float64))
    assert_close(metrics.mpd(Pose(tz=step), Pose.zero(), ISOCENTER[None], CARM, ISOCENTER), torch.zeros(1, dtype=torch.float64))


def test_mpd_is_infinite_where_a_landmark_is_behind_the_source():
    error = metrics.mpd(Pose(tz=1000.0), Pose.zero(), ISOCENTER[None], CARM, ISOCENTER)
    assert error.isinf().all()


def test_one_truth_serves_a_batch_of_poses():
    poses = Pose.random(3, generator=torch.Generator().manual_seed(3))
    together = metrics.mtre(poses, Pose.zero(), cloud().numpy(), CARM, ISOCENTER.numpy())
    alone = torch.cat([metrics.mtre(poses[i], Pose.zero(), cloud(), CARM, ISOCENTER) for i in range(3)])
    assert_close(together, alone)
    assert metrics.mtre(Pose.zero(), poses, cloud(), CARM, ISOCENTER).shape == (3,)


def test_pose_error_takes_the_short_way_round():
    error = metrics.pose_error(Pose(rz=179.0, tx=-2.0), Pose(rz=-179.0, tx=1.0))
    assert_close(error, torch.tensor([[0.0, 0.0, 2.0, 3.0, 0.0, 0.0]], dtype=torch.float64))


def test_success_rate_counts_strictly_below_the_threshold():
    assert metrics.success_rate([1.0, 9.99, 10.0, math.nan, math.inf]) == pytest.approx(40.0)
    assert metrics.success_rate(np.array([1.0, 3.0]), threshold=2.0) == pytest.approx(50.0)
    with pytest.raises(XrcoreError, match="no mTRE"):
        metrics.success_rate([])


def test_ncc_is_pearson_correlation():
    a, b = pictures()
    assert float(metrics.ncc(a, b)) == pytest.approx(np.corrcoef(a.ravel(), b.ravel())[0, 1], abs=1e-12)
    assert float(metrics.ncc(a, -3 * a + 1e4)) == pytest.approx(-1.0, abs=1e-9)
    assert float(metrics.ncc(a, np.full_like(a, 0.1))) == 0.0


def test_ncc_sees_only_the_mask():
    a, b = pictures()
    mask = np.zeros(a.shape, dtype=bool)
    mask[5:20, 10:40] = True
    expected = np.corrcoef(a[mask], b[mask])[0, 1]
    b = np.where(mask, b, np.nan)
    assert float(metrics.ncc(a, b, mask)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", [0, 1])
def test_ssim_agrees_with_scikit_image_on_the_interior(seed):
    a, b = pictures(seed)
    options = {"data_range": 1.5, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    _, local = structural_similarity(a, b, full=True, **options)
    assert float(metrics.ssim(a, b, data_range=1.5)) == pytest.approx(local[5:-5, 5:-5].mean(), abs=1e-12)


def test_ssim_averages_over_windows_inside_the_mask():
    a, b = pictures()
    _, local = structural_similarity(a, b, full=True, data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
    mask = np.zeros(a.shape, dtype=bool)
    mask[3:30, 6:41] = True
    expected = local[8:25, 11:36].mean()
    b = np.where(mask, b, np.nan)
    assert float(metrics.ssim(a, b, mask, data_range=1.0)) == pytest.approx(expected, abs=1e-12)


def test_css_is_its_formula():
    a, b = pictures()
    c2 = 0.03**2

    def mean(image):  # the same window by another library
        return gaussian_filter(image, 1.5, truncate=3.5)[5:-5, 5:-5]

    covariance = mean(a * b) - mean(a) * mean(b)
    variances = mean(a * a) - mean(a) ** 2 + mean(b * b) - mean(b) ** 2
    expected = ((2 * covariance + c2) / (variances + c2)).mean()
    assert float(metrics.css(a, b, data_range=1.0)) == pytest.approx(expected, abs=1e-12)


def test_css_ignores_an_offset_where_ssim_does_not():
    a, _ = pictures()
    span = a.max() - a.min()
    assert float(metrics.css(a, a + span, data_range=span)) == pytest.approx(1.0, abs=1e-9)
    assert float(metrics.ssim(a, a + span, data_range=span)) < 0.6


def test_default_data_range_makes_ssim_free_of_scale():
    a, b = pictures()
    assert float(metrics.ssim(a, b)) == pytest.approx(float(metrics.ssim(1e3 * a, 1e3 * b)), abs=1e-9)
    assert float(metrics.ssim(a, b)) == pytest.approx(float(metrics.ssim(b, a)), abs=1e-12)
    assert float(metrics.ssim(a, b)) == pytest.approx(float(metrics.ssim(a, b, data_range=max(np.ptp(a), np.ptp(b)))), abs=1e-12)


@pytest.mark.parametrize("metric", [metrics.ncc, metrics.ssim, metrics.css])
def test_a_batch_gives_one_value_an_image(metric):
    pairs = [pictures(seed) for seed in range(3)]
    a, b = (torch.tensor(np.stack(side), dtype=torch.float32) for side in zip(*pairs, strict=True))
    together = metric(a, b)
    assert together.shape == (3,)
    assert_close(together, torch.stack([metric(x, y) for x, y in zip(a, b, strict=True)]))
    mask = torch.ones(a.shape[1:], dtype=torch.bool)
    assert_close(metric(a, b, mask), together)


@pytest.mark.parametrize("metric", [metrics.ncc, metrics.ssim, metrics.css])
def test_mismatched_images_are_refused_by_name(metric):
    a, b = pictures()
    with pytest.raises(XrcoreError, match=rf"{metric.__name__}: a is \(40, 57\) but b is \(39, 57\)"):
        metric(a, b[1:])
    with pytest.raises(XrcoreError, match="mask is"):
        metric(a, b, np.ones((3, 3), dtype=bool))
    with pytest.raises(XrcoreError, match="mask"):
        metric(a, b, np.zeros(a.shape, dtype=bool))
    with pytest.raises(XrcoreError, match="b holds NaN"):
        metric(a, np.full_like(b, np.nan))


def test_ssim_needs_room_for_its_window():
    a, b = pictures(shape=(10, 30))
    with pytest.raises(XrcoreError, match="11 x 11"):
        metrics.ssim(a, b)
    a, b = pictures()
    stripes = np.zeros(a.shape, dtype=bool)
    stripes[::2] = True
    with pytest.raises(XrcoreError, match="window"):
        metrics.ssim(a, b, stripes)
    with pytest.raises(XrcoreError, match="data_range"):
        metrics.ssim(a, b, data_range=0.0)
    for odd in ("a", math.nan, -0.1):
        with pytest.raises(XrcoreError, match="ssim: k1 must be a number, 0 or more"):
            metrics.ssim(a, b, k1=odd)
        with pytest.raises(XrcoreError, match="css: k2 must be a number, 0 or more"):
            metrics.css(a, b, k2=odd)


@pytest.mark.parametrize("metric", [metrics.mtre, metrics.mpd])
def test_mismatched_poses_and_points_are_refused_by_name(metric):
    with pytest.raises(XrcoreError, match="2 poses but truth holds 3"):
        metric(Pose.zero(2), Pose.zero(3), cloud(), CARM, ISOCENTER)
    with pytest.raises(XrcoreError, match="landmarks"):
        metric(Pose.zero(), Pose.zero(), cloud()[:, :2], CARM, ISOCENTER)
    with pytest.raises(XrcoreError, match="isocenter"):
        metric(Pose.zero(), Pose.zero(), cloud(), CARM, ISOCENTER[None])
    with pytest.raises(XrcoreError, match="truth must be a Pose"):
        metric(Pose.zero(), [0.0] * 6, cloud(), CARM, ISOCENTER)


def test_likeness_does_not_see_gain_and_offset_and_agrees_with_its_parts():
    a, b = pictures()
    mask = np.zeros(a.shape, dtype=bool)
    mask[3:30, 6:41] = True
    found = metrics.likeness(a, b, mask)
    for name, value in metrics.likeness(40 * a - 3, 0.1 * b + 7, mask).items():
        assert float(value) == pytest.approx(float(found[name]), abs=1e-12)
    scaled = [(image - image[mask].mean()) / image[mask].std() for image in (a, b)]
    for name, value in found.items():
        assert float(value) == pytest.approx(float(getattr(metrics, name)(*scaled, mask)), abs=1e-12)


def test_standardised_images_have_zero_mean_and_unit_variance_over_the_mask():
    a, b = pictures()
    mask = np.zeros(a.shape, dtype=bool)
    mask[5:20, 10:40] = True
    found = metrics.standardised(np.stack([a, 100 * b + 5, np.full_like(a, 0.1)]), mask)
    inside = found[:, torch.from_numpy(mask)]
    assert_close(inside.mean(1), torch.zeros(3, dtype=torch.float64), atol=1e-12, rtol=0)
    assert_close(inside.std(1, correction=0), torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64))
    assert (found[:, torch.from_numpy(~mask)] == 0).all()
