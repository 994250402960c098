"""HU -> mass density per material."""

from __future__ import annotations

from functools import partial

import numpy as np
from jaxtyping import Float32
from numpy import ndarray

from xrcore._util.errors import is_number, require

HU_OF_AIR = -1000.0
AIR_UP_TO = -800.0
SOFT_UP_TO = 350.0
METALS = ("metal", "titanium", "iron")
AIR = ("equivalent", "separate", "none")
# Mass attenuation of dry air over ICRU-44 soft tissue: 0.93 at 30, 0.92 at 50, 0.91 at 90 keV (NIST).
AIR_AS_SOFT = np.float32(0.92)
# Ringing and rounding around a removed tissue's HU that is still nothing.
BACKGROUND_MARGIN = 20.0


def density_of(hu: Float32[ndarray, "*b"]) -> Float32[ndarray, "*b"]:
    """Mass density [g/cm3]: max(0, min(0.00103 HU + 1.03, 0.0005886 HU + 1.03)), the rule of the paper's released renderer."""
    slope = np.where(hu < 0, np.float32(0.00103), np.float32(0.0005886))
    return np.maximum(slope * hu + np.float32(1.03), np.float32(0))


def densities(
    hu: Float32[ndarray, "D H W"],
    *,
    background: float | None = None,
    metal_above: float | None = 2500.0,
    metal: str = "metal",
    air: str = "equivalent",
    empty_below: float = -950.0,
) -> tuple[tuple[str, ...], Float32[ndarray, "M D H W"]]:
    """Materials by HU, air <= -800 < soft <= 350 < bone <= metal_above < metal, each with its density [g/cm3].

    Options as in `read_ct`. "metal" is among the materials only if a voxel exceeds `metal_above`.
    """
    _check(background, metal_above, metal, air, empty_below)
    has_metal = metal_above is not None and float(hu.max()) > metal_above
    names = ("soft", "bone", *((metal,) if has_metal else ()), *(("air",) if air == "separate" else ()))
    parts = np.empty((len(names), *hu.shape), dtype=np.float32)
    for k, plane in enumerate(hu):  # a slice at a time stays in the processor's cache
        density = density_of(plane)
        if background is not None:
            density *= np.clip((plane - (background + BACKGROUND_MARGIN)) / (SOFT_UP_TO - background - BACKGROUND_MARGIN), 0, 1)
        thin, hard = plane <= AIR_UP_TO, plane > SOFT_UP_TO
        gas = density * (thin & (plane > empty_below))
        np.multiply(density, ~(thin | hard), out=parts[0, k])
        if has_metal:
            metallic = plane > metal_above
            np.multiply(density, metallic, out=parts[2, k])
            hard &= ~metallic
        np.multiply(density, hard, out=parts[1, k])
        if air == "equivalent":
            parts[0, k] += AIR_AS_SOFT * gas
        elif air == "separate":
            parts[-1, k] = gas
    return names, parts


def _check(background: float | None, metal_above: float | None, metal: str, air: str, empty_below: float) -> None:
    check = partial(require, "read_ct")
    check("air", air, isinstance(air, str) and air in AIR, f"one of {', '.join(AIR)}")
    check("metal", metal, isinstance(metal, str) and metal in METALS, f"one of {', '.join(METALS)}")
    hard = metal_above is None or (is_number(metal_above) and metal_above > SOFT_UP_TO)
    check("metal_above", metal_above, hard, f"above {SOFT_UP_TO:g} HU, where bone begins, or None")
    most = SOFT_UP_TO - 2 * BACKGROUND_MARGIN
    between = background is None or (is_number(background) and AIR_UP_TO < background < most)
    what = f"the HU put where tissue was removed, between {AIR_UP_TO:g} (below is air, which needs no background) and {most:g}, or None"
    check("background", background, between, what)
    low = is_number(empty_below) and empty_below <= AIR_UP_TO
    check("empty_below", empty_below, low, f"at most {AIR_UP_TO:g} HU, where air ends")
