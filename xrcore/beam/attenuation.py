"""Mass attenuation coefficients by material and energy, from the committed tables."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xrcore._util.errors import XrcoreError

MATERIALS = ("soft", "bone", "air", "titanium", "iron", "water")
ENERGY_RANGE = (10.0, 150.0)  # [keV]


@lru_cache
def table(name: str) -> dict[str, NDArray[np.float64]]:
    """Columns of a committed table by name, read-only."""
    text = files("xrcore.beam").joinpath("tables", name).read_text(encoding="utf-8")
    header, *rows = (line for line in text.splitlines() if not line.startswith("#"))
    columns = np.array([[float(value) for value in row.split(",")] for row in rows]).T
    columns.setflags(write=False)
    return dict(zip(header.split(","), columns, strict=True))


def mass_attenuation(material: str, energies: ArrayLike) -> NDArray[np.float64]:
    """Mass attenuation coefficient [cm2/g], coherent scattering included, at energies [keV] between 10 and 150.

    material: "soft" (ICRU-44 soft tissue), "bone" (ICRU-44 cortical bone), "air" (dry), "titanium", "iron" or "water".
    Tabulated every 1 keV, log-log interpolation between; none of these has an absorption edge above 10 keV.
    Raises XrcoreError for another material or an energy outside the table.
    """
    if material not in MATERIALS:
        raise XrcoreError(f"mass_attenuation: no material {material!r}; available: {', '.join(MATERIALS)}")
    energies = np.asarray(energies, dtype=np.float64)
    low, high = ENERGY_RANGE
    if not ((energies >= low) & (energies <= high)).all():
        raise XrcoreError(f"mass_attenuation: energies must lie within {low:g} to {high:g} keV, got {energies.tolist()}")
    columns = table("mass_attenuation.csv")
    return np.exp(np.interp(np.log(energies), np.log(columns["energy_kev"]), np.log(columns[material])))
