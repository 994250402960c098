"""Start models: networks trained on several patients, whose weights the training for the next patient begins with."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import torch

from xrcore._util.errors import require
from xrcore._util.out_of_memory import memory_advice
from xrcore.ct.volume import Volume
from xrcore.geometry import CArm
from xrcore.learning.models.regressor import PoseRegressor
from xrcore.learning.settings import TrainingSettings
from xrcore.learning.training.loop import check_arguments, finished, training_steps
from xrcore.renderer import place

_SHIPPED = Path(__file__).parents[3] / "models" / "start"  # in the repository; an installed wheel has none


def shipped_start_model() -> Path | None:
    """Find the start model that the repository keeps.

    Returns
    -------
    Path or None
        Its folder; None where only the package is installed, without the repository.
    """
    return _SHIPPED if PoseRegressor.exists(_SHIPPED) else None


@memory_advice("train_start", "fewer CTs, a smaller batch, fewer pixels or a larger spacing need less")
def train_start(
    volumes: Sequence[Volume],
    carm: CArm,
    config: TrainingSettings | None = None,
    *,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    start: PoseRegressor | None = None,
    device: str | torch.device = "auto",
    progress: bool = False,
) -> PoseRegressor:
    """Train a start model: one network on DRRs of several patients, mixed in each batch.

    It predicts for no patient; `xrcore.train(..., start=model)` begins with its weights. Poses are relative to each CT's own isocentre.

    Parameters
    ----------
    volumes : Sequence[Volume]
        CTs of at least two patients.
    carm : CArm
        The geometry, of any number of pixels.
    config : TrainingSettings, optional
        Default the laptop's profile.
    out : str or PathLike, optional
        Folder for model, checkpoints and log; without it nothing is written.
    resume : bool
        Go on from `out`'s checkpoint, if there is one; a finished training's model is returned.
    start : PoseRegressor, optional
        A model of the same architecture whose weights to begin with, such as one patient's.
    device : str or torch.device
        Where to render and learn: "cpu", "cuda", or "auto", a GPU where there is one.
    progress : bool
        Show a progress bar on stderr.

    Returns
    -------
    PoseRegressor
        The start model. The error of its validation is of all patients, at the landmarks of the first.

    Raises
    ------
    XrcoreError
        As `xrcore.train`, and for a method whose network is made for one patient.

    Examples
    --------
    >>> import xrcore as xr
    >>> from xrcore.learning import train_start
    >>> volumes = [xr.phantom.pelvis(seed, spacing=8.0) for seed in (1, 2)]
    >>> carm = xr.CArm(source_to_detector=1259.65, source_to_isocenter=742.5, shape=(64, 64), pixel_spacing=6.75)
    >>> settings = xr.TrainingSettings(images=32, validation=4, spacing=8.0).changed(pixels=64)
    >>> start = train_start(volumes, carm, settings)
    >>> xr.train(xr.phantom.pelvis(3, spacing=8.0), carm, settings, start=start)
    PoseRegressor(psss, 64 x 64 pixels, 32 images seen)
    """
    settings = TrainingSettings() if config is None else config
    several = isinstance(volumes, (list, tuple)) and len(volumes) > 1 and all(isinstance(one, Volume) for one in volumes)
    require("train_start", "volumes", volumes if not several else "", several, "a list of at least two Volumes")
    check_arguments("train_start", carm, settings, out, start)
    folder = None if out is None else Path(out)
    where = place(max(volumes, key=lambda one: one.density.numel()), device, "training", spacing=settings.spacing).device
    return finished(training_steps(volumes, carm, settings, folder=folder, resume=resume, start=start, device=where, progress=progress))
