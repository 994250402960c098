"""X-rays simulated as acquired, with another renderer than the registration's, so that results are not flattered ("inverse crime").

The image comes from another integrator than the registration's renderer (trilinear samples at a fixed step, several rays
per pixel), another beam, and a detector with scatter, blur, noise and a finite number of grey levels. Give it a finer volume too.
"""

from xrcore.simulation.acquired_xray import simulate
from xrcore.simulation.acquisition import Acquisition
from xrcore.simulation.integrator import area_density

__all__ = ["Acquisition", "area_density", "simulate"]
