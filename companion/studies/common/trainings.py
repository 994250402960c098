"""Run a training of the plan, or load its model."""

from __future__ import annotations

import shutil
from pathlib import Path

from companion.studies.common.paths import Paths
from companion.studies.common.plan import Plan
from companion.studies.common.provenance import origin, write
from xrcore import PoseRegressor, XrcoreError, train
from xrcore.geometry import PAPER_CARM
from xrcore.utilities import check_writable, read_json


def make(plan: Plan, paths: Paths, name: str, *, device: str | None = None) -> PoseRegressor:
    """Train, continuing from a checkpoint where there is one.

    Parameters
    ----------
    plan : Plan
        That the training belongs to.
    paths : Paths
        Where its files go.
    name : str
        One of `plan.trainings`.
    device : str, optional
        "cpu", "cuda" or "auto", default the plan's. A GPU's noise in X-rays as acquired is another, of the same statistics.

    Returns
    -------
    PoseRegressor
        The model; one that was there is not trained again.

    Raises
    ------
    XrcoreError
        If the plan has no such training, or its model cannot be written.
    """
    if name not in plan.trainings:
        raise XrcoreError(f"profile {plan.name} has no training {name!r}; it has {', '.join(plan.trainings)}")
    training, folder = plan.trainings[name], paths.model(name)
    check_writable(folder, "setup", "made.json", "origin.json")
    _clear_unless_of(folder, training.setup)
    volume = training.subject.volume(training.settings.spacing)
    was_there = PoseRegressor.exists(folder)
    model = train(volume, PAPER_CARM, training.settings, out=folder, resume=True, device=device or plan.device)
    # the workflow removes its declared output before it calls; a model that was there came from where it came from
    kept = folder / "made.json"
    if not (was_there and kept.exists()):
        minutes, images = model.training["seconds"] / 60, model.training["images"]
        write(kept, origin(paths.root, seed=training.settings.seed, minutes=minutes, setup=training.setup, images=images))
    write(paths.origin(name), read_json(kept))
    return model


def _clear_unless_of(folder: Path, setup: str) -> None:
    """Remove a model or checkpoint of other settings; it is this workflow's own, and nobody asked for it any more."""
    mark = folder / "setup"
    if not (mark.exists() and mark.read_text(encoding="ascii") == setup):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        mark.write_text(setup, encoding="ascii")


def model_of(paths: Paths, name: str) -> PoseRegressor:
    """Load a model that the workflow trained.

    Parameters
    ----------
    paths : Paths
        Where its files are.
    name : str
        Of the training.

    Returns
    -------
    PoseRegressor
        The model.

    Raises
    ------
    XrcoreError
        If it is not there, saying which command trains it.
    """
    folder = paths.model(name)
    if not PoseRegressor.exists(folder):
        raise XrcoreError(f"{folder}: there is no model yet; `make reproduce PROFILE={paths.profile}` trains it")
    return PoseRegressor.load(folder)
