"""What a registration found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor

from xrcore.geometry import Pose


@dataclass(frozen=True, kw_only=True)
class Step:
    """A pose better than any before it on its level, and its similarity."""

    level: int
    pose: Pose
    similarity: float


# Called with the best step of its level so far, after each iteration; what it raises ends the refinement.
Watch = Callable[[Step], None]


def on_level(watch: Watch | None, level: int) -> Callable[[Pose, float], None] | None:
    """`watch` for a descent that knows poses and similarities, but not which level it is on."""
    if watch is None:
        return None
    best: list[Step] = []

    def see(pose: Pose, similarity: float) -> None:
        if not best or similarity > best[0].similarity:  # a level may try several descents
            best[:] = [Step(level=level, pose=pose, similarity=similarity)]
        watch(best[0])

    return see


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What `register` weighs; see `refinement.verify`.

    zncc, gradient, local: similarities at the pose, on a fixed level. attainable: what `local` could reach at this noise.
    disagreement: mean displacement [mm] of points in the CT between two half images' answers.
    """

    zncc: float
    gradient: float
    local: float
    attainable: float
    disagreement: float


@dataclass(frozen=True, kw_only=True)
class Registration:
    """Result of every refinement method, and of `register`.

    pose: the best pose met. similarity: its value. covariance: (6, 6) of the six numbers [deg, mm], or None where the
    similarity has no residual and no curvature was estimated. stop_reason: why it stopped, in words.
    trusted: the verdict of `register`; a bare refinement is never trusted, since nobody checked it.
    inverted: whether the X-ray had bone dark and was turned over. attempts: searches made. evidence: see `refinement.verify`.
    reasons: what spoke against trusting it. notes: remarks for the user. device: where `register` rendered and refined.
    """

    pose: Pose
    similarity: float
    covariance: Float[Tensor, "6 6"] | None
    stop_reason: str
    seconds: float
    initial: Pose
    method: str
    similarity_name: str
    evaluations: int
    history: tuple[Step, ...] = ()
    inverted: bool = False
    attempts: int = 1
    evidence: Evidence | None = None
    trusted: bool = False
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    stages: dict[str, float] = field(default_factory=dict)
    device: str = ""

    @property
    def standard_deviation(self) -> tuple[float, ...] | None:
        """Of rx, ry, rz [deg], tx, ty, tz [mm]."""
        if self.covariance is None:
            return None
        return tuple(self.covariance.diagonal().clamp_min(0).sqrt().tolist())
