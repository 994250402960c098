"""Compare an answer with others along the direction that its X-rays leave open.

A small bone in one X-ray looks much the same nearer to the detector or further away. What tells them apart, fractions of a pixel along its
edges, has several optima, and a descent ends in the one that its start led to. Over the pixels around its own shadow each looks good, the
further the better, since a smaller shadow has less beside it: they are compared over the same pixels.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from xrcore.beam import Beam
from xrcore.ct.volume import Volume
from xrcore.geometry import Pose
from xrcore.registration.box_corners import corners
from xrcore.registration.compared_descents import descents_compared, moved_to_end
from xrcore.registration.events import Events, stage
from xrcore.registration.linearisation import moved_by_numbers
from xrcore.registration.result import Registration
from xrcore.registration.solvers.gauss_newton import GaussNewton
from xrcore.registration.verify import judged

_OPEN = 5.0  # [mm] of standard deviation, from which other optima are looked for
_STARTS = (-2.0, -1.0, 1.0, 2.0)  # standard deviations
_FARTHEST = 100.0  # [mm] that a standard deviation counts at most
_BETTER = 1e-3  # in similarity, than what the answer itself leads to
_ROUNDS = 3  # times that a better answer than the last is looked for


def direction_left_open(result: Registration, volume: Volume) -> tuple[Float[Tensor, "6"], float] | None:
    """Find the direction in which points of the body are least certain in space.

    Parameters
    ----------
    result : Registration
        With its covariance.
    volume : Volume
        The body.

    Returns
    -------
    tuple of Float[Tensor, "6"] and float, or None
        One standard deviation of the six numbers along it [deg, mm], and how far points move by that [mm], root mean square. None where
        points are certain to within 5 mm, or nothing is known.
    """
    if result.covariance is None or not torch.isfinite(result.covariance).all():
        return None
    variances, directions = torch.linalg.eigh(result.covariance.double())
    root = directions * variances.clamp_min(0).sqrt()
    moved = moved_by_numbers(result.pose, result.views[0].carm, volume, corners(volume)) @ root
    squares, axes = torch.linalg.eigh(torch.einsum("nai,naj->ij", moved, moved) / len(moved))
    return (root @ axes[:, -1], float(squares[-1].sqrt())) if squares[-1] >= _OPEN**2 else None


def open_note(result: Registration, volume: Volume) -> tuple[str, ...]:
    """A remark on where points of the body are in space, if that is open."""
    found = direction_left_open(result, volume)
    if found is None:
        return ()
    images = "X-ray leaves" if len(result.views) == 1 else "X-rays leave"
    return (f"the {images} depth open: in space, points are known to ± {found[1]:.0f} mm (standard deviation); give another view",)


def settled(result: Registration, volume: Volume, beam: Beam, settings: GaussNewton) -> Events[Registration]:
    """Go on to better answers along the open direction while there are any, and judge them.

    Parameters
    ----------
    result : Registration
        Judged.
    volume : Volume
        The body.
    beam : Beam
        The one assumed.
    settings : GaussNewton
        Whose finest levels are descended.

    Returns
    -------
    Registration
        Judged; the same where nothing is open, or nothing better is found.
    """
    for _ in range(_ROUNDS):
        there = direction_left_open(result, volume)
        if there is None:
            break
        yield stage("comparing other depths")
        direction, size = there
        found, elsewhere = yield from _best_along(result, direction * min(1.0, _FARTHEST / size), volume, beam, settings)
        result = judged(found, volume, beam)
        if not elsewhere:
            break
    return result


def _best_along(
    result: Registration, direction: Float[Tensor, "6"], volume: Volume, beam: Beam, settings: GaussNewton
) -> Events[tuple[Registration, bool]]:
    """The best of the ends of descents from the answer and from some times `direction` away, and whether it is one of the latter."""
    starts = Pose(result.pose.numbers.double() + torch.tensor([0.0, *_STARTS], dtype=torch.float64)[:, None] * direction)
    course, evaluations = yield from descents_compared(result.views, volume, starts, beam, settings)
    value = course.descent.value.nan_to_num(nan=-torch.inf)
    elsewhere = bool(value.max() > value[0] + _BETTER)
    best = int(value.argmax()) if elsewhere else 0
    return replace(moved_to_end(result, course, best), evaluations=result.evaluations + evaluations), elsewhere
