"""Make the tables in xrcore/beam/tables, and print what they amount to.

    pip install "xrcore[tables]"
    python tools/make_beam_tables.py

Spectra: SpekPy, tungsten anode. The anode angle is chosen so that 90 kV has the mean energy of 49.2 keV that the paper's
tool (SPEKTR 3.0) gives. Mass attenuation: compositions by mass of ICRU Report 44 as tabulated by NIST, times the
elemental coefficients (with coherent scattering) of xraydb.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import spekpy
import xraydb

from xrcore.beam import Beam
from xrcore.beam.beam import TABLED, fitted_lines, lines_table
from xrcore.utilities import atomic_file

TABLES = Path(__file__).parents[1] / "xrcore" / "beam" / "tables"
KILOVOLTS = (60, 90, 120)
ANODE_ANGLE = 9.0  # [deg]
ALUMINIUM = 4.0  # [mm]
DISTANCE = 100.0  # [cm], in vacuum
LOWEST = 15  # [keV]; 4 mm of aluminium leaves less than a photon in 10^4 below
ENERGIES = np.arange(10, 151)  # [keV]

# mass fractions: NIST, X-ray mass attenuation coefficients, table 2 (ICRU-44)
COMPOSITIONS = {
    "soft": {"H": 0.102, "C": 0.143, "N": 0.034, "O": 0.708, "Na": 0.002, "P": 0.003, "S": 0.003, "Cl": 0.002, "K": 0.003},
    "bone": {"H": 0.034, "C": 0.155, "N": 0.042, "O": 0.435, "Na": 0.001, "Mg": 0.002, "P": 0.103, "S": 0.003, "Ca": 0.225},
    "air": {"C": 0.000124, "N": 0.755268, "O": 0.231781, "Ar": 0.012827},
    "titanium": {"Ti": 1.0},
    "iron": {"Fe": 1.0},
    "water": {"H": 0.111894, "O": 0.888106},
    # implants: ASTM F75 and F138 (316L), the middle of what they allow; polyethylene is (CH2)n
    "cobalt-chrome": {"Co": 0.655, "Cr": 0.285, "Mo": 0.06},
    "steel": {"Fe": 0.6535, "Cr": 0.18, "Ni": 0.14, "Mo": 0.0265},
    "polyethylene": {"C": 0.856285, "H": 0.143715},
}


def tube(kilovolts: int) -> spekpy.Spek:
    # half-keV bins, so that pairs of them make bins centred at whole keV
    return spekpy.Spek(kvp=kilovolts, th=ANODE_ANGLE, dk=0.5, physics="casim", z=DISTANCE).filter("Al", ALUMINIUM)


def spectrum(kilovolts: int) -> tuple[np.ndarray, np.ndarray]:
    """Bin centres [keV] and fluence in each 1 keV bin, normalised to sum 1."""
    centres, per_kev = tube(kilovolts).get_spectrum(edges=False)
    energies = np.arange(LOWEST, kilovolts + 1)
    bins = np.floor(centres + 0.5).astype(int)
    fluence = np.array([per_kev[bins == energy].sum() for energy in energies])
    return energies, fluence / fluence.sum()


def mass_attenuation(material: str, energies: np.ndarray) -> np.ndarray:
    """[cm2/g] at energies [keV]."""
    fractions = COMPOSITIONS[material]
    total = sum(fractions.values())
    return sum(part / total * xraydb.mu_elam(element, energies * 1000.0) for element, part in fractions.items())


def half_value_layer(energies: np.ndarray, fluence: np.ndarray) -> float:
    """Aluminium [mm] that halves the air kerma of the tabulated spectrum."""
    kerma = fluence * energies * np.interp(energies, *_air_energy_absorption())
    aluminium = xraydb.mu_elam("Al", energies * 1000.0) * xraydb.atomic_density("Al") / 10
    low, high = 0.0, 20.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if (kerma * np.exp(-aluminium * middle)).sum() > kerma.sum() / 2 else (low, middle)
    return low


def _air_energy_absorption() -> tuple[np.ndarray, np.ndarray]:
    # NIST, mu_en/rho of dry air [cm2/g]
    energies = np.array([10, 15, 20, 30, 40, 50, 60, 80, 100, 150.0])
    values = np.array([4.742, 1.334, 0.5389, 0.1537, 0.06833, 0.04098, 0.03041, 0.02407, 0.02325, 0.02496])
    dense = np.arange(10, 151.0)
    return dense, np.exp(np.interp(np.log(dense), np.log(energies), np.log(values)))


def write(path: Path, comments: list[str], header: list[str], rows: list[str]) -> None:
    lines = [*(f"# {comment}" for comment in comments), ",".join(header), *rows]
    with atomic_file(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n")


def main() -> None:
    TABLES.mkdir(parents=True, exist_ok=True)
    for kilovolts in KILOVOLTS:
        energies, fluence = spectrum(kilovolts)
        comments = [
            f"Photon fluence per 1 keV bin behind {ALUMINIUM:g} mm of aluminium, sum 1; bins centred at the energy.",
            f"SpekPy {spekpy.__version__}, model casim, tungsten, anode angle {ANODE_ANGLE:g} deg, {kilovolts} kV, no air.",
            "Made by tools/make_beam_tables.py.",
        ]
        rows = [f"{energy},{value:.6e}" for energy, value in zip(energies, fluence, strict=True)]
        write(TABLES / f"spectrum_{kilovolts}kv.csv", comments, ["energy_kev", "fluence"], rows)
        mean = float((energies * fluence).sum())
        print(
            f"{kilovolts:3d} kV: {len(energies)} bins, mean energy {mean:.2f} keV (SpekPy {tube(kilovolts).get_emean():.2f}), "
            f"half-value layer {half_value_layer(energies, fluence):.3f} mm Al (SpekPy {tube(kilovolts).get_hvl1(matl='Al'):.3f})"
        )
    names = list(COMPOSITIONS)
    columns = [mass_attenuation(name, ENERGIES.astype(float)) for name in names]
    comments = [
        "Mass attenuation coefficients [cm2/g] with coherent scattering.",
        "Compositions: ICRU-44 soft tissue and cortical bone, dry air, as tabulated by NIST; ASTM F75 and F138; "
        "elements: xraydb (Elam, Ravel, Sieber 2002).",
        "Made by tools/make_beam_tables.py.",
    ]
    rows = [f"{energy}," + ",".join(f"{column[i]:.6e}" for column in columns) for i, energy in enumerate(ENERGIES)]
    write(TABLES / "mass_attenuation.csv", comments, ["energy_kev", *names], rows)
    for name, column in zip(names, columns, strict=True):
        print(f"{name:13s} at 60 keV {column[ENERGIES == 60][0]:.4f} cm2/g")
    for kilovolts, materials in itertools.product(KILOVOLTS, TABLED):
        beam = Beam(kilovolts=kilovolts)
        weights, lines = fitted_lines(beam, materials)
        rows = [",".join(repr(float(value)) for value in (weight, *line)) for weight, line in zip(weights, lines, strict=True)]
        comments = ["Effective lines of a tube's beam: weights, and attenuation [cm2/g].", "Made by tools/make_beam_tables.py."]
        write(TABLES / lines_table(beam, materials), comments, ["weight", *materials], rows)


if __name__ == "__main__":
    main()
