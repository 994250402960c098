"""Is a pose right? Evidence that needs no truth.

A wrong optimum, or another patient, can score as high as a right pose on a noisier image, so scores are judged by what was attainable:

- zncc, gradient, local: three similarities at the pose, at a fixed level where noise has averaged out;
- attainable: the local ZNCC that a perfect DRR would reach, given the X-ray's noise;
- disagreement: the X-ray is cut into two interleaved sets of blocks, each set says by its Gauss-Newton step where it would move the
  pose, and the two answers are compared. At a true pose both stay; at a false one each is pulled by what fits it by chance.

All of it comes from one render.
"""

from __future__ import annotations

import torch

from xrcore.beam import Beam
from xrcore.ct.volume import Volume
from xrcore.errors import XrcoreError
from xrcore.geometry import Pose
from xrcore.geometry.rigid import apply
from xrcore.refinement.gauss_newton import step
from xrcore.refinement.multistart import corners
from xrcore.refinement.noise import attainable_local_zncc
from xrcore.refinement.problem import shrink
from xrcore.refinement.result import Evidence
from xrcore.refinement.similarities import similarity
from xrcore.renderer import render_with_jacobian
from xrcore.xray.image import Xray

_PIXELS, _SPACING = 128, 4.0
_BLOCKS = 8  # along the longer side


def gather_evidence(xray: Xray, volume: Volume, pose: Pose, beam: Beam) -> Evidence:
    """Evidence for `pose`, one pose."""
    here = shrink(xray, _PIXELS)
    small = here.to(volume.device)
    grid = volume.coarser(_SPACING)
    image, jacobian = render_with_jacobian(grid, small.carm, pose, beam)
    zncc, gradient, local = (
        float(similarity(name).fit(small.image, small.mask).value(image)) for name in ("zncc", "gradient-zncc", "local-zncc")
    )
    attainable = attainable_local_zncc(here)  # on the processor: a GPU's convolutions round to ten bits
    rows, cols = small.carm.shape
    block = max(2, max(rows, cols) // _BLOCKS)
    even = ((torch.arange(rows)[:, None] // block + torch.arange(cols) // block) % 2 == 0).to(volume.device)
    points = corners(volume)
    answers = []
    for half in (even, ~even):
        try:
            fitted = similarity("gradient-zncc").fit(small.image, small.mask & half)
        except XrcoreError:  # a half without contrast has no answer of its own
            return Evidence(zncc=zncc, gradient=gradient, local=local, attainable=attainable, disagreement=float("inf"))
        normal = fitted.normal_equations(image, jacobian).cpu()
        change, _ = step(normal.gradient, normal.hessian, torch.full((1,), 1e-3, dtype=torch.float64))
        twist = (pose.twists(small.carm) @ change.unsqueeze(-1)).squeeze(-1)
        answers.append(apply(pose.moved(twist, small.carm).camera_from_world(small.carm, volume.isocenter), points))
    apart = float((answers[0] - answers[1]).norm(dim=-1).mean())
    return Evidence(zncc=zncc, gradient=gradient, local=local, attainable=attainable, disagreement=apart)


# Where right and wrong part, measured on right answers, wrong optima, and X-rays of other patients (benchmarks/trust.py).
_LEAST_ZNCC = 0.85
_LEAST_SHARE = 0.945  # of the attainable local ZNCC
_LARGEST_DISAGREEMENT = 6.0  # [mm]


def objections(evidence: Evidence) -> tuple[str, ...]:
    """What speaks against the pose, a line each; none means it is trusted."""
    found = []
    if not evidence.zncc >= _LEAST_ZNCC:
        found.append(f"the images are too different (ZNCC {evidence.zncc:.2f}, at least {_LEAST_ZNCC:g} wanted)")
    if not evidence.local >= _LEAST_SHARE * evidence.attainable:
        wanted = _LEAST_SHARE * evidence.attainable
        found.append(f"details do not match (local ZNCC {evidence.local:.3f}, at least {wanted:.3f} wanted at this noise)")
    if not evidence.disagreement <= _LARGEST_DISAGREEMENT:
        found.append(f"two halves of the image disagree by {evidence.disagreement:.1f} mm (at most {_LARGEST_DISAGREEMENT:g} wanted)")
    return tuple(found)
