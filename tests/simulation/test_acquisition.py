"""The simulated X-ray: its integrator against closed forms and torch, its detector against the statistics it promises."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from xrcore._util.errors import XrcoreError
from xrcore.beam import Beam
from xrcore.ct.volume import Volume
from xrcore.geometry import CArm, Pose, camera_rays
from xrcore.renderer import reference
from xrcore.renderer.reference import render
from xrcore.simulation import Acquisition, area_density, detector, noise, simulate
from xrcore.simulation.acquired_xray import transmission
from xrcore.simulation.rod import chords

CARM = CArm(source_to_detector=1200.0, source_to_isocenter=800.0, shape=(48, 40), pixel_spacing=4.0)
OBLIQUE = Pose([12.0, -9.0, 25.0, 8.0, -5.0, 30.0])


def volume(density: torch.Tensor, materials: tuple[str, ...], spacing: float = 2.0, flipped: bool = False) -> Volume:
    world_from_voxel = torch.diag(torch.tensor([-spacing if flipped else spacing, spacing, 1.5 * spacing, 1.0], dtype=torch.float64))
    world_from_voxel[:3, 3] = torch.tensor([-20.0, 35.0, 300.0])
    return Volume(density=density, materials=materials, world_from_voxel=world_from_voxel)


def patient() -> Volume:
    """A smooth body with a denser core."""
    z, y, x = torch.meshgrid(torch.linspace(-1, 1, 30), torch.linspace(-1, 1, 36), torch.linspace(-1, 1, 44), indexing="ij")
    soft = torch.sigmoid(12 * (0.8 - (x**2 + 1.3 * y**2 + z**2)))
    bone = 1.7 * torch.sigmoid(14 * (0.3 - ((x - 0.2) ** 2 + y**2 + (z + 0.2) ** 2) ** 0.5))
    return volume(torch.stack([soft, bone]), ("soft", "bone"), spacing=4.0)


def by_grid_sample(subject: Volume, carm: CArm, pose: Pose, step: float) -> torch.Tensor:
    """The same sum of trilinear samples, by torch in float64."""
    rays = camera_rays(carm)
    rays = rays / rays.norm(dim=-1, keepdim=True)
    t = (torch.arange(math.ceil(1500 / step), dtype=torch.float64) + 0.5) * step
    voxel_from_camera = subject.voxel_from_world @ pose.world_from_camera(carm, subject.isocenter)[0]
    points = rays[:, :, None] * t[:, None] @ voxel_from_camera[:3, :3].T + voxel_from_camera[:3, 3]
    size = torch.tensor(subject.shape[::-1], dtype=torch.float64)
    grid = (2 * points / (size - 1) - 1)[None]
    samples = F.grid_sample(subject.density.double()[None], grid, align_corners=True, padding_mode="zeros")
    return samples[0].sum(-1).movedim(0, -1) * step / 10


def test_a_slab_gives_its_thickness():
    slab = volume(torch.full((1, 60, 25, 80), 1.05), ("water",))
    area = area_density(slab, CARM.cropped(23, 19, (2, 2)), Pose.zero(), step=0.25)
    assert_close(area, torch.full((2, 2, 1), 1.05 * 5.0), rtol=2e-4, atol=0)  # 25 voxels of 2 mm


@pytest.mark.parametrize("step", [0.7, 3.0])
@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize("filled", [1.0, 0.002])
def test_integrator_agrees_with_grid_sample(step, flipped, filled):
    generator = torch.Generator().manual_seed(3)
    density = torch.rand(2, 40, 30, 50, generator=generator)
    density[0] *= torch.rand(40, 30, 50, generator=generator) < filled
    density[1, :, :20] = 0
    subject = volume(density, ("soft", "bone"), flipped=flipped)
    carm = CARM.resized((12, 10))
    expected = by_grid_sample(subject, carm, OBLIQUE, step)
    assert_close(area_density(subject, carm, OBLIQUE, step=step).double(), expected, rtol=0, atol=1e-5 * float(expected.max()))


def test_rays_beside_the_patient_and_empty_materials_give_nothing():
    density = torch.zeros(2, 8, 8, 8)
    density[0] = 1.0
    area = area_density(volume(density, ("soft", "metal")), CARM, Pose.zero())
    assert area[..., 1].abs().max() == 0
    assert area[0, 0, 0] == 0
    assert area[24, 20, 0] > 1.0


def test_rays_end_at_the_detector():
    slab = volume(torch.full((1, 60, 25, 80), 1.05), ("water",))  # 50 mm across the beam's axis
    carm = CArm(source_to_detector=700.0, source_to_isocenter=690.0, shape=(3, 3), pixel_spacing=10.0)
    expected = torch.full((3, 3), 1.05 * 3.5) * camera_rays(carm).norm(dim=-1).float()  # 35 mm lie before the detector
    assert_close(area_density(slab, carm, Pose.zero(), step=0.01)[..., 0], expected, rtol=1e-3, atol=0)
    assert_close(reference.area_density(slab, carm, Pose.zero())[0, ..., 0], expected, rtol=0.03, atol=0)


def test_ideal_image_agrees_with_the_reference_renderer():
    # two integrators, two codes; what remains is their discretisation
    subject = patient()
    image = simulate(subject, CARM, OBLIQUE, settings=Acquisition.ideal(kilovolts=90, step=0.5)).image
    expected = render(subject, CARM, OBLIQUE, Beam(kilovolts=90))[0]
    assert float((image - expected).abs().max()) < 0.01 * float(expected.max())


def test_the_spectrum_is_summed_as_the_beam_does():
    area = torch.rand(50, 60, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([40.0, 8.0, 1.0])
    materials, beam = ("soft", "bone", "metal"), Beam(kilovolts=60)
    expected = beam.image(area.double(), materials).float()
    assert_close(-transmission(area, materials, beam).log(), expected, rtol=1e-5, atol=1e-5)


def test_oversampling_averages_intensities():
    subject = patient()
    fine = simulate(subject, CARM.resized((96, 80)), OBLIQUE, settings=Acquisition.ideal()).image.double()
    coarse = simulate(subject, CARM, OBLIQUE, settings=Acquisition.ideal(oversample=2)).image.double()
    assert_close(coarse, -F.avg_pool2d(torch.exp(-fine)[None], 2)[0].log(), rtol=1e-5, atol=1e-5)


def test_same_seed_same_image_and_the_truth_stays_out():
    first, again, other = (simulate(patient(), CARM, OBLIQUE, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first.image, again.image)
    assert not torch.equal(first.image, other.image)
    assert first.pose is None
    assert first.image.dtype == torch.float32


def test_quantum_noise_is_one_over_the_photons_counted():
    settings = Acquisition(photons=20_000.0, electronic_noise=30.0)
    counts = 0.1 * 20_000
    noisy = noise.count_photons(np.full((200, 200), 0.1), settings, np.random.default_rng(0))
    assert noisy.mean() == pytest.approx(-math.log(0.1), abs=2e-3)
    assert noisy.var() == pytest.approx(1 / counts + (30 / counts) ** 2, rel=0.05)


def test_a_thick_patient_starves_the_detector_unless_the_exposure_is_raised():
    thick = np.full((100, 100), 1e-5)
    fixed = Acquisition(photons=20_000.0, exposure_control=0.0, electronic_noise=0.0)
    assert noise.count_photons(thick, fixed, np.random.default_rng(0)).max() == pytest.approx(math.log(20_000))
    controlled = Acquisition(photons=20_000.0, exposure_control=400.0, electronic_noise=0.0)
    image = noise.count_photons(thick, controlled, np.random.default_rng(0))
    assert image.mean() == pytest.approx(-math.log(1e-5), abs=5e-3)
    assert image.var() == pytest.approx(1 / 400, rel=0.1)


def test_scatter_has_the_ratio_asked_for():
    rng = np.random.default_rng(0)
    primary = np.exp(-0.5 - 4 * np.abs(rng.normal(size=(48, 40))))
    primary[:, :10] = 1.0
    total = detector.with_scatter(primary, CARM, Acquisition(scatter=0.45, scatter_width=30.0))
    shadow = primary < 0.9
    assert np.median((total - primary)[shadow] / primary[shadow]) == pytest.approx(0.45)
    assert (total >= primary).all()
    open_field = np.ones((48, 40))
    assert (detector.with_scatter(open_field, CARM, Acquisition(scatter=0.45)) == open_field).all()


def test_blur_has_the_width_asked_for():
    edge = np.zeros((48, 40))
    edge[24, 20] = 1.0
    spread = detector.blur(edge, CARM, Acquisition(blur=24.0))
    assert spread.sum() == pytest.approx(1.0, abs=1e-3)
    assert spread[24, 23] / spread[24, 20] == pytest.approx(0.5, abs=1e-3)  # 3 pixels of 4 mm: half the width


@pytest.mark.parametrize("bits", [8, 10])
def test_the_file_has_the_grey_levels_of_its_bits(bits):
    noisy = simulate(patient(), CARM, OBLIQUE, settings=Acquisition(bits=bits, mask=None)).image
    exact = simulate(patient(), CARM, OBLIQUE, settings=Acquisition(bits=None, mask=None)).image
    span = float(exact.max() - exact.min())
    assert len(noisy.unique()) <= 2**bits
    assert 0.9 < float((noisy - exact).abs().max()) / (span / (2**bits - 1) / 2) < 1.01  # half a level


def test_inversion_mirrors_the_grey_values():
    plain, inverted = (simulate(patient(), CARM, OBLIQUE, settings=Acquisition(inverted=i)) for i in (False, True))
    total = (plain.image + inverted.image)[plain.mask]
    assert_close(total, torch.full_like(total, float(total[0])), rtol=1e-5, atol=1e-5)


def test_gamma_bends_and_gain_and_offset_scale():
    cases = ({}, {"gamma": 2.0}, {"gain": 3.0, "offset": -1.0})
    plain, bent, scaled = (simulate(patient(), CARM, OBLIQUE, settings=Acquisition(bits=None, **changes)).image for changes in cases)
    low, high = plain.min(), plain.max()
    assert_close(bent, low + (high - low) * ((plain - low) / (high - low)) ** 2, rtol=1e-4, atol=1e-4)
    assert_close(scaled, 3 * plain - 1, rtol=1e-5, atol=1e-5)


def test_masks_cover_what_they_say():
    square = CARM.resized((200, 200))
    circle = detector.exposed_field(square, Acquisition(mask="circle", mask_fraction=0.8))
    assert circle.mean() == pytest.approx(math.pi / 4 * 0.8**2, rel=0.01)
    rectangle = detector.exposed_field(square, Acquisition(mask="rectangle", mask_fraction=0.5))
    assert rectangle.mean() == pytest.approx(0.25, rel=0.01)
    assert detector.exposed_field(square, Acquisition(mask=None)).all()
    xray = simulate(patient(), CARM, OBLIQUE)
    assert len(xray.image[~xray.mask].unique()) == 1


def test_a_tool_adds_a_strip_and_nothing_else():
    settings = {"photons": None, "scatter": 0.0, "blur": 0.0, "bits": None, "mask": None}
    plain, with_tool = (simulate(patient(), CARM, OBLIQUE, settings=Acquisition(tool=d, **settings)).image for d in (0.0, 12.0))
    added = with_tool - plain
    assert float(added.min()) > -1e-5
    assert 0.02 < float((added > 0.3).float().mean()) < 0.5
    assert float((added < 1e-5).float().mean()) > 0.5


def test_chords_of_a_rod():
    rays = camera_rays(CARM).numpy()
    axis = np.array([math.cos(0.3), 0.0, math.sin(0.3)])
    tip = np.array([0.0, 0.0, 800.0]) - 500 * axis
    length = chords(np.array([[[0.0, 0.0, 1.0]]]), tip, axis, 1000.0, 5.0)
    assert float(length[0, 0]) == pytest.approx(10.0 / math.cos(0.3))  # across, at 0.3 rad from square
    thin = chords(rays, tip, axis, 1000.0, 5.0)
    assert (thin.max(1) > 0).sum() <= 6  # 10 mm, magnified 1.5, over pixels of 4 mm
    assert chords(rays, np.array([1e4, 0.0, 800.0]), axis, 10.0, 5.0).max() == 0


def test_text_is_burnt_in_as_bright_as_the_file_goes():
    settings = {"bits": 8, "photons": None}
    plain = simulate(patient(), CARM.resized((160, 160)), OBLIQUE, settings=Acquisition(**settings))
    marked = simulate(patient(), CARM.resized((160, 160)), OBLIQUE, settings=Acquisition(text="L", **settings))
    changed = plain.image != marked.image
    assert 10 < int(changed.sum()) < 400
    assert changed[plain.mask].sum() == changed.sum()
    low, high = plain.image.min(), plain.image.max()
    assert float((marked.image[changed].max() - low) / (high - low)) > 0.95


def test_too_many_pixels_by_oversampling_are_refused():
    with pytest.raises(XrcoreError, match=r"simulate: 3000 x 3000 pixels, oversampled 8 times, are beyond 16384 along a side"):
        simulate(patient(), CARM.resized((3000, 3000)), OBLIQUE, settings=Acquisition(oversample=8))


def test_a_batch_of_poses_is_refused():
    with pytest.raises(XrcoreError, match="simulate: pose must be one Pose, got a batch of 2"):
        simulate(patient(), CARM, Pose.zero(2))


@pytest.mark.parametrize(
    "wrong",
    [
        {"kilovolts": 70}, {"metal": "gold"}, {"photons": 1.0}, {"photons": math.nan}, {"electronic_noise": -1.0}, {"scatter": -0.1},
        {"exposure_control": -1.0},
        {"scatter": "much"}, {"scatter_width": 0.0}, {"blur": -1.0}, {"gamma": 0.0}, {"gain": 0.0}, {"offset": math.inf}, {"bits": 7},
        {"bits": 12.0}, {"mask": "hexagon"}, {"mask_fraction": 0.0}, {"text": 3}, {"tool": -2.0}, {"step": 0.0}, {"oversample": 0},
        {"inverted": 1},
    ],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused_by_name(wrong):
    (name,) = wrong
    with pytest.raises(XrcoreError, match=rf"\b{name}\b"):
        Acquisition(**wrong)


def test_random_settings_are_seeded_and_can_be_fixed():
    def draw(seed: int, **changes) -> list[Acquisition]:
        generator = torch.Generator().manual_seed(seed)
        return [Acquisition.random(generator, **changes) for _ in range(20)]

    assert draw(1) == draw(1)
    assert len(set(draw(1))) == 20
    fixed = draw(1, blur=2.0)
    assert {s.blur for s in fixed} == {2.0}
    assert [s.photons for s in fixed] == [s.photons for s in draw(1)]
    with pytest.raises(XrcoreError, match="no setting 'fog'"):
        Acquisition.random(fog=1.0)


def test_random_settings_fill_their_ranges():
    generator = torch.Generator().manual_seed(0)
    drawn = [Acquisition.random(generator) for _ in range(600)]
    for name, low, high in [
        ("photons", 1e4, 3e5), ("exposure_control", 100, 3e3), ("electronic_noise", 0, 15), ("scatter", 0, 1), ("scatter_width", 40, 150),
        ("blur", 0.3, 3.5), ("gamma", math.exp(-0.4), math.exp(0.4)), ("gain", math.exp(-0.5), math.exp(0.5)), ("offset", -0.5, 0.5),
        ("mask_fraction", 0.75, 1.0),
    ]:  # fmt: skip
        values = [getattr(s, name) for s in drawn]
        slack = 0.03 * (high - low)
        assert low <= min(values) < low + slack, name
        assert high - slack < max(values) <= high, name
    assert {s.bits for s in drawn} == {8, 10, 12, 14, 16}
    assert {s.mask for s in drawn} == {"circle", "rectangle", None}
    assert {s.text for s in drawn} == {"", "L", "R"}
    tools = [s.tool for s in drawn if s.tool]
    assert 0.15 < len(tools) / len(drawn) < 0.35
    assert 1 <= min(tools) < 1.5 < 5.5 < max(tools) <= 6
