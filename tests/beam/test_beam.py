"""Beam: tables against independent sources, the exact image against closed forms, the compressed beam against the exact one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits
from torch.testing import assert_close

from xrcore._util.errors import XrcoreError
from xrcore.beam import KILOVOLTS, MATERIALS, Beam, compression, mass_attenuation
from xrcore.beam.beam import fitted_lines

LIMIT = {"soft": 60.0, "bone": 30.0, "metal": 30.0, "water": 60.0}  # [g/cm2]
SETS = [("soft",), ("soft", "bone"), ("soft", "bone", "metal")]
# mass fractions of ICRU-44 as tabulated by NIST
COMPOSITIONS = {
    "soft": "H .102 C .143 N .034 O .708 Na .002 P .003 S .003 Cl .002 K .003",
    "bone": "H .034 C .155 N .042 O .435 Na .001 Mg .002 P .103 S .003 Ca .225",
    "air": "C .000124 N .755268 O .231781 Ar .012827",
    "titanium": "Ti 1",
    "iron": "Fe 1",
    "water": "H .111894 O .888106",
    "cobalt-chrome": "Co .655 Cr .285 Mo .06",
    "steel": "Fe .6535 Cr .18 Ni .14 Mo .0265",
    "polyethylene": "C .856285 H .143715",
}


def areas(materials: tuple[str, ...], count: int = 3000, power: float = 2.0) -> torch.Tensor:
    """Random area densities [g/cm2] in the box the compressed beam is made for, denser near zero."""
    generator = torch.Generator().manual_seed(7)
    unit = torch.rand(count, len(materials), dtype=torch.float64, generator=generator)
    return unit**power * torch.tensor([LIMIT[m] for m in materials], dtype=torch.float64)


def image_of_lines(lines: tuple[torch.Tensor, torch.Tensor], area: torch.Tensor) -> torch.Tensor:
    v, nu = lines
    return -torch.log((v * torch.exp(-area @ nu.T)).sum(-1))


def gradient(image: torch.Tensor, area: torch.Tensor) -> torch.Tensor:
    return torch.autograd.grad(image.sum(), area)[0]


# the tables


@pytest.mark.parametrize("material", MATERIALS)
def test_attenuation_table_is_the_mixture_of_its_elements(material):
    xraydb = pytest.importorskip("xraydb")
    energies = np.arange(10.0, 151.0)
    parts = COMPOSITIONS[material].split()
    fractions = {element: float(share) for element, share in zip(parts[::2], parts[1::2], strict=True)}
    mixture = sum(share * xraydb.mu_elam(element, energies * 1000) for element, share in fractions.items()) / sum(fractions.values())
    np.testing.assert_allclose(mass_attenuation(material, energies), mixture, rtol=1e-5)


@pytest.mark.parametrize(
    ("material", "energy", "expected"),
    [
        ("water", 20, 0.8096),
        ("water", 60, 0.2059),
        ("water", 100, 0.1707),
        ("soft", 60, 0.2048),
        ("bone", 20, 4.001),
        ("bone", 60, 0.3148),
        ("air", 60, 0.1875),
        ("titanium", 60, 0.7661),
        ("iron", 60, 1.205),
    ],
)
def test_attenuation_agrees_with_nist(material, energy, expected):
    assert float(mass_attenuation(material, energy)) == pytest.approx(expected, rel=0.01)  # [cm2/g], two evaluations of the data


def test_attenuation_between_two_table_energies_is_log_log():
    both = mass_attenuation("bone", [40.0, 41.0])
    assert float(mass_attenuation("bone", np.sqrt(40.0 * 41.0))) == pytest.approx(np.sqrt(both.prod()), rel=1e-12)


@pytest.mark.parametrize("energy", [9.9, 150.1, float("nan")])
def test_attenuation_outside_the_table_is_an_error(energy):
    with pytest.raises(XrcoreError, match="10 to 150 keV"):
        mass_attenuation("soft", energy)


def test_the_default_beam_is_the_papers():
    beam = Beam()
    assert beam.kilovolts == 90
    assert beam.energies[[0, -1]].tolist() == [15.0, 90.0]
    assert len(beam.energies) == 76
    assert beam.mean_energy == pytest.approx(49.2, abs=0.1)


@pytest.mark.parametrize(("kilovolts", "expected"), [(60, 2.75), (90, 4.13), (120, 5.52)])
def test_half_value_layer(kilovolts, expected):
    """Aluminium [mm] that halves the air kerma, against the spectrum tool's own figure."""
    xraydb = pytest.importorskip("xraydb")
    beam = Beam(kilovolts=kilovolts)
    energies, fluence = beam.energies.numpy(), beam.fluence.numpy()
    nist = {15: 1.334, 20: 0.5389, 30: 0.1537, 40: 0.06833, 50: 0.04098, 60: 0.03041, 80: 0.02407, 100: 0.02325, 150: 0.02496}
    absorbed = np.exp(np.interp(np.log(energies), np.log(list(nist)), np.log(list(nist.values()))))  # mu_en/rho of air
    kerma = fluence * energies * absorbed
    aluminium = xraydb.mu_elam("Al", energies * 1000) * 0.2699  # [1/mm]
    behind = [(kerma * np.exp(-aluminium * t)).sum() / kerma.sum() for t in (expected * 0.98, expected * 1.02)]
    assert behind[0] > 0.5 > behind[1]


# the exact image


@pytest.mark.parametrize("kilovolts", KILOVOLTS)
def test_weights_are_detected_energy(kilovolts):
    beam = Beam(kilovolts=kilovolts)
    assert_close(beam.weights.sum(), torch.tensor(1.0, dtype=torch.float64))
    assert_close(beam.weights * beam.mean_energy, beam.fluence * beam.energies)
    assert float(beam.energies[-1]) == kilovolts


def test_nothing_in_the_way_gives_zero():
    assert_close(Beam().image(torch.zeros(4, 2), ("soft", "bone")), torch.zeros(4), rtol=0, atol=1e-6)


def test_monochromatic_image_is_linear():
    beam = Beam.monochromatic(60)
    area = torch.tensor([[3.0, 1.5]], dtype=torch.float64)
    expected = 3.0 * mass_attenuation("soft", 60) + 1.5 * mass_attenuation("bone", 60)
    assert beam.image(area, ("soft", "bone")).item() == pytest.approx(float(expected), rel=1e-12)
    assert beam.mean_energy == 60


def test_image_is_the_naive_sum_over_energies():
    beam, materials = Beam(kilovolts=120), ("soft", "bone", "metal")
    area = areas(materials, 20)
    expected = []
    for row in area.numpy():
        energies, fluence = beam.energies.numpy(), beam.fluence.numpy()
        names = ("soft", "bone", "titanium")
        depth = sum(a * mass_attenuation(m, energies) for a, m in zip(row, names, strict=True))
        expected.append(-np.log((fluence * energies * np.exp(-depth)).sum() / (fluence * energies).sum()))
    assert_close(beam.image(area, materials), torch.tensor(expected, dtype=torch.float64))


def test_beam_hardens():
    """Each further gram attenuates less, and never less than at the highest energy."""
    slab = torch.linspace(0, 60, 61, dtype=torch.float64)[:, None]
    steps = Beam().image(slab, ("soft",)).diff()
    assert (steps.diff() < 0).all()
    assert steps[-1] > mass_attenuation("soft", 90)


def test_behind_much_metal_the_image_stays_finite_and_has_a_gradient():
    area = torch.tensor([[60.0, 30.0, 200.0]], requires_grad=True)
    image = Beam(metal="iron").image(area, ("soft", "bone", "metal"))
    assert torch.isfinite(image).all()
    assert (gradient(image, area) > 0).all()


def test_image_gradient_is_right():
    area = areas(("soft", "bone"), 5).requires_grad_()
    assert torch.autograd.gradcheck(lambda a: Beam().image(a, ("soft", "bone")), (area,))


def test_metal_is_what_the_beam_says():
    for metal in ("titanium", "iron"):
        beam = Beam(metal=metal)
        assert_close(beam.attenuation(("metal",)), beam.attenuation((metal,)))
    assert not torch.allclose(Beam(metal="iron").attenuation(("metal",)), Beam().attenuation(("metal",)))


# the compressed beam


def test_the_tabled_lines_are_what_fitting_gives():
    beam = Beam(kilovolts=60)
    for tabled, fitted in zip(beam.compressed(("soft", "bone")), fitted_lines(beam, ("soft", "bone")), strict=True):
        assert_close(tabled, torch.from_numpy(fitted), rtol=1e-3, atol=1e-9)


@pytest.mark.parametrize("materials", SETS, ids="+".join)
@pytest.mark.parametrize("kilovolts", KILOVOLTS)
def test_few_lines_give_the_exact_image(kilovolts, materials):
    beam = Beam(kilovolts=kilovolts)
    lines = beam.compressed(materials)
    assert len(lines[0]) <= 14
    assert (lines[0] >= 0).all()
    assert_close(lines[0].sum(), torch.tensor(1.0, dtype=torch.float64), rtol=0, atol=1e-12)
    for power in (1.0, 2.0, 5.0):
        area = areas(materials, power=power).requires_grad_()
        exact, few = beam.image(area, materials), image_of_lines(lines, area)
        seen = (exact < 12).detach()  # beyond, no photons arrive
        assert (exact - few)[seen].abs().max() < (3e-5 if "metal" in materials else 1e-5)
        slopes = gradient(exact, area)[seen], gradient(few, area)[seen]
        assert (slopes[1] / slopes[0] - 1).abs().max() < (1e-3 if "metal" in materials else 3e-4)


def test_few_lines_for_six_materials():
    beam, materials = Beam(kilovolts=120), ("soft", "bone", "titanium", "iron", "polyethylene", "cobalt-chrome")
    area = areas(("soft", "bone", "metal", "metal", "soft", "metal"), power=4.0)
    exact, few = beam.image(area, materials), image_of_lines(beam.compressed(materials), area)
    assert (exact - few)[exact < 12].abs().max() < 3e-5
    # what the fit takes grows with the samples
    attenuation = beam.attenuation(materials).numpy()
    assert len(compression._samples(beam.weights.numpy(), attenuation, np.full(6, 30.0))) < 2500


def test_an_image_of_numbers_in_a_list_and_not_of_whole_ones():
    area = areas(("soft", "bone"), count=4).double()
    found = Beam().image(area.tolist(), ("soft", "bone"))
    assert_close(found, Beam().image(area, ("soft", "bone")), check_dtype=False, rtol=1e-5, atol=1e-6)
    with pytest.raises(XrcoreError, match="a tensor of floats"):
        Beam().image([[1, 2]], ("soft", "bone"))


def test_few_lines_behind_iron():
    beam, materials = Beam(metal="iron"), ("soft", "bone", "metal")
    area = areas(materials)
    exact = beam.image(area, materials)
    assert (exact - image_of_lines(beam.compressed(materials), area))[exact < 12].abs().max() < 1e-4


def test_one_energy_is_one_line():
    beam = Beam.monochromatic(55.5)
    v, nu = beam.compressed(("soft", "bone"))
    assert_close(v, torch.ones(1, dtype=torch.float64))
    assert_close(nu, beam.attenuation(("soft", "bone")).T)


def test_lines_are_the_same_every_time_and_the_callers_own():
    beam = Beam()
    first = beam.compressed(("soft", "bone"))
    kept = [t.clone() for t in first]
    first[0].zero_()
    assert_close(list(beam.compressed(["soft", "bone"])), kept, rtol=0, atol=0)


# construction


def test_a_beam_prints_as_it_is_made():
    for beam in (Beam(), Beam(kilovolts=120, metal="iron"), Beam.monochromatic(60), Beam.from_spectrum([40, 50], [1, 2])):
        again = eval(repr(beam))
        assert again == beam
        assert hash(again) == hash(beam)


def test_a_given_spectrum_is_used():
    tube = Beam(kilovolts=60)
    same = Beam.from_spectrum(tube.energies, 5 * tube.fluence)
    area = areas(("soft", "bone"), 50)
    assert_close(same.image(area, ("soft", "bone")), tube.image(area, ("soft", "bone")))
    assert same.mean_energy == pytest.approx(tube.mean_energy)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Beam(kilovolts=60, spectrum=((50.0, 1.0),)), "not both"),
        (lambda: Beam.monochromatic(5), "10 to 150"),
        (lambda: Beam.from_spectrum([40, 30], [1, 1]), "ascend"),
        (lambda: Beam.from_spectrum([30, 40], [1, -1]), "non-negative"),
        (lambda: Beam.from_spectrum([30, 40], [0, 0]), "not all zero"),
        (lambda: Beam.from_spectrum([30, 40], [1]), "2 energies but 1"),
        (lambda: Beam.from_spectrum([], []), "10 to 150"),
        (lambda: Beam().attenuation(("soft", "wood")), "'wood'"),
        (lambda: Beam().compressed(("wood",)), "'wood'"),
        (lambda: Beam().image(torch.zeros(3, 3), ("soft", "bone")), "last axis"),
        (lambda: Beam().image("thick", ("soft",)), "Beam.image: area_density must be a tensor of floats"),
        (lambda: Beam().image(torch.zeros(3, 1, dtype=torch.int32), ("soft",)), "Beam.image: area_density must be a tensor of floats"),
    ],
)
def test_spectra_and_materials_that_make_no_sense_are_refused(make, message):
    with pytest.raises(XrcoreError, match=message):
        make()


def test_compressing_a_beam_leaves_blas_one_thread(monkeypatch):
    # where other programs run, its threads wait seconds for each other at matrices that take milliseconds
    seen: list[int] = []
    refine = compression._refine

    def watched(*arguments):
        seen.extend(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")
        return refine(*arguments)

    monkeypatch.setattr(compression, "_refine", watched)
    with threadpool_limits(2, "blas"):
        compression.compress(np.array([0.4, 0.6]), np.array([[0.3, 0.2]]), np.array([5.0]))
        assert {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"} == {2}
    assert set(seen) == {1}
