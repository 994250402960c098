"""Acquisition: how an X-ray was taken, as frozen settings."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import torch

from xrcore._util.errors import XrcoreError, is_number, is_whole, require
from xrcore.beam import KILOVOLTS, Beam

MASKS = ("circle", "rectangle")
MOST_PHOTONS = 1e12  # that a pixel can be given
_AT_LEAST_0 = ("exposure_control", "electronic_noise", "scatter", "scatter_width", "blur", "tool")
_ABOVE_0 = ("gain", "gamma", "step")
# of random settings: from, to, and whether these are logarithms
_RANGES = {
    "photons": (math.log(1e4), math.log(3e5), True),
    "exposure_control": (math.log(100), math.log(3e3), True),
    "electronic_noise": (0.0, 15.0, False),
    "scatter": (0.0, 1.0, False),
    "scatter_width": (40.0, 150.0, False),
    "blur": (0.3, 3.5, False),
    "gamma": (-0.4, 0.4, True),
    "gain": (-0.5, 0.5, True),
    "offset": (-0.5, 0.5, False),
}


_check = partial(require, "Acquisition")


@dataclass(frozen=True, kw_only=True)
class Acquisition:
    """How an X-ray was taken; the defaults are a plain fluoroscopic exposure with another beam than the registration's 90 kV.

    Parameters
    ----------
    kilovolts : float
        Tube voltage, see `Beam`.
    monochromatic : float, optional
        One energy [keV] instead of a tube's spectrum.
    metal : str
        What the material "metal" is, see `Beam`.
    photons : float, optional
        Quanta a pixel without a patient; None for no noise of any kind.
    exposure_control : float
        Photons a pixel behind the patient, median over its shadow, up to which the exposure is raised where `photons` would leave
        fewer, as the automatic brightness control of a C-arm does for a thick patient; 0 for a fixed exposure.
    electronic_noise : float
        Standard deviation [photons].
    scatter : float
        Scatter-to-primary ratio, median over the patient's shadow.
    scatter_width : float
        Spread of the scatter, FWHM on the detector [mm].
    blur : float
        Of focal spot and detector together, FWHM on the detector [mm].
    gamma, gain, offset : float
        Grey value = gain x (attenuation, bent by gamma within its range) + offset.
    bits : int, optional
        Grey levels of the file, 8 to 16; None for none lost.
    inverted : bool
        Stored with bone dark, as some files are.
    mask : str, optional
        "circle" (image intensifier), "rectangle" (shutters) or None.
    mask_fraction : float
        The mask's diameter or sides as a share of the image's.
    text : str
        Burnt into the image, outside the mask's knowledge.
    tool : float
        Diameter [mm] of a steel rod near the isocentre, 0 for none.
    step : float
        Between samples along a ray [mm].
    oversample : int
        Rays along each side of a pixel, averaged as intensities.

    Raises
    ------
    XrcoreError
        Naming the parameter that makes no sense.
    """

    kilovolts: float = 120
    monochromatic: float | None = None
    metal: str = "titanium"
    photons: float | None = 20_000.0
    exposure_control: float = 500.0
    electronic_noise: float = 5.0
    scatter: float = 0.3
    scatter_width: float = 80.0
    blur: float = 1.5
    gamma: float = 1.0
    gain: float = 1.0
    offset: float = 0.0
    bits: int | None = 12
    inverted: bool = False
    mask: str | None = "circle"
    mask_fraction: float = 1.0
    text: str = ""
    tool: float = 0.0
    step: float = 1.0
    oversample: int = 2

    def __post_init__(self) -> None:
        for name in (*_AT_LEAST_0, *_ABOVE_0, "offset", "mask_fraction"):
            _check(name, getattr(self, name), is_number(getattr(self, name)), "a finite number")
        for name in _AT_LEAST_0:
            _check(name, getattr(self, name), getattr(self, name) >= 0, "at least 0")
        for name in _ABOVE_0:
            _check(name, getattr(self, name), getattr(self, name) > 0, "positive")
        counted = self.photons is None or (is_number(self.photons) and 10 <= self.photons <= MOST_PHOTONS)
        _check("photons", self.photons, counted, "at least 10, at most 1e12, or None")
        _check("tool", self.tool, self.tool <= 100, "at most 100 mm")
        _check("bits", self.bits, self.bits is None or (is_whole(self.bits) and 8 <= self.bits <= 16), "8 to 16, or None")
        known = self.mask is None or (isinstance(self.mask, str) and self.mask in MASKS)
        _check("mask", self.mask, known, f"{', '.join(map(repr, MASKS))} or None")
        _check("mask_fraction", self.mask_fraction, 0.1 <= self.mask_fraction <= 1.5, "within 0.1 to 1.5")
        _check("oversample", self.oversample, is_whole(self.oversample) and 1 <= self.oversample <= 8, "a whole number, 1 to 8")
        _check("text", self.text, isinstance(self.text, str), "a string")
        _check("inverted", self.inverted, isinstance(self.inverted, bool), "True or False")
        if self.scatter > 0:
            _check("scatter_width", self.scatter_width, self.scatter_width > 0, "positive where there is scatter")
        _ = self.beam  # which refuses beams that do not exist

    @property
    def beam(self) -> Beam:
        """The beam of this exposure."""
        if self.monochromatic is not None:
            return Beam.monochromatic(self.monochromatic, metal=self.metal)
        return Beam(kilovolts=self.kilovolts, metal=self.metal)

    @classmethod
    def ideal(cls, **changes: Any) -> Acquisition:
        """Make a monochromatic exposure that loses nothing: no noise, scatter, blur, quantisation or mask; one ray a pixel.

        Parameters
        ----------
        **changes : Any
            Parameters to set otherwise; `kilovolts` brings back a tube's spectrum.

        Returns
        -------
        Acquisition
            The settings.
        """
        perfect: dict[str, Any] = {"photons": None, "scatter": 0.0, "blur": 0.0, "bits": None, "mask": None, "oversample": 1}
        perfect["monochromatic"] = None if "kilovolts" in changes else 60.0
        return cls(**_known(perfect | changes))

    @classmethod
    def random(cls, generator: torch.Generator | None = None, **changes: Any) -> Acquisition:
        """Draw settings from what clinical systems show, for domain randomisation.

        Parameters
        ----------
        generator : torch.Generator, optional
            Source of the draws; default torch's own.
        **changes : Any
            Parameters to fix; the other draws stay as they were without.

        Returns
        -------
        Acquisition
            The settings.
        """

        def shares(count: int) -> list[float]:
            """Uniform between 0 and 1; at once, because a training draws many images' settings."""
            return torch.rand(count, dtype=torch.float64, generator=generator).tolist()

        def choice(options: tuple[Any, ...]) -> Any:
            return options[int(torch.randint(len(options), (), generator=generator))]

        drawn: dict[str, Any] = {"kilovolts": choice(KILOVOLTS)}
        for (name, (low, high, logarithmic)), share in zip(_RANGES.items(), shares(len(_RANGES)), strict=True):
            drawn[name] = math.exp(low + (high - low) * share) if logarithmic else low + (high - low) * share
        drawn["bits"] = choice((8, 10, 12, 14, 16))
        drawn["mask"] = choice((*MASKS, None))
        drawn["mask_fraction"] = 0.75 + 0.25 * shares(1)[0]
        drawn["text"] = choice(("", "", "L", "R"))
        drawn["tool"] = choice((0.0, 0.0, 0.0, 1.0)) * (1.0 + 5.0 * shares(1)[0])
        return cls(**_known(drawn | changes))


def _known(values: dict[str, Any]) -> dict[str, Any]:
    names = {field.name for field in fields(Acquisition)}
    for name in values:
        if name not in names:
            raise XrcoreError(f"Acquisition: no setting {name!r}; available: {', '.join(sorted(names))}")
    return values
