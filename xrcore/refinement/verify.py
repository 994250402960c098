"""Is a pose right? Evidence that needs no truth.

A wrong optimum can score as high as a right one on another image, so no single score decides:

- zncc, gradient, local: the three similarities at the pose, at a level where noise has averaged out;
- disagreement: the X-ray is cut into two interleaved sets of blocks, each set is registered alone from the pose, and the two
  answers are compared. At a true pose both stay; at a false one the set that fits by chance pulls elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from xrcore.beam import Beam
from xrcore.ct.volume import Volume
from xrcore.errors import XrcoreError
from xrcore.geometry import Pose
from xrcore.geometry.rigid import apply
from xrcore.refinement.gauss_newton import descend
from xrcore.refinement.problem import Problem, shrink
from xrcore.refinement.multistart import corners
from xrcore.xray.image import Xray

_PIXELS, _SPACING = 128, 4.0
_BLOCK = 16  # pixels along the blocks of the two halves


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What speaks for a pose. disagreement: mean displacement [mm] of points in the CT between the two half images' answers."""

    zncc: float
    gradient: float
    local: float
    disagreement: float


def gather_evidence(xray: Xray, volume: Volume, pose: Pose, beam: Beam) -> Evidence:
    """Evidence for `pose`; costs about as much as one level of refinement."""
    small = shrink(xray, _PIXELS)
    grid = volume.coarser(_SPACING)
    scores = [float(Problem(small, grid, beam, name).value(pose)) for name in ("zncc", "gradient-zncc", "local-zncc")]
    rows, cols = small.carm.shape
    block = max(2, _BLOCK * max(rows, cols) // _PIXELS)
    even = (torch.arange(rows)[:, None] // block + torch.arange(cols) // block) % 2 == 0
    answers = []
    for half in (even, ~even):
        try:
            problem = Problem(replace(small, mask=small.mask & half), grid, beam, "gradient-zncc")
        except XrcoreError:  # a half without contrast has no answer of its own
            return Evidence(zncc=scores[0], gradient=scores[1], local=scores[2], disagreement=float("inf"))
        answers.append(descend(problem, pose, iterations=4, tolerance=0.02).pose)
    points = corners(volume)
    first, second = (apply(p.camera_from_world(small.carm, volume.isocenter), points) for p in answers)
    return Evidence(zncc=scores[0], gradient=scores[1], local=scores[2], disagreement=float((first - second).norm(dim=-1).mean()))


# Where right and wrong part, measured on right answers, wrong optima, and X-rays of other patients (benchmarks/trust.py).
_LEAST_ZNCC = 0.85
_LEAST_LOCAL = 0.80
_LARGEST_DISAGREEMENT = 6.0


def objections(evidence: Evidence) -> tuple[str, ...]:
    """What speaks against the pose, a line each; none means it is trusted."""
    found = []
    if not evidence.zncc >= _LEAST_ZNCC:
        found.append(f"the images are too different (ZNCC {evidence.zncc:.2f}, at least {_LEAST_ZNCC:g} wanted)")
    if not evidence.local >= _LEAST_LOCAL:
        found.append(f"details do not match (local ZNCC {evidence.local:.2f}, at least {_LEAST_LOCAL:g} wanted)")
    if not evidence.disagreement <= _LARGEST_DISAGREEMENT:
        found.append(f"two halves of the image disagree by {evidence.disagreement:.1f} mm (at most {_LARGEST_DISAGREEMENT:g} wanted)")
    return tuple(found)
