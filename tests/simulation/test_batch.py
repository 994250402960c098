"""Acquisitions of a batch in torch: against the numpy code, and closed forms for the noise."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.ndimage import gaussian_filter
from torch._subclasses import FakeTensorMode
from torch.testing import assert_close

from xrcore._util import devices
from xrcore._util.errors import XrcoreError
from xrcore.geometry import CArm, camera_rays
from xrcore.simulation import Acquisition, detector, rod
from xrcore.simulation.acquisition import MOST_PHOTONS
from xrcore.simulation.batch import blur, expose_batch, exposure, launches, noise, random_numbers, rods
from xrcore.simulation.detector import expose
from xrcore.simulation.noise import count_photons

CARM = CArm(source_to_detector=1200.0, source_to_isocenter=800.0, shape=(48, 40), pixel_spacing=(5.0, 4.0))
SQUARE = CArm(source_to_detector=1200.0, source_to_isocenter=800.0, shape=(128, 128), pixel_spacing=2.0)
PLAIN = {"photons": None, "scatter": 0.0, "blur": 0.0, "bits": None, "mask": None}

pytestmark = pytest.mark.usefixtures("one_thread")


def drawn(count: int, **changes) -> list[Acquisition]:
    generator = torch.Generator().manual_seed(5)
    return [Acquisition.random(generator, **changes) for _ in range(count)]


def bodies(carm: CArm, count: int) -> torch.Tensor:
    """Intensities behind smooth bodies with some grain, open field around; float64."""
    rng = np.random.default_rng(3)
    y, x = (np.linspace(-1, 1, n) for n in carm.shape)
    shapes = [np.clip(1 - (x / rng.uniform(0.5, 1.2)) ** 2 - (y[:, None] / rng.uniform(0.5, 1.2)) ** 2, 0, None) for _ in range(count)]
    grain = [1 + 0.1 * gaussian_filter(rng.normal(size=carm.shape), 1.0) for _ in range(count)]
    return torch.from_numpy(np.exp([-rng.uniform(2, 7) * s**0.5 * g for s, g in zip(shapes, grain, strict=True)]))


def one_by_one(intensity: torch.Tensor, carm: CArm, settings: list[Acquisition]) -> tuple[torch.Tensor, torch.Tensor]:
    """By the numpy code."""
    pairs = [expose(i.numpy(), carm, s, np.random.default_rng(0)) for i, s in zip(intensity, settings, strict=True)]
    return tuple(torch.from_numpy(np.stack(part)) for part in zip(*pairs, strict=True))  # type: ignore[return-value]


# noise


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((2**32 - 1,) * 4, (2**32 - 1,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_gives_its_authors_answers(counter, key, expected):
    words = random_numbers.philox([torch.tensor(c) for c in counter], [torch.tensor(k) for k in key])
    assert tuple(int(word) for word in words) == expected


def test_uniform_numbers_are_uniform_and_their_pairs_independent():
    seeds = [0, 1, 2**64 - 1, 2**32]
    pairs = random_numbers.uniforms(seeds, (101, 99), torch.empty(0))
    samples = torch.stack(pairs).flatten(2).flatten(0, 1)  # (8, pixels)
    assert samples.shape == (8, 101 * 99)
    assert float(samples.min()) > 0
    assert float(samples.max()) < 1
    for sample in samples:
        assert stats.kstest(sample.numpy(), "uniform").pvalue > 1e-3
        lag = torch.corrcoef(torch.stack([sample[1:], sample[:-1]]))[0, 1]
        assert abs(float(lag)) < 4 / math.sqrt(len(sample))
    between = torch.corrcoef(samples) - torch.eye(8)
    assert float(between.abs().max()) < 4 / math.sqrt(samples.shape[1])


def test_uniform_numbers_depend_on_their_own_seed_alone():
    together, alone = (random_numbers.uniforms(seeds, (7, 5), torch.empty(0)) for seeds in ([3, 9, 3 + 2**32], [9]))
    for all_of_them, one in zip(together, alone, strict=True):
        assert torch.equal(all_of_them[1:2], one)
        assert not (all_of_them[0] == all_of_them[2]).any()
    exact = random_numbers.uniforms([9], (7, 5), torch.empty(0, dtype=torch.float64))
    assert all(torch.equal(a.double(), b) for a, b in zip(alone, exact, strict=True))


@pytest.mark.parametrize("mean", [0.0, 0.02, 0.9, 3.99, 4.0, 6.5, 11.0, 40.0, 1100.0])
def test_poisson_numbers_have_poissons_distribution(mean):
    steps = 2**18
    uniform = (torch.arange(steps, dtype=torch.float64) + 0.5) / steps
    found = random_numbers.poisson(torch.full_like(uniform, mean), uniform)
    assert torch.equal(found, found.round())
    share = np.bincount(found.long().numpy(), minlength=40) / steps
    expected = stats.poisson.pmf(np.arange(len(share)), mean)
    # the docstring's bound where it is not exact, and what the grid cannot resolve
    bound = (1e-3 if 4 <= mean < 12 else 1e-4) + 2 * math.sqrt(mean) / steps
    assert np.abs(share - expected).sum() / 2 < bound
    single = random_numbers.poisson(torch.full_like(uniform, mean, dtype=torch.float32), uniform.float())
    assert float((single != found).double().mean()) < 1e-3


@pytest.mark.parametrize("mean", [3e5, 3e7])
def test_poisson_numbers_of_a_bright_field(mean):
    uniform = (torch.arange(2**18, dtype=torch.float32) + 0.5) / 2**18
    deviations = random_numbers.poisson(torch.full_like(uniform, mean), uniform).double() - mean
    assert abs(float(deviations.mean())) < 0.1 + 1e-7 * mean
    assert float(deviations.var()) / mean == pytest.approx(1, rel=1e-3)


# each step against numpy


@pytest.mark.parametrize("carm", [CARM, SQUARE, CARM.cropped(3, 4, (1, 30)), CARM.cropped(3, 4, (2, 2))], ids=lambda c: str(c.shape))
def test_blur_is_scipys(carm):
    widths = [0.0, 0.4, 3.5, 30.0, 150.0, 2000.0]
    images = torch.rand(len(widths), *carm.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    sigmas = [[w / math.sqrt(8 * math.log(2)) / s for s in carm.spacing] for w in widths]
    expected = torch.from_numpy(np.stack([gaussian_filter(i, s, mode="nearest") for i, s in zip(images.numpy(), sigmas, strict=True)]))
    assert_close(blur.gaussian_blur(images, carm, widths), expected, rtol=0, atol=1e-13)
    assert_close(blur.gaussian_blur(images.float(), carm, widths), expected.float(), rtol=0, atol=1e-6)
    assert torch.equal(blur.gaussian_blur(images, carm, widths)[0], images[0])


def test_scatter_is_numpys():
    settings = [replace(s, scatter=0.0) if i == 2 else s for i, s in enumerate(drawn(6))]
    primary = bodies(CARM, 6)
    primary[4] = 1.0  # an open field
    expected = torch.from_numpy(np.stack([detector.with_scatter(p.numpy(), CARM, s) for p, s in zip(primary, settings, strict=True)]))
    assert_close(exposure.with_scatter(primary, CARM, settings), expected, rtol=1e-12, atol=0)
    assert_close(exposure.with_scatter(primary.float(), CARM, settings), expected.float(), rtol=2e-6, atol=0)
    assert torch.equal(exposure.with_scatter(primary, CARM, settings)[2], primary[2])
    assert torch.equal(exposure.with_scatter(primary, CARM, [replace(s, scatter=0.0) for s in settings]), primary)


@pytest.mark.parametrize("carm", [CARM, SQUARE, CARM.cropped(0, 0, (31, 32))], ids=lambda c: str(c.shape))
def test_fields_of_view_are_numpys(carm):
    settings = [Acquisition(mask=m, mask_fraction=f) for m in ("circle", "rectangle", None) for f in (0.3, 0.75, 0.8123, 1.0, 1.3)]
    expected = np.stack([detector.exposed_field(carm, s) for s in settings])
    assert (exposure.exposed_fields(carm, settings, torch.device("cpu")).numpy() == expected).all()
    for s, seen in zip(settings, expected, strict=True):
        touched = [np.flatnonzero(seen.any(axis)) for axis in (1, 0)]
        assert detector.exposed_spans(carm, s) == tuple((v[0], len(v)) for v in touched)


@pytest.mark.parametrize("text", ["", "R"])
def test_grey_values_are_numpys(text):
    settings = [
        replace(s, inverted=i % 2 == 0, bits=None if i % 3 == 0 else 8, text=text if i % 4 else "") for i, s in enumerate(drawn(16))
    ]
    attenuation = -bodies(SQUARE, 16).log()
    attenuation[3] = 1.5  # nothing to see
    seen = torch.from_numpy(np.stack([detector.exposed_field(SQUARE, s) for s in settings]))
    expected = np.stack([detector.display(a, m, SQUARE, s) for a, m, s in zip(attenuation.numpy(), seen.numpy(), settings, strict=True)])
    found = exposure.display(attenuation, seen, SQUARE, settings)
    assert_close(found, torch.from_numpy(expected), rtol=0, atol=1e-12)


def test_without_noise_the_counts_are_the_intensity():
    intensity = bodies(CARM, 2)
    intensity[0, 0, 0] = 0.0
    assert_close(exposure.count_photons(intensity, [Acquisition(photons=None)] * 2, [0, 0]), -intensity.clamp_min(1e-30).log())


@pytest.mark.parametrize("among", [0, 1, 6, 7])
def test_medians_are_numpys(among):
    values = torch.rand(3, 4, 5, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(3, 20, dtype=torch.bool)
    for i in range(3):
        mask[i, torch.randperm(20, generator=torch.Generator().manual_seed(i))[:among]] = True
    mask = mask.view(3, 4, 5)
    expected = [float(np.median(v[m].numpy())) if among else math.inf for v, m in zip(values, mask, strict=True)]
    assert exposure._median(values, mask).flatten().tolist() == pytest.approx(expected)


def test_rods_are_numpys():
    settings = [replace(s, tool=d) for s, d in zip(drawn(7), (0.0, 6.0, 1.0, 0.0, 25.0, 3.0, 4.0), strict=True)]
    settings[5] = replace(settings[5], monochromatic=70.0)
    seeds = [(8, i) for i in range(7)]
    intensity = bodies(SQUARE, 7)
    expected = intensity.clone()
    for i, s in enumerate(settings):
        if s.tool > 0:
            steel = torch.from_numpy(rod.rod_area_density(SQUARE, s.tool, np.random.default_rng(seeds[i])))
            expected[i] *= torch.exp(-s.beam.image(steel[..., None], ("iron",)))
    found = rods.with_rods(intensity, SQUARE, settings, seeds)
    assert_close(found, expected, rtol=1e-9, atol=0)
    assert_close(rods.with_rods(intensity.float(), SQUARE, settings, seeds), expected.float(), rtol=2e-5, atol=0)
    hidden = (found != intensity).double().mean((1, 2))
    assert (hidden[[0, 3]] == 0).all()
    assert (hidden[[1, 2, 4, 5, 6]] > 0.001).all()


def test_chords_do_not_mind_where_the_rays_come_from():
    tips, axes = torch.tensor([[3.0, -5.0, 790.0], [10.0, -5.0, 700.0]]).double(), torch.tensor([[0.6, 0.8, 0.0], [0.0, 0.6, 0.8]]).double()
    length, radius = torch.tensor([50.0, 200.0]).double()[:, None, None], torch.tensor([9.0, 30.0]).double()[:, None, None]
    off_centre = SQUARE.cropped(20, 50, (70, 60))
    found = rods.chords(camera_rays(off_centre), tips, axes, length, radius)
    rays = camera_rays(off_centre).numpy()
    for i in range(2):
        expected = rod.chords(rays, tips[i].numpy(), axes[i].numpy(), float(length[i]), float(radius[i]))
        assert expected.max() > 0
        assert_close(found[i], torch.from_numpy(expected), rtol=1e-6, atol=1e-6)


# the kernels, against torch's operations: on a GPU where there is one, else in Triton's interpreter

needs_triton = pytest.mark.skipif(not devices.triton_installed(), reason="Triton is not installed (the gpu extra)")
WHERE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@needs_triton
@pytest.mark.parametrize("shape", [(48, 40), (7, 9)])  # an odd number of pixels shares its counters otherwise
def test_the_kernels_noise_is_torchs(shape):
    settings = [replace(s, photons=None) if i == 1 else s for i, s in enumerate(drawn(4))]
    photons = torch.tensor([0.0 if s.photons is None else s.photons for s in settings])[:, None, None]
    electronic = torch.tensor([s.electronic_noise for s in settings])[:, None, None]
    seeds = [0, 1, 2**64 - 1, 2**32 + 5]
    intensity = torch.logspace(-6, 0, shape[0])[:, None].expand(4, *shape).contiguous()  # from starved to bright
    expected = noise.detect(intensity, photons, electronic, seeds)
    found = launches.detect(intensity.to(WHERE), photons.to(WHERE), electronic.to(WHERE), seeds).cpu()
    assert_close(found[1], -intensity[1].log())
    # rounding decides about a photon here and there
    other = (found - expected).abs() > 1e-5
    assert float(other.double().mean()) < 1e-3
    counts = [photons * torch.exp(-image) for image in (found, expected)]
    assert float((counts[0] - counts[1]).abs().max()) < 1.01 + 1e-6 * float(photons.max())


@needs_triton
def test_the_kernels_poisson_numbers_are_torchs():
    # where a term more or less of the expansion shows most
    means = torch.linspace(0.5, 40, 400)[None, :, None].expand(1, 400, 50) / 100
    photons, none = torch.full((1, 1, 1), 100.0), torch.zeros(1, 1, 1)
    expected = noise.detect(means, photons, none, [7])
    found = launches.detect(means.to(WHERE), photons.to(WHERE), none.to(WHERE), [7]).cpu()
    assert int(((found - expected).abs() > 1e-4).sum()) <= 2  # of 20,000


@needs_triton
def test_the_kernels_normal_deviates_are_torchs():
    # no quanta: what is counted is the electronics' noise, where it is more than a photon
    dark, none = torch.zeros(1, 101, 100), torch.full((1, 1, 1), 1000.0)
    expected = noise.detect(dark, none, 1000 * none, [3])
    assert_close(launches.detect(dark.to(WHERE), none.to(WHERE), 1000 * none.to(WHERE), [3]).cpu(), expected, atol=2e-5, rtol=0)
    z = torch.exp(-expected[expected < -1e-3]).double() / 1000  # the upper half of a normal distribution
    assert stats.kstest(z.numpy(), stats.halfnorm.cdf).pvalue > 1e-3


@needs_triton
@pytest.mark.parametrize(
    "carm", [pytest.param(SQUARE, marks=pytest.mark.slow), SQUARE.cropped(20, 50, (70, 61))], ids=lambda c: str(c.shape)
)
def test_the_kernels_rods_are_torchs(carm, monkeypatch):
    settings = [replace(s, tool=d) for s, d in zip(drawn(4), (0.0, 6.0, 25.0, 1.0), strict=True)]
    settings[2] = replace(settings[2], monochromatic=70.0)
    seeds, intensity = [(8, i) for i in range(4)], bodies(carm, 4).float()
    expected = rods.with_rods(intensity, carm, settings, seeds)
    with monkeypatch.context() as patch:
        patch.setattr(launches, "serves", lambda images: True)
        found = rods.with_rods(intensity.to(WHERE), carm, settings, seeds).cpu()
    assert_close(found, expected, rtol=2e-5, atol=0)
    assert torch.equal(found[0], intensity[0])
    assert not torch.equal(found[2], intensity[2])
    # a rod that ends within the field, in images that do not lie row by row
    lies = np.array([[3.0, -5.0, 790.0, 0.6, 0.8, 0.0, 20.0, 9.0]])
    spectra = np.array([[[0.5, 0.5]], [[0.1, 0.2]]])
    length = rods.chords(camera_rays(carm), *torch.from_numpy(lies).split([3, 3, 1, 1], 1)[:2],
                         torch.tensor([[[20.0]]]).double(), torch.tensor([[[9.0]]]).double())  # fmt: skip
    across = intensity[1:2].mT.contiguous().mT
    found = launches.shade(across.to(WHERE), carm, [0], lies, spectra).cpu()
    assert_close(found, across * rods._transmitted(length.float(), spectra), rtol=2e-5, atol=0)
    assert 0 < float((length > 0).double().mean()) < 0.2


def test_the_kernels_serve_single_precision_on_a_gpu(monkeypatch):
    assert not launches.serves(torch.empty(0))
    with FakeTensorMode():
        single, double = (torch.empty(1, dtype=dtype, device="cuda") for dtype in (torch.float32, torch.float64))
    monkeypatch.setattr(launches, "kernel_obstacle", lambda device: "")
    assert launches.serves(single)
    assert not launches.serves(double)
    monkeypatch.setattr(launches, "kernel_obstacle", lambda device: "none runs there")
    assert not launches.serves(single)


# all steps


@pytest.mark.parametrize("carm", [CARM, SQUARE], ids=lambda c: str(c.shape))
def test_noise_free_images_are_numpys(carm):
    settings = drawn(24, photons=None)
    intensity = bodies(carm, 24)
    expected, fields = one_by_one(intensity, carm, settings)
    found, seen = expose_batch(intensity, carm, settings, [0] * 24)
    assert torch.equal(seen, fields)
    assert_close(found, expected.float(), rtol=1e-6, atol=1e-6)
    assert found.dtype == torch.float32

    # in single precision rounding decides where two grey levels meet; without levels nothing does
    smooth = [replace(s, bits=None) for s in settings]
    expected, _ = one_by_one(intensity, carm, smooth)
    found, _ = expose_batch(intensity.float(), carm, smooth, [0] * 24)
    assert_close(found, expected.float(), rtol=0, atol=1e-5)


def test_an_image_depends_on_its_own_seed_alone():
    settings, intensity = drawn(6), bodies(SQUARE, 6).float()
    seeds = [11, 2**63 + 5, 3, 4, 5, 11]
    together, seen = expose_batch(intensity, SQUARE, settings, seeds)
    for i in (1, 4):
        alone, alone_seen = expose_batch(intensity[i : i + 1], SQUARE, settings[i : i + 1], seeds[i : i + 1])
        # the matrix products may round otherwise in another batch
        smooth = [replace(settings[i], bits=None)]
        step = float(together[i].max() - together[i].min()) / (2 ** (settings[i].bits or 16) - 1)
        assert_close(alone[0], together[i], rtol=0, atol=1.01 * step + 1e-4)
        assert torch.equal(alone_seen[0], seen[i])
        other, _ = expose_batch(intensity[i : i + 1], SQUARE, smooth, [seeds[i] + 1])
        assert float((other[0] - together[i]).abs().mean()) > 10 * float((alone[0] - together[i]).abs().mean())
    reverse, _ = expose_batch(intensity.flip(0), SQUARE, settings[::-1], seeds[::-1])
    assert_close(reverse.flip(0), together, rtol=0, atol=1e-2)


def test_quantum_noise_is_one_over_the_photons_counted():
    settings = Acquisition(**PLAIN | {"photons": 20_000.0, "electronic_noise": 30.0, "exposure_control": 0.0})
    counts = 0.1 * 20_000
    intensity = torch.full((2, 200, 200), 0.1)
    noisy = exposure.count_photons(intensity, [settings, replace(settings, electronic_noise=0.0)], [4, 5]).double()
    assert noisy.mean((1, 2)).tolist() == pytest.approx([-math.log(0.1)] * 2, abs=1e-3)
    assert float(noisy[0].var()) == pytest.approx(1 / counts + (30 / counts) ** 2, rel=0.03)
    assert float(noisy[1].var()) == pytest.approx(1 / counts, rel=0.03)
    # and white
    neighbours = torch.corrcoef(torch.stack([noisy[1, :, 1:].flatten(), noisy[1, :, :-1].flatten()]))[0, 1]
    assert abs(float(neighbours)) < 0.02


def test_exposure_is_raised_for_a_thick_patient_only():
    thick = torch.full((4, 100, 100), 1e-5)
    thick[2] = 0.5
    thick[3, :40], thick[3, 40:] = 1e-2, 0.95  # the patient is where less than nine tenths pass
    fixed = Acquisition(photons=20_000.0, exposure_control=0.0, electronic_noise=0.0)
    controlled = replace(fixed, exposure_control=400.0)
    images = exposure.count_photons(thick, [fixed, controlled, controlled, controlled], [1, 2, 3, 4]).double()
    assert float(images[0].max()) == pytest.approx(math.log(20_000))
    assert float(images[1].mean()) == pytest.approx(-math.log(1e-5), abs=5e-3)
    assert images[1:3].var((1, 2)).tolist() == pytest.approx([1 / 400, 1 / 10_000], rel=0.05)
    assert float(images[3, :40].var()) == pytest.approx(1 / 400, rel=0.07)
    opaque = torch.zeros(1, 4, 4)
    assert exposure.count_photons(opaque, [controlled], [1]).unique().tolist() == pytest.approx([math.log(MOST_PHOTONS)])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_patient_that_nothing_passes(dtype):
    primary = torch.ones(2, *CARM.shape, dtype=dtype)
    primary[:, 5:-5, 5:-5] = 0.0
    primary[1, 8, 8] = 1e-3  # one pixel gets something
    for photons in (None, 20_000.0):
        settings = Acquisition(mask=None, scatter=0.4, photons=photons)
        images, _ = expose_batch(primary, CARM, [settings] * 2, [1, 2])
        expected, _ = one_by_one(primary.double(), CARM, [settings] * 2)
        assert images.isfinite().all()
        assert expected.isfinite().all()
        if photons is None:
            assert_close(images.double(), expected, rtol=1e-5, atol=1e-4)


def test_noise_has_numpys_moments_at_every_brightness():
    # rows from starved to bright, the same in every column
    levels = torch.logspace(-4.5, 0, 30).double()[:, None].expand(30, 4000)
    settings = Acquisition(photons=20_000.0, exposure_control=300.0, electronic_noise=4.0)
    found = exposure.count_photons(levels[None], [settings], [77])[0]
    expected = torch.from_numpy(count_photons(levels.numpy(), settings, np.random.default_rng(0)))
    spread = expected.std(1) / math.sqrt(4000)
    assert float(((found.mean(1) - expected.mean(1)) / spread).abs().max()) < 6
    assert_close(found.std(1), expected.std(1), rtol=0.08, atol=0)


def test_noisy_and_noise_free_images_share_a_batch():
    intensity = bodies(CARM, 2)
    images, _ = expose_batch(intensity, CARM, [Acquisition(**PLAIN), Acquisition(**PLAIN | {"photons": 1000.0})], [0, 0])
    assert_close(images[0], -intensity[0].log().float())
    assert float((images[1] + intensity[1].log()).std()) > 0.02


def test_what_does_not_fit_together_is_refused():
    with pytest.raises(XrcoreError, match="expose_batch: 2 images, 1 settings and 2 seeds"):
        expose_batch(torch.ones(2, 48, 40), CARM, [Acquisition()], [0, 1])
    with pytest.raises(XrcoreError, match=r"expose_batch: images of \(40, 48\) pixels"):
        expose_batch(torch.ones(1, 40, 48), CARM, [Acquisition()], [0])


@pytest.mark.parametrize(("mask", "fraction"), [("circle", 0.17), ("rectangle", 0.12)])
def test_a_field_without_a_pixel_is_refused(mask, fraction):
    carm = CARM.resized((8, 8))
    settings = Acquisition(mask=mask, mask_fraction=fraction)
    for function in (
        lambda: expose(np.ones((8, 8)), carm, settings, np.random.default_rng(0)),
        lambda: expose_batch(torch.ones(1, 8, 8), carm, [settings], [0]),
    ):
        with pytest.raises(XrcoreError, match=f"mask_fraction {fraction} leaves none of 8 x 8 pixels exposed"):
            function()
    for resized in (carm, CARM.resized((9, 8)), CARM.resized((9, 9))):
        assert detector.exposed_field(resized, replace(settings, mask_fraction=0.18)).any()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_a_gpu_gives_the_processors_images_without_waiting():
    settings, intensity = drawn(24, bits=None), bodies(SQUARE, 24).float()

    def expose_all(shares: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return expose_batch(rods.with_rods(shares, SQUARE, settings, [(i,) for i in range(24)]), SQUARE, settings, range(24))

    there = intensity.to("cuda")
    expose_all(there)  # libraries are loaded and memory is pinned once
    try:
        torch.cuda.set_sync_debug_mode("error")
        found, seen = expose_all(there)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    expected, fields = expose_all(intensity)
    assert torch.equal(seen.cpu(), fields)
    # the same noise; rounding decides about a photon here and there
    assert float((found.cpu() - expected).abs().mean()) < 1e-3
