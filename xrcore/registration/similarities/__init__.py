"""Similarities of a fixed and a moving image: each a value and, where it exists, a least-squares residual."""

from __future__ import annotations

from xrcore._util.errors import XrcoreError
from xrcore.registration.similarities.base import Fitted, NormalEquations, Similarity
from xrcore.registration.similarities.correlation_ratio import CorrelationRatio
from xrcore.registration.similarities.gradient_zncc import GradientZNCC
from xrcore.registration.similarities.local_zncc import LocalZNCC, RobustLocalZNCC
from xrcore.registration.similarities.mutual_information import MutualInformation
from xrcore.registration.similarities.wlmi import WLMI
from xrcore.registration.similarities.zncc import ZNCC

SIMILARITIES: dict[str, type[Similarity]] = {
    s.name: s for s in (ZNCC, GradientZNCC, LocalZNCC, RobustLocalZNCC, CorrelationRatio, MutualInformation, WLMI)
}


def similarity(name_or_object: str | Similarity) -> Similarity:
    """Resolve what is given as a similarity.

    Parameters
    ----------
    name_or_object : str or Similarity
        A name of `SIMILARITIES`, or an object.

    Returns
    -------
    Similarity
        The one of that name with its default options, or the object itself.

    Raises
    ------
    XrcoreError
        For anything else.
    """
    if isinstance(name_or_object, str) and name_or_object in SIMILARITIES:
        return SIMILARITIES[name_or_object]()
    if isinstance(name_or_object, Similarity) and not isinstance(name_or_object, type):
        return name_or_object
    raise XrcoreError(f"similarity: {name_or_object!r} is unknown; choose one of {', '.join(SIMILARITIES)}")


__all__ = [
    "SIMILARITIES",
    "WLMI",
    "ZNCC",
    "CorrelationRatio",
    "Fitted",
    "GradientZNCC",
    "LocalZNCC",
    "MutualInformation",
    "NormalEquations",
    "RobustLocalZNCC",
    "Similarity",
    "similarity",
]
