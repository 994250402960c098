"""Mass attenuation coefficients by material and energy, from the committed tables."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files
from typing import overload

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray

from xrcore._util.errors import XrcoreError, shown

MATERIALS = ("soft", "bone", "air", "titanium", "iron", "water", "cobalt-chrome", "steel", "polyethylene")
ENERGY_RANGE = (10.0, 150.0)  # [keV]


@lru_cache
def table(name: str) -> dict[str, NDArray[np.float64]]:
    """Columns of a committed table by name, read-only."""
    text = files("xrcore.beam").joinpath("tables", name).read_text(encoding="utf-8")
    header, *rows = (line for line in text.splitlines() if not line.startswith("#"))
    columns = np.array([[float(value) for value in row.split(",")] for row in rows]).T
    columns.setflags(write=False)
    return dict(zip(header.split(","), columns, strict=True))


@overload
def mass_attenuation(material: str, energies: float) -> float: ...
@overload
def mass_attenuation(material: str, energies: Sequence[float] | NDArray) -> Float64[np.ndarray, "*E"]: ...
def mass_attenuation(material: str, energies: float | Sequence[float] | NDArray) -> float | Float64[np.ndarray, "*E"]:
    """Look up mass attenuation coefficients, coherent scattering included.

    Tabulated every 1 keV, log-log interpolation between; the only absorption edge above 10 keV is molybdenum's at 20 keV, in alloys.

    Parameters
    ----------
    material : str
        "soft" (ICRU-44 soft tissue), "bone" (ICRU-44 cortical bone), "air" (dry), "titanium", "iron", "water",
        "cobalt-chrome" (ASTM F75), "steel" (ASTM F138, 316L) or "polyethylene".
    energies : float or Float[ndarray, "*E"]
        Photon energies [keV], between 10 and 150.

    Returns
    -------
    float or Float64[ndarray, "*E"]
        Mass attenuation coefficient at each energy [cm2/g].

    Raises
    ------
    XrcoreError
        For another material or an energy outside the table.
    """
    if not isinstance(material, str) or material not in MATERIALS:
        raise XrcoreError(f"mass_attenuation: no material {shown(material)}; available: {', '.join(MATERIALS)}")
    try:
        values = np.asarray(energies, np.float64)  # not a tensor, which inside `torch.func.jvp` has no values
    except (TypeError, ValueError):
        raise XrcoreError(f"mass_attenuation: energies must be numbers of keV, got {shown(energies)}") from None
    low, high = ENERGY_RANGE
    if not ((values >= low) & (values <= high)).all():
        raise XrcoreError(f"mass_attenuation: energies must lie within {low:g} to {high:g} keV, got {shown(values.tolist())}")
    columns = table("mass_attenuation.csv")
    return np.exp(np.interp(np.log(values), np.log(columns["energy_kev"]), np.log(columns[material])))
