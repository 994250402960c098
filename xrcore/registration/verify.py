"""Check a pose without ground truth.

How alike the images are says little: tools, text, processing or changed tissue lower it at a right pose, and at a wrong one large
shapes can match well. So each block of the X-ray is looked for on the DRR: at a right pose most blocks are found where the pose puts
them, at a wrong one few are, whatever was done to the grey values.
"""

from __future__ import annotations

import math

from jaxtyping import Float
from torch import Tensor

from xrcore.beam import Beam
from xrcore.ct.volume import Volume
from xrcore.geometry import Pose
from xrcore.registration.block_matching import match_blocks
from xrcore.registration.problem import shrink
from xrcore.registration.result import Evidence
from xrcore.registration.search import corners
from xrcore.registration.uncertainty import cluster_robust_covariance, drawn_by_numbers, drawn_deviation
from xrcore.renderer import render_with_jacobian
from xrcore.xray.image import Xray

_PIXELS, _SPACING = 128, 4.0
_TOLERANCE = 2.0  # [mm] within which landmarks are to be drawn
# The logistic model of the agreement, and what is added to it as if seen: blocks that agree as chance would have it. Fitted to
# patients 1, 3 and 4 and nine of the conditions of benchmarks/robustness.py, which reports on the others.
_SLOPE, _INTERCEPT = 3.7, 3.3
_CHANCE, _CHANCE_BLOCKS = 0.05, 8.0
_PIXEL_SHARE = 0.3  # of a pixel: what its grid costs at the least
_DRAWN = 0.5  # errors of where points are drawn are smaller than the cautious covariance says, by this factor on the same images
LEAST_CONFIDENCE = 0.98  # well above a probability that would do: bodies may be more alike than those the model was fitted to


def gather_evidence(
    xray: Xray, volume: Volume, pose: Pose, beam: Beam
) -> tuple[Evidence, Float[Tensor, "6 6"] | None, Float[Tensor, "h w"]]:
    """Gather evidence on a pose without ground truth.

    Parameters
    ----------
    xray : Xray
        Bone bright.
    volume : Volume
        The CT.
    pose : Pose
        One pose.
    beam : Beam
        The one assumed.

    Returns
    -------
    evidence : Evidence
        Measures of the pose; see `confidence`.
    covariance : Float[Tensor, "6 6"] or None
        Of its six numbers [deg, mm], from how parts of the image disagree; None where nothing is known of any.
    drr : Float[Tensor, "h w"]
        The DRR that it comes from, on the grid of the X-ray shrunk to 128 pixels, on the CPU.
    """
    small = shrink(xray, _PIXELS)
    image, jacobian = render_with_jacobian(volume.coarser(_SPACING), small.carm, pose, beam)
    drawn = drawn_by_numbers(pose, small.carm, volume, corners(volume))
    covariance = cluster_robust_covariance(small, image, jacobian, drawn)
    drr = image[0].cpu()
    matches = match_blocks(small.image.cpu(), small.mask.cpu(), drr)
    carm = small.carm
    pixel = max(carm.spacing) * carm.source_to_isocenter / carm.source_to_detector
    spread = math.inf if covariance is None else drawn_deviation(covariance, drawn)
    evidence = Evidence(
        agreement=matches.agreement,
        likeness=matches.likeness,
        blocks=matches.blocks,
        deviation=_DRAWN * math.hypot(spread, _PIXEL_SHARE * pixel),
    )
    return evidence, covariance, drr


def confidence(evidence: Evidence) -> float:
    """Probability that landmarks are drawn within 2 mm of their place, across the ray at their depth.

    Parameters
    ----------
    evidence : Evidence
        Of one pose.

    Returns
    -------
    float
        That the pose is the right optimum, times that its errors are small enough.
    """
    chance = _CHANCE * _CHANCE_BLOCKS
    share = (evidence.agreement * evidence.blocks + chance) / (evidence.blocks + _CHANCE_BLOCKS)
    right = 1 / (1 + math.exp(-(_SLOPE * math.log(share / (1 - share)) + _INTERCEPT)))
    return right * _within(evidence.deviation)


def _within(deviation: float) -> float:
    """Probability that an error of this standard deviation along both axes is at most the tolerance."""
    return -math.expm1(-((_TOLERANCE / deviation) ** 2) / 2)


def failed_checks(evidence: Evidence) -> tuple[str, ...]:
    """Say what speaks against a pose, and what to do.

    Parameters
    ----------
    evidence : Evidence
        Of one pose.

    Returns
    -------
    tuple of str
        One line each; none means the pose is trusted.
    """
    if confidence(evidence) >= LEAST_CONFIDENCE:
        return ()
    found = []
    if _within(evidence.deviation) < LEAST_CONFIDENCE:
        far = f"landmarks may be drawn {evidence.deviation:.1f} mm from their place"
        far = far if math.isfinite(evidence.deviation) else "the X-ray leaves open where landmarks are"
        found.append(f"{far}; give an X-ray of more pixels or a larger field, or another view")
    share = evidence.agreement
    if evidence.blocks < 2 * _CHANCE_BLOCKS:
        found.append("the X-ray shows too little detail to tell; give one of more pixels or a larger field")
    elif not found or share < 0.6:
        found.append(
            f"only {100 * share:.0f} % of the X-ray's detail is where the CT would have it; "
            "check the pixel spacing and the CT, or start nearer (--initial), or in Python search wider (SearchBox)"
        )
    return tuple(found)
