"""Acquisition: how an X-ray was taken, as frozen settings."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import torch

from xrcore._util.errors import XrcoreError, require
from xrcore.beam import KILOVOLTS, Beam

MASKS = ("circle", "rectangle")
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
    """Settings of `simulate`; the defaults are a plain fluoroscopic exposure with another beam than the registration's 90 kV.

    kilovolts, metal: see `Beam`. monochromatic: one energy [keV] instead of a tube's spectrum.
    photons: quanta a pixel without a patient; None for no noise of any kind. electronic_noise: standard deviation [photons].
    exposure_control: photons a pixel behind the patient, median over its shadow, up to which the exposure is raised where `photons`
        would leave fewer, as the automatic brightness control of a C-arm does for a thick patient; 0 for a fixed exposure.
    scatter: scatter-to-primary ratio, median over the patient's shadow. scatter_width: its spread, FWHM on the detector [mm].
    blur: of focal spot and detector together, FWHM on the detector [mm].
    gamma, gain, offset: grey value = gain x (attenuation, bent by gamma within its range) + offset.
    bits: grey levels of the file, 8 to 16; None for none lost. inverted: stored with bone dark, as some files are.
    mask: "circle" (image intensifier), "rectangle" (shutters) or None; mask_fraction: its diameter or sides as a share of the image's.
    text: burnt into the image, outside the mask's knowledge. tool: diameter [mm] of a steel rod near the isocentre, 0 for none.
    step: between samples along a ray [mm]. oversample: rays along each side of a pixel, averaged as intensities.
    Raises XrcoreError naming the field that makes no sense.
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
            _check(name, getattr(self, name), _number(getattr(self, name)), "a finite number")
        for name in _AT_LEAST_0:
            _check(name, getattr(self, name), getattr(self, name) >= 0, "at least 0")
        for name in _ABOVE_0:
            _check(name, getattr(self, name), getattr(self, name) > 0, "positive")
        _check("photons", self.photons, self.photons is None or (_number(self.photons) and self.photons >= 10), "at least 10, or None")
        _check("bits", self.bits, self.bits is None or (_whole(self.bits) and 8 <= self.bits <= 16), "8 to 16, or None")
        _check("mask", self.mask, self.mask is None or self.mask in MASKS, f"{', '.join(map(repr, MASKS))} or None")
        _check("mask_fraction", self.mask_fraction, 0.1 <= self.mask_fraction <= 1.5, "within 0.1 to 1.5")
        _check("oversample", self.oversample, _whole(self.oversample) and 1 <= self.oversample <= 8, "a whole number, 1 to 8")
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
        """A monochromatic exposure that loses nothing: no noise, scatter, blur, quantisation or mask; one ray a pixel.

        changes: fields to set otherwise; `kilovolts` brings back a tube's spectrum.
        """
        perfect: dict[str, Any] = {
            "monochromatic": 60.0,
            "photons": None,
            "scatter": 0.0,
            "blur": 0.0,
            "bits": None,
            "mask": None,
            "oversample": 1,
        }
        if "kilovolts" in changes:
            perfect["monochromatic"] = None
        return cls(**_known(perfect | changes))

    @classmethod
    def random(cls, generator: torch.Generator | None = None, **changes: Any) -> Acquisition:
        """Settings drawn from what clinical systems show, for domain randomisation.

        changes: fields to fix; the other draws stay as they were without.
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


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
