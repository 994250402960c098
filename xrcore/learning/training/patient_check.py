"""Check before a training that a CT is suitable for it."""

from __future__ import annotations

import torch

from xrcore._util.errors import XrcoreError
from xrcore._util.threads import single_torch_thread
from xrcore.ct.volume import Volume
from xrcore.geometry import Pose
from xrcore.learning.training.stream import DrrStream
from xrcore.renderer import render

_VIEWS = 64
_SHADOW = 0.1  # attenuation of a pixel that sees the patient
_COVERED = 0.02  # share of the pixels that must see the patient
_BLANK = 0.05  # share of views that may show less


def check_patient(volume: Volume, stream: DrrStream) -> None:
    """Check that a CT holds bone and no NaN, and is large enough for the ranges of the poses.

    Parameters
    ----------
    volume : Volume
        The CT.
    stream : DrrStream
        Of its DRRs.

    Raises
    ------
    XrcoreError
        If it is not suitable.
    """
    if not torch.isfinite(volume.density).all():
        raise XrcoreError("train: the CT holds NaN or infinite densities; clean it")
    if not any(bool((volume.material(name) > 0).any()) for name in ("bone", "metal") if name in volume.materials):
        raise XrcoreError("train: the CT holds no bone, so its DRRs show nothing to learn from; are its values Hounsfield units?")
    numbers = torch.stack([torch.from_numpy(stream.pose(0, i)) for i in range(_VIEWS)])
    with torch.no_grad(), single_torch_thread():
        seen = (render(stream.volume, stream.carm.resized((32, 32)), Pose(numbers)) > _SHADOW).float().mean((1, 2))
    blank = float((seen < _COVERED).float().mean())
    if blank > _BLANK:
        size = " x ".join(f"{v:.0f}" for v in volume.extent)
        raise XrcoreError(
            f"train: the CT ({size} mm) is too small for these ranges: {100 * blank:.0f} % of the views do not show it; "
            "narrow --rotation or --translation"
        )
