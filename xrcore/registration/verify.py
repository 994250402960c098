"""Check a pose without ground truth.

How alike the images are says little: tools, text, processing or changed tissue lower it at a right pose, and at a wrong one large
shapes can match well. So each block of the X-ray is looked for on the DRR: at a right pose blocks are found where the pose puts them, to a
fraction of a millimetre, whatever was done to the grey values; at a wrong one few are, and those of a body that is merely alike lie
beside their place.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum

import torch
from jaxtyping import Float
from torch import Tensor

from xrcore.beam import Beam
from xrcore.ct.volume import Volume
from xrcore.geometry import Pose
from xrcore.geometry.pose import difference_of_numbers
from xrcore.registration.block_matching import BlockMatches, match_blocks
from xrcore.registration.body_window import body_alone, body_windows, cut, voxels_for
from xrcore.registration.bone_only import is_bone_only, is_implant
from xrcore.registration.calibration import INTRINSICS
from xrcore.registration.joint_problem import poses_in_views
from xrcore.registration.problem import pixel_at_isocenter, shrink
from xrcore.registration.result import Evidence, Registration
from xrcore.registration.uncertainty import calibration_unknowns, pose_uncertainty
from xrcore.registration.view import View, views_of
from xrcore.renderer import render
from xrcore.xray.image import Xray

_PIXELS, _SPACING = 256, 2.0  # of the images whose blocks are matched; [mm]
_SHOWN = 128  # pixels of the DRR that a result keeps
_NEAR_MM, _NEAR_PIXELS, _LEAST_NEAR = 3.0, 3.0, 1.5  # a block is near within the smaller, but within 1.5 pixels in any case
_TOLERANCE = 2.0  # [mm] within which landmarks are to be drawn
# The logistic model of displacement and likeness, and what is added to them as if seen: blocks as chance would have them. Fitted to
# right and wrong answers for patients 1, 3 and 4, X-rays of other patients, and of phantoms that differ from the CT's in their seed
# alone (benchmarks/robustness.py reports on the others).
_BY_DISPLACEMENT, _BY_LIKENESS, _INTERCEPT = 2.9, 2.2, -6.1
_CHANCE_DISPLACEMENT, _CHANCE_LIKENESS, _CHANCE_BLOCKS = 0.7, 0.45, 8.0
_MOSTLY = 0.6  # agreement that only exactness can be doubted from
_PLENTY = 100.0  # blocks of which few are as chance would have them
_PIXEL_SHARE = 0.3  # of a pixel: what its grid costs at the least
_DRAWN = 0.5  # errors of where points are drawn are smaller than the cautious covariance says, by this factor on the same images
# How far patients move between a localizer and the CT: standard deviation [deg, mm], and the half-widths that `register` searches about the
# files' placement. Placements are wrong at times, so that they say no more than this.
_MOVES, REACH, _MOST_SAID = (1.0, 2.0), (4.0, 8.0), math.log(20.0)
_RIM = 1.5  # [mm] around the shadow of an implant, or of a bone that was cut out of its CT, that counts as its own
_CONTRADICTION = 0.2  # below this probability one of several views contradicts a pose
LEAST_CONFIDENCE = 0.75
_WRONG, _CERTAIN = 0.01, 3.0  # share of the distance, and standard deviations, from which it is said to be wrong


def judged(result: Registration, volume: Volume, beam: Beam) -> Registration:
    """Judge an answer.

    Parameters
    ----------
    result : Registration
        Found in any way.
    volume : Volume
        The CT.
    beam : Beam
        The one assumed.

    Returns
    -------
    Registration
        With evidence and verdict, and the covariance, unless a calibration's is better.
    """
    # a distance that was estimated with the pose is not held against it again
    given = result.calibration is None or not any(name.startswith(INTRINSICS[0]) for name in result.calibration.names)
    evidence, covariance, drr = gather_evidence(result.views, volume, result.pose, beam, check_distance=given)
    covariance = covariance if result.calibration is None else result.covariance
    return with_evidence(replace(result, covariance=covariance, drr=drr), evidence)


def with_whole_drr(result: Registration, volume: Volume, beam: Beam) -> Registration:
    """A judged answer whose DRR, that of a small body's window where it is one, is on the whole (first) X-ray's grid."""
    if body_windows(result.views, volume, result.pose) is None:
        return result
    small = shrink(result.xray, _SHOWN)
    return replace(result, drr=render(volume.coarser(_SPACING), small.carm, result.pose, beam)[0].detach().cpu())


def with_evidence(result: Registration, evidence: Evidence) -> Registration:
    """The same answer with the verdict that its evidence gives."""
    reasons = failed_checks(evidence)
    return replace(result, evidence=evidence, confidence=confidence(evidence), trusted=not reasons, reasons=reasons)


def rank(result: Registration) -> tuple[float, float]:
    """What judged answers are ordered by."""
    return result.confidence, 0.0 if result.evidence is None else result.evidence.agreement


def gather_evidence(
    views: Xray | Sequence[View], volume: Volume, pose: Pose, beam: Beam, *, check_distance: bool = False
) -> tuple[Evidence, Float[Tensor, "6 6"] | None, Float[Tensor, "h w"]]:
    """Gather evidence on a pose without ground truth.

    Parameters
    ----------
    views : Xray or sequence of View
        Bone bright.
    volume : Volume
        The CT.
    pose : Pose
        One pose; of several views, the first one's.
    beam : Beam
        The one assumed.
    check_distance : bool
        Whether to look for a wrong `source_to_detector`, too.

    Returns
    -------
    evidence : Evidence
        Measures of the pose, of several views together, or of the one that contradicts it; see `confidence`.
    covariance : Float[Tensor, "6 6"] or None
        Of its six numbers [deg, mm], from how parts of the image disagree; None where nothing is known of any.
    drr : Float[Tensor, "h w"]
        The DRR that it comes from, on the grid of the (first) X-ray, or of the window of a small body, shrunk to 128 pixels, on the CPU.
    """
    views = views_of("gather_evidence", views)
    windows = body_windows(views, volume, pose)
    # an implant's edges are not to a tenth of a millimetre what its mesh has, and a CT of bone lacks what lies beside it
    checked = check_distance and not (is_implant(volume) or is_bone_only(volume))
    # before views are cut, which tells those of one C-arm apart
    unknowns = calibration_unknowns(views) if checked else ()
    views = cut(views, windows)
    uncertainty = pose_uncertainty(views, volume, pose, beam, unknowns)
    deviation = _DRAWN * math.hypot(uncertainty.drawn, _PIXEL_SHARE * uncertainty.pixel)
    parts, alone, near = [], [], 1.0
    poses = poses_in_views(pose, views, volume)
    placement = _log_odds_of_place(views[0].xray, volume, pose, uncertainty.covariance)
    if is_implant(volume) or (windows is not None and is_bone_only(volume)):
        grids = [volume.coarser(voxels_for([view], _PIXELS, _SPACING)) for view in views]
        views = [body_alone(view, grid, own, beam, _RIM) for view, grid, own in zip(views, grids, poses, strict=True)]
    for number, (own, view) in enumerate(zip(poses, views, strict=True), 1):
        matched = shrink(view.xray, _PIXELS)
        fine = render(volume.coarser(voxels_for([view], _PIXELS, _SPACING)), matched.carm, own, beam)[0].cpu()
        unit = min(_NEAR_MM / pixel_at_isocenter(matched.carm), _NEAR_PIXELS)
        parts.append(match_blocks(matched.image.cpu(), matched.mask.cpu(), fine).in_units(unit))
        near = max(near, _LEAST_NEAR / unit)
        alone.append(_evidence(parts[-1], max(_LEAST_NEAR / unit, 1.0), deviation, placement, number))
    # one view that contradicts is not outvoted
    evidence = min(alone, key=_right)
    if len(views) == 1 or _right(evidence) >= _CONTRADICTION:
        evidence = _evidence(BlockMatches.cat(parts), near, deviation, placement)
    evidence = replace(evidence, distance_off=uncertainty.distance_off, distance_deviation=uncertainty.distance_deviation)
    return evidence, uncertainty.covariance, uncertainty.drr


def _log_odds_of_place(xray: Xray, volume: Volume, pose: Pose, covariance: Float[Tensor, "6 6"] | None) -> float:
    """See `Evidence.placement`: of a normal distribution about the files' placement, and an even one over the box that is searched."""
    placed = xray.placement_in(volume)
    if placed is None or covariance is None or not torch.isfinite(covariance).all():
        return 0.0
    moves, reach = (torch.tensor(sides, dtype=torch.float64).repeat_interleave(3) for sides in (_MOVES, REACH))
    away = difference_of_numbers(pose.numbers.double(), placed.numbers.double())[0]
    near = torch.distributions.MultivariateNormal(torch.zeros_like(away), covariance.double() + moves.square().diag())
    odds = near.log_prob(away) + (2 * reach).log().sum()
    return float(odds.clamp(0.0, _MOST_SAID))


def _evidence(matches: BlockMatches, near: float, deviation: float, placement: float, view: int | None = None) -> Evidence:
    return Evidence(
        agreement=matches.agreement(near),
        displacement=matches.displacement(near),
        likeness=matches.likeness,
        blocks=matches.blocks,
        deviation=deviation,
        placement=placement,
        view=view,
    )


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
    return _right(evidence) * _within(evidence.deviation)


def _right(evidence: Evidence) -> float:
    """Probability that the pose is the right optimum: its odds are against it being none that is known, or another that is."""
    own = odds(evidence)
    return own / (1 + own + evidence.rivals)


def odds(evidence: Evidence) -> float:
    """How much likelier a pose is the right optimum than a wrong one, by its own evidence.

    Parameters
    ----------
    evidence : Evidence
        Of one pose.

    Returns
    -------
    float
        Not negative.
    """
    found = evidence.agreement * evidence.blocks
    displacement = _with_chance(evidence.displacement, found, _CHANCE_DISPLACEMENT)
    likeness = _with_chance(evidence.likeness, evidence.blocks, _CHANCE_LIKENESS)
    score = _INTERCEPT - _BY_DISPLACEMENT * math.log(max(displacement, 0.02)) + _BY_LIKENESS * math.log(likeness / (1 - likeness))
    return math.exp(score + evidence.placement)


def _is_right_but_for_blocks(evidence: Evidence) -> bool:
    """Whether as good matches of more blocks would be enough."""
    return evidence.blocks < _PLENTY and _right(replace(evidence, blocks=_PLENTY)) >= LEAST_CONFIDENCE


def _with_chance(value: float, blocks: float, chance: float) -> float:
    """A mean over so many blocks and a few more as chance would have them, within 0 to 1."""
    return min(max((value * blocks + chance * _CHANCE_BLOCKS) / (blocks + _CHANCE_BLOCKS), 0.01), 0.99)


def _within(deviation: float) -> float:
    """Probability that an error of this standard deviation along both axes is at most the tolerance."""
    return -math.expm1(-((_TOLERANCE / deviation) ** 2) / 2)


class Doubt(StrEnum):
    """A kind of what speaks against a pose; each member equals its text."""

    SPREAD = "landmarks may be drawn elsewhere"
    DETAIL = "too little detail"
    PLACE = "detail is not where the CT has it"
    SYMMETRY = "another pose looks alike"
    CALIBRATION = "the distance to the detector is another"


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
    return tuple(reason if evidence.view is None else f"view {evidence.view}: {reason}" for reason in doubts(evidence).values())


def doubts(evidence: Evidence) -> dict[Doubt, str]:
    """What speaks against a pose, by its kind.

    Parameters
    ----------
    evidence : Evidence
        Of one pose.

    Returns
    -------
    dict of Doubt to str
        One line each; empty where the pose is trusted.
    """
    found, off, deviation = {}, evidence.distance_off, evidence.distance_deviation
    if evidence.agreement >= _MOSTLY and abs(off) > max(_WRONG, _CERTAIN * deviation):
        found[Doubt.CALIBRATION] = (
            f"the calibration seems wrong: source_to_detector would be {100 * off:+.1f} ± {100 * deviation:.1f} % from what is given; "
            "check it and the pixel spacing, or estimate it with the pose (--free, in Python free=)"
        )
    if confidence(evidence) >= LEAST_CONFIDENCE:
        return found
    within = _within(evidence.deviation)
    if evidence.rivals and confidence(replace(evidence, rivals=0.0)) >= LEAST_CONFIDENCE:
        found[Doubt.SYMMETRY] = (
            f"ambiguous: the body is nearly symmetric, and turned by {evidence.rival_turned:.0f} deg it looks alike; another view "
            "may tell, unless the body is alike from there, too"
        )
        return found
    right = _right(evidence)
    if within < max(LEAST_CONFIDENCE, right):
        far = f"landmarks may be drawn {evidence.deviation:.1f} mm from their place (standard deviation)"
        far = far if math.isfinite(evidence.deviation) else "the X-ray leaves open where landmarks are"
        found[Doubt.SPREAD] = f"{far}; give an X-ray of more pixels or a larger field, or another view"
    if evidence.blocks < 2 * _CHANCE_BLOCKS or (right < LEAST_CONFIDENCE and _is_right_but_for_blocks(evidence)):
        found[Doubt.DETAIL] = "the X-ray shows too little detail to tell; give one of more pixels or a larger field"
    elif not found or right < LEAST_CONFIDENCE:
        share = f"{100 * evidence.agreement:.0f} % of the X-ray's detail is where the CT would have it"
        seen = f"only {share}" if evidence.agreement < _MOSTLY else f"{share}, but not exactly: perhaps it is of another patient"
        found[Doubt.PLACE] = (
            f"{seen}; check the pixel spacing and the CT, or start nearer (--initial), or look from all around (--search anywhere)"
        )
    return found
