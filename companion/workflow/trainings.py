"""Make a training of the plan, or find its model."""

from __future__ import annotations

import shutil
from pathlib import Path

from companion.workflow.paths import Places
from companion.workflow.plan import Plan
from companion.workflow.provenance import origin, write
from xrcore._util.errors import XrcoreError
from xrcore.geometry.presets import PAPER_CARM
from xrcore.learning.models import PoseRegressor
from xrcore.learning.training.loop import train


def make(plan: Plan, places: Places, name: str) -> PoseRegressor:
    """Train, going on from a checkpoint where there is one; a model that is there is returned."""
    if name not in plan.trainings:
        raise XrcoreError(f"profile {plan.name} has no training {name!r}; it has {', '.join(plan.trainings)}")
    training, folder = plan.trainings[name], places.model(name)
    _clear_unless_of(folder, training.setup)
    volume = training.subject.volume(training.settings.spacing)
    was_there = PoseRegressor.exists(folder)
    model = train(volume, PAPER_CARM, training.settings, out=folder, resume=True, device=plan.device)
    # the workflow removes its declared output before it calls; a model that was there came from where it came from
    kept = folder / "made.json"
    if not (was_there and kept.exists()):
        minutes, images = model.training["seconds"] / 60, model.training["images"]
        write(kept, origin(places.root, seed=training.settings.seed, minutes=minutes, setup=training.setup, images=images))
    shutil.copyfile(kept, places.origin(name))
    return model


def _clear_unless_of(folder: Path, setup: str) -> None:
    """Remove a model or checkpoint of other settings; it is this workflow's own, and nobody asked for it any more."""
    mark = folder / "setup"
    if not (mark.exists() and mark.read_text(encoding="ascii") == setup):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        mark.write_text(setup, encoding="ascii")


def model_of(places: Places, name: str) -> PoseRegressor:
    """A model that the workflow trained; raises XrcoreError saying which command trains it."""
    folder = places.model(name)
    if not PoseRegressor.exists(folder):
        raise XrcoreError(f"{folder}: there is no model yet; `make reproduce PROFILE={places.profile}` trains it")
    return PoseRegressor.load(folder)
