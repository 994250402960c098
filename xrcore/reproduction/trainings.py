"""Make a training of the plan, or find its model."""

from __future__ import annotations

import shutil

import torch

from xrcore.errors import XrcoreError
from xrcore.geometry.presets import PAPER_CARM
from xrcore.models import PoseRegressor
from xrcore.reproduction.places import Places
from xrcore.reproduction.plan import Plan
from xrcore.reproduction.provenance import origin, write
from xrcore.training.train import train


def make(plan: Plan, places: Places, name: str) -> PoseRegressor:
    """Train, going on from a checkpoint where there is one; a model that is there is returned."""
    if name not in plan.trainings:
        raise XrcoreError(f"profile {plan.name} has no training {name!r}; it has {', '.join(plan.trainings)}")
    training = plan.trainings[name]
    volume = training.subject.volume(training.settings.spacing)
    was_there = PoseRegressor.exists(places.model(name))
    model = train(volume, PAPER_CARM, training.settings, out=places.model(name), resume=True, device=device_of(plan))
    # the workflow removes its declared output before it calls; a model that was there came from where it came from
    kept = places.model(name) / "made.json"
    if not (was_there and kept.exists()):
        minutes, images = model.training["seconds"] / 60, model.training["images"]
        write(kept, origin(places.root, seed=training.settings.seed, minutes=minutes, setup=training.setup, images=images))
    shutil.copyfile(kept, places.origin(name))
    return model


def device_of(plan: Plan) -> str:
    if plan.device != "auto":
        return plan.device
    return "cuda" if torch.cuda.is_available() else "cpu"


def model_of(places: Places, name: str) -> PoseRegressor:
    """A model that the workflow trained; raises XrcoreError saying which command trains it."""
    folder = places.model(name)
    if not PoseRegressor.exists(folder):
        raise XrcoreError(f"{folder}: there is no model yet; `make reproduce PROFILE={places.profile}` trains it")
    return PoseRegressor.load(folder)
