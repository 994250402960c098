"""Check a pose without ground truth.

A wrong optimum, or another patient, can score as high as a right pose on a noisier image, so scores are judged by what was attainable:

- zncc, gradient, local: three similarities at the pose, at a fixed level where noise has averaged out;
- attainable: the local ZNCC that a perfect DRR would reach, given the X-ray's noise;
- disagreement: the X-ray is cut into two interleaved sets of blocks, each set says by its Gauss-Newton step where it would move the
  pose, and the two answers are compared. At a true pose both stay; at a false one each is pulled by what fits it by chance.

All of it comes from one render.
"""

from __future__ import annotations

import math
from contextlib import suppress

import torch
from jaxtyping import Float
from torch import Tensor

from xrcore._util.errors import XrcoreError
from xrcore.beam import Beam
from xrcore.ct.volume import Volume
from xrcore.geometry import CArm, Pose
from xrcore.geometry.rigid import apply
from xrcore.registration.attainable_similarity import attainable_local_zncc
from xrcore.registration.problem import shrink
from xrcore.registration.result import Evidence
from xrcore.registration.search import corners
from xrcore.registration.similarities import similarity
from xrcore.registration.similarities.base import NormalEquations, fit_for
from xrcore.registration.solvers.levenberg_marquardt import step
from xrcore.renderer import render_with_jacobian
from xrcore.xray.image import Xray

_PIXELS, _SPACING = 128, 4.0
_BLOCKS = 8  # along the longer side


def gather_evidence(xray: Xray, volume: Volume, pose: Pose, beam: Beam) -> tuple[Evidence, Float[Tensor, "h w"]]:
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
        Measures of the pose; see `failed_checks`.
    drr : Float[Tensor, "h w"]
        The DRR that it comes from, on the grid of the X-ray shrunk to 128 pixels, on the CPU.
    """
    small, device = shrink(xray, _PIXELS), volume.device
    image, jacobian = render_with_jacobian(volume.coarser(_SPACING), small.carm, pose, beam)
    rows, cols = small.carm.shape
    block = max(2, max(rows, cols) // _BLOCKS)
    even = ((torch.arange(rows)[:, None] // block + torch.arange(cols) // block) % 2 == 0).to(small.mask.device)
    whole = [fit_for(device, similarity(name), small.image, small.mask).value(image) for name in ("zncc", "gradient-zncc", "local-zncc")]
    halves: list[NormalEquations] = []
    for half in (even, ~even):
        # a half without contrast has no answer of its own
        with suppress(XrcoreError):
            fitted = fit_for(device, similarity("gradient-zncc"), small.image, small.mask & half)
            halves.append(fitted.normal_equations(image, jacobian))
    attainable = attainable_local_zncc(small)  # while a GPU is at work
    zncc, gradient, local = torch.cat(whole).tolist()
    answers = [_moved(pose, half.cpu(), small.carm, volume) for half in halves]
    apart = float((answers[0] - answers[1]).norm(dim=-1).mean()) if len(answers) == 2 else math.inf
    return Evidence(zncc=zncc, gradient=gradient, local=local, attainable=attainable, disagreement=apart), image[0].cpu()


def _moved(pose: Pose, normal: NormalEquations, carm: CArm, volume: Volume) -> Float[Tensor, "1 8 3"]:
    """Where a Gauss-Newton step would bring the volume's corners, in the camera's frame [mm]."""
    change, _ = step(normal.gradient, normal.hessian, torch.full((1,), 1e-3, dtype=torch.float64))
    twist = (pose.twists(carm) @ change.unsqueeze(-1)).squeeze(-1)
    return apply(pose.moved(twist, carm).camera_from_world(carm, volume.isocenter), corners(volume))


# Thresholds, measured on correct poses, wrong local optima and other patients' X-rays (benchmarks/trust.py).
_LEAST_ZNCC = 0.85
_LEAST_SHARE = 0.945  # of the attainable local ZNCC
_LARGEST_DISAGREEMENT = 6.0  # [mm]


def failed_checks(evidence: Evidence) -> tuple[str, ...]:
    """Return one message per failed check.

    Parameters
    ----------
    evidence : Evidence
        Of one pose.

    Returns
    -------
    tuple of str
        One message per failed check; none means the pose is trusted.
    """
    found = []
    if not evidence.zncc >= _LEAST_ZNCC:
        found.append(f"the images are too different (ZNCC {evidence.zncc:.2f}, at least {_LEAST_ZNCC:g} wanted)")
    if not evidence.local >= _LEAST_SHARE * evidence.attainable:
        wanted = _LEAST_SHARE * evidence.attainable
        found.append(f"details do not match (local ZNCC {evidence.local:.3f}, at least {wanted:.3f} wanted at this noise)")
    if not evidence.disagreement <= _LARGEST_DISAGREEMENT:
        found.append(f"two halves of the image disagree by {evidence.disagreement:.1f} mm (at most {_LARGEST_DISAGREEMENT:g} wanted)")
    return tuple(found)
