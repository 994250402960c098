"""Sizes of the GPU benchmark: full, and tiny for a dry run."""

from __future__ import annotations

from dataclasses import dataclass, field

from xrcore.learning.training import TrainingSettings, profile
from xrcore.registration.search import SearchBox


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """body: grid that `voxels` cubed are resampled from [mm]. poses: that single images rotate through. batch: images a launch.

    registration: pixels, and the grids of X-ray and registration [mm]. steps: of a training, after some to warm up.
    """

    pixels: int = 256
    voxels: int = 256
    body: float = 1.5
    poses: int = 8
    batch: int = 64
    rounds: int = 20
    registration: tuple[int, float, float] = (256, 1.5, 2.0)
    search: SearchBox | None = None
    retries: int | None = None
    registrations: int = 20
    warm_up: int = 5
    steps: int = 30
    laptop: TrainingSettings = field(default_factory=lambda: profile("laptop"))
    paper: TrainingSettings = field(default_factory=lambda: profile("paper"))


# with GroupNorm, because BatchNorm's statistics after so few images may lead to poses beyond all bounds, whose error is no number
_NETWORK = profile("smoke").changed(
    pixels=32, bottleneck=16, hidden=32, tokens=16, decoder=16, norm_layer="group", images=16, batch=4, validation=4, validate_every=16,
    checkpoint_every=16,
)  # fmt: skip

FULL = Sizes()
# to run every line once
TINY = Sizes(
    pixels=8, voxels=8, body=8.0, poses=2, batch=1, rounds=1, registration=(64, 8.0, 8.0), search=SearchBox(candidates=16), retries=0,
    registrations=1, warm_up=1, steps=1, laptop=_NETWORK, paper=_NETWORK.changed(acquired=False, spacing=8.0),
)  # fmt: skip
