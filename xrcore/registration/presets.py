"""Refinements by name."""

from __future__ import annotations

from xrcore._util.errors import XrcoreError, require
from xrcore.registration.settings import PYRAMID, RefinementSettings
from xrcore.registration.solvers.adam import Adam
from xrcore.registration.solvers.cma_es import CMAES
from xrcore.registration.solvers.gauss_newton import GaussNewton
from xrcore.registration.solvers.lbfgs import LBFGS
from xrcore.registration.solvers.powell import Powell

Method = str | RefinementSettings | tuple[RefinementSettings, ...]

# The conventional refinement of Grimm et al., IEEE TMI 2021, its numbers ours: CMA-ES on a coarse level, then Powell within bounds.
_GRIMM = (
    CMAES(similarity="gradient-zncc", rotation_step=2.0, translation_step=5.0, iterations=60, tolerance=0.1),
    Powell(pixels=128, spacing=4.0, similarity="gradient-zncc", rotation_step=0.5, translation_step=1.5, iterations=10, tolerance=0.1),
)

# The released demo of the paper means 0.5 deg and 5 mm, but its optimiser is handed the two in the other order.
PRESETS: dict[str, tuple[RefinementSettings, ...]] = {
    "gauss-newton": (GaussNewton(),),
    "paper-as-intended": (Adam(),),
    "paper-as-released": (Adam(rotation_step=5.0, translation_step=0.5),),
    "adam": (Adam(),),
    "lbfgs": (LBFGS(),),
    "cma-es": (CMAES(),),
    "powell": (Powell(),),
    "grimm": _GRIMM,
}

COARSE_SEARCH = GaussNewton(levels=PYRAMID[:2])  # enough to bring a start within reach of any method


def refinements(method: Method, caller: str = "refinements") -> tuple[RefinementSettings, ...]:
    """Resolve what is given as a method.

    Parameters
    ----------
    method : str, RefinementSettings or tuple of RefinementSettings
        A name of `PRESETS`, such as "gauss-newton" or "paper-as-released"; settings; or several that follow each other.
    caller : str
        What a message calls the function that takes it.

    Returns
    -------
    tuple of RefinementSettings
        One after the other.

    Raises
    ------
    XrcoreError
        If the name is unknown, or it is nothing of the kind.
    """
    if isinstance(method, str):
        if method not in PRESETS:
            raise XrcoreError(f"{caller}: unknown method {method!r}; choose from {', '.join(PRESETS)}")
        return PRESETS[method]
    several = (method,) if isinstance(method, RefinementSettings) else method
    known = isinstance(several, tuple) and len(several) > 0 and all(isinstance(one, RefinementSettings) for one in several)
    require(caller, "method", method, known, f"{', '.join(PRESETS)}, settings such as GaussNewton(), or a tuple of settings")
    return several
