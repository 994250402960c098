"""Spectrum and mass attenuation: from area densities to an attenuation image."""

from xrcore.beam.attenuation import MATERIALS, mass_attenuation
from xrcore.beam.beam import KILOVOLTS, Beam

__all__ = ["KILOVOLTS", "MATERIALS", "Beam", "mass_attenuation"]
