"""Beam: the spectrum of the tube and what materials do to it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from xrcore._util.conversion import as_tensor
from xrcore._util.errors import XrcoreError, is_number, require, shown
from xrcore.beam.attenuation import ENERGY_RANGE, MATERIALS, mass_attenuation, table
from xrcore.beam.compression import compress

KILOVOLTS = (60, 90, 120)
METALS = ("titanium", "iron")
TABLED = (("soft", "bone"), ("soft", "bone", "metal"))  # materials of a CT, whose lines for the default metal are in tables/
# Largest area densities [g/cm2] met in a patient; the lines of `Beam.compressed` are fitted up to them.
LIMITS = {"soft": 60.0, "water": 60.0, "air": 60.0, "polyethylene": 60.0, "bone": 30.0}
LIMITS |= {"titanium": 30.0, "iron": 30.0, "cobalt-chrome": 30.0, "steel": 30.0}


@dataclass(frozen=True, kw_only=True)
class Beam:
    """The spectrum of a tungsten tube behind 4 mm of aluminium, and a detector that integrates energy.

    Parameters
    ----------
    kilovolts : float
        Tube voltage: 60, 90 or 120; 90 is the paper's beam (mean energy 49.2 keV).
    metal : str
        What the material "metal" of a volume is, "titanium" or "iron".
    spectrum : tuple of pairs of float, optional
        Pairs (energy [keV], fluence) instead of a tube's; see `from_spectrum` and `monochromatic`.

    Raises
    ------
    XrcoreError
        Naming the parameter that makes no sense.

    Examples
    --------
    >>> import torch
    >>> import xrcore as xr
    >>> beam = xr.Beam(kilovolts=120)
    >>> bool(beam.mean_energy > xr.Beam().mean_energy)
    True
    >>> area_density = torch.tensor([[10.0, 0.0], [10.0, 2.0]])  # [g/cm2] of soft tissue and bone, two rays
    >>> image = beam.image(area_density, ("soft", "bone"))
    >>> bool(image[1] > image[0])  # bone is bright
    True
    """

    kilovolts: float = 90
    metal: str = "titanium"
    spectrum: tuple[tuple[float, float], ...] | None = None

    def __post_init__(self) -> None:
        put = object.__setattr__
        require("Beam", "metal", self.metal, isinstance(self.metal, str) and self.metal in METALS, " or ".join(METALS))
        if self.spectrum is not None:
            put(self, "spectrum", _checked(self.spectrum))
            highest = self.spectrum[-1][0]
            if self.kilovolts not in (90, highest):
                raise XrcoreError(f"Beam: give kilovolts or a spectrum, not both (kilovolts={self.kilovolts!r})")
            put(self, "kilovolts", highest)
        else:
            known = is_number(self.kilovolts) and self.kilovolts in KILOVOLTS
            require("Beam", "kilovolts", self.kilovolts, known, f"one of {', '.join(map(str, KILOVOLTS))}")
            put(self, "kilovolts", int(self.kilovolts))

    @classmethod
    def from_spectrum(cls, energies: Sequence[float] | Tensor, fluence: Sequence[float] | Tensor, *, metal: str = "titanium") -> Beam:
        """Make a beam of a measured or computed spectrum.

        Parameters
        ----------
        energies : Float[Tensor, "E"]
            Photon energies [keV], ascending, between 10 and 150.
        fluence : Float[Tensor, "E"]
            Photons at each energy, in any scale.
        metal : str
            What the material "metal" of a volume is, "titanium" or "iron".

        Returns
        -------
        Beam
            With this spectrum.
        """
        lists = []
        for name, values in (("energies", energies), ("fluence", fluence)):
            lists.append(as_tensor("Beam.from_spectrum", name, values, "a sequence of numbers").ravel().tolist())
        if len(lists[0]) != len(lists[1]):
            raise XrcoreError(f"Beam.from_spectrum: {len(lists[0])} energies but {len(lists[1])} values of fluence")
        return cls(metal=metal, spectrum=tuple(zip(*lists, strict=True)))

    @classmethod
    def monochromatic(cls, energy: float, *, metal: str = "titanium") -> Beam:
        """Make a beam of one energy: its image is linear in the area densities.

        Parameters
        ----------
        energy : float
            Of all photons [keV], between 10 and 150.
        metal : str
            What the material "metal" of a volume is, "titanium" or "iron".

        Returns
        -------
        Beam
            With this energy.
        """
        require("Beam.monochromatic", "energy", energy, is_number(energy), "a number of keV")
        return cls(metal=metal, spectrum=((energy, 1.0),))

    @property
    def fluence(self) -> Float[Tensor, " E"]:
        """Share of photons at each energy, p(E); sums to 1."""
        return torch.from_numpy(_spectrum(self)[1])

    @property
    def energies(self) -> Float[Tensor, " E"]:
        """Bin centres [keV], ascending."""
        return torch.from_numpy(_spectrum(self)[0].copy())

    @property
    def weights(self) -> Float[Tensor, " E"]:
        """Share of the detected energy without a patient, p(E) E; sums to 1."""
        return torch.from_numpy(_weights(self))

    @property
    def mean_energy(self) -> float:
        """Mean energy of the photons [keV]."""
        energies, fluence = _spectrum(self)
        return float(energies @ fluence)

    def attenuation(self, materials: Sequence[str]) -> Float[Tensor, "M E"]:
        """Look up the mass attenuation of materials at the beam's energies.

        Parameters
        ----------
        materials : Sequence of str
            Names of `MATERIALS`, or "metal", which is `self.metal`.

        Returns
        -------
        Float[Tensor, "M E"]
            Mass attenuation coefficients [cm2/g], float64.
        """
        return torch.from_numpy(_columns(self, _names(materials)).copy())

    def image(self, area_density: Float[Tensor, "*B M"], materials: Sequence[str]) -> Float[Tensor, "*B"]:
        """Turn area densities into an attenuation image, exact over all energies.

        -log(I / I0) with I = sum_E p(E) E exp(-sum_m mu_m(E) A_m), for an energy-integrating detector. Differentiable.

        Parameters
        ----------
        area_density : Float[Tensor, "*B M"]
            A [g/cm2] of each material, materials last.
        materials : Sequence of str
            Names of the last axis.

        Returns
        -------
        Float[Tensor, "*B"]
            Attenuation image, in the precision and on the device of `area_density`.

        Raises
        ------
        XrcoreError
            If the last axis does not hold the materials.

        References
        ----------
        Unberath et al., DeepDRR, MICCAI 2018.
        """
        names = _names(materials)
        area_density = as_tensor("Beam.image", "area_density", area_density, "a tensor of floats, materials last", dtype=None)
        floats = area_density.is_floating_point()
        require("Beam.image", "area_density", area_density.dtype, floats, "a tensor of floats, materials last")
        if area_density.ndim < 1 or area_density.shape[-1] != len(names):
            raise XrcoreError(f"Beam.image: the last axis of {tuple(area_density.shape)} must hold the {len(names)} materials {names}")
        weights, attenuation = self.weights.to(area_density), self.attenuation(names).to(area_density)
        return -torch.logsumexp(weights.log() - area_density @ attenuation, dim=-1)

    def compressed(self, materials: Sequence[str]) -> tuple[Float[Tensor, " n"], Float[Tensor, "n M"]]:
        """Replace the spectrum by a few effective lines, for fast renderers.

        -log(sum_j v_j exp(-nu_j . A)) follows `image` within 1e-5 (3e-5 with metal) for soft tissue up to 60, bone up to
        30 and metal up to 30 g/cm2, all at once, as far as the image stays below 12. Deterministic, and cached.

        Parameters
        ----------
        materials : Sequence of str
            Names, as for `attenuation`.

        Returns
        -------
        weights : Float[Tensor, "n"]
            v, summing to 1, float64.
        attenuation : Float[Tensor, "n M"]
            nu [cm2/g], float64.
        """
        v, nu = _compressed(self, _names(materials))
        return torch.from_numpy(v.copy()), torch.from_numpy(nu.copy())


def _names(materials: Sequence[str]) -> tuple[str, ...]:
    several = isinstance(materials, Sequence) and not isinstance(materials, str) and len(materials) > 0
    require("Beam", "materials", materials, several and all(isinstance(m, str) for m in materials), "at least one name of a material")
    return tuple(materials)


def _checked(spectrum: Sequence[Sequence[float]]) -> tuple[tuple[float, float], ...]:
    try:
        pairs = tuple((float(energy), float(fluence)) for energy, fluence in spectrum)
    except (TypeError, ValueError):
        raise XrcoreError(f"Beam: spectrum must be pairs (energy, fluence), got {shown(spectrum)}") from None
    energies = [energy for energy, _ in pairs]
    fluences = [fluence for _, fluence in pairs]
    low, high = ENERGY_RANGE
    if not pairs or not all(low <= energy <= high for energy in energies):
        raise XrcoreError(f"Beam: energies must lie within {low:g} to {high:g} keV, got {shown(energies)}")
    if any(b <= a for a, b in pairwise(energies)):
        raise XrcoreError(f"Beam: energies must ascend, got {shown(energies)}")
    if not all(math.isfinite(f) and f >= 0 for f in fluences) or sum(fluences) <= 0:
        raise XrcoreError(f"Beam: fluence must be finite, non-negative and not all zero, got {shown(fluences)}")
    return pairs


def _spectrum(beam: Beam) -> tuple[np.ndarray, np.ndarray]:
    if beam.spectrum is not None:
        energies, fluence = np.array(beam.spectrum).T
    else:
        columns = table(f"spectrum_{beam.kilovolts}kv.csv")
        energies, fluence = columns["energy_kev"], columns["fluence"]
    return energies, fluence / fluence.sum()


def _weights(beam: Beam) -> np.ndarray:
    energies, fluence = _spectrum(beam)
    detected = energies * fluence
    return detected / detected.sum()


@lru_cache
def _columns(beam: Beam, materials: tuple[str, ...]) -> np.ndarray:
    names = [beam.metal if name == "metal" else name for name in materials]
    for name in names:
        if name not in MATERIALS:
            raise XrcoreError(f"Beam: no material {name!r}; available: {', '.join(MATERIALS)}, metal")
    energies, _ = _spectrum(beam)
    return np.stack([mass_attenuation(name, energies) for name in names])


@lru_cache
def _compressed(beam: Beam, materials: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    if beam in map(_tube, KILOVOLTS) and materials in TABLED:
        columns = table(lines_table(beam, materials))
        return columns["weight"], np.stack([columns[name] for name in materials], 1)
    return fitted_lines(beam, materials)


def _tube(kilovolts: int) -> Beam:
    return Beam(kilovolts=kilovolts)


def lines_table(beam: Beam, materials: Sequence[str]) -> str:
    """Name of the table that holds what `fitted_lines` gave for a tube's beam."""
    return f"lines_{beam.kilovolts}kv_{'_'.join(materials)}.csv"


def fitted_lines(beam: Beam, materials: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Fit effective lines, which takes a few tenths of a second."""
    weights, attenuation = _weights(beam), _columns(beam, materials)
    weights, attenuation = weights[weights > 0], attenuation[:, weights > 0]
    if len(weights) <= 4:
        return weights, np.ascontiguousarray(attenuation.T)
    limits = np.array([LIMITS[beam.metal if name == "metal" else name] for name in materials])
    return compress(weights, attenuation, limits)
