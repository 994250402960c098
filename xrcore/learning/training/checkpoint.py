"""Checkpoints: all of a training's state, written so that an interrupted write cannot corrupt it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from xrcore._util.errors import XrcoreError
from xrcore._util.machine import package_versions
from xrcore.geometry import CArm
from xrcore.learning.models.identity import CtIdentity
from xrcore.learning.models.regressor import PACKAGES
from xrcore.learning.models.tensors import load_tensors, read_json, read_tensors, remove_pair, write_pair
from xrcore.learning.settings import TrainingSettings

FORMAT = "xrcore-checkpoint/2"
_STEM = "checkpoint"
_OPTIMISER = "optimiser."


@dataclass
class State:
    """The changing state of a training.

    Parameters
    ----------
    network, averaged : nn.Module
        The network, and the one of averaged weights; the same without averaging.
    optimiser : torch.optim.Optimizer
        Of the network.
    step : int
        Steps done.
    seconds : float
        Spent.
    origin : dict[str, Any]
        What the training began from, if from a model.
    sums : dict[str, float]
        Of loss and parts over the steps since the last row of the log, by name.
    summed : int
        How many steps these are.
    """

    network: nn.Module
    averaged: nn.Module
    optimiser: torch.optim.Optimizer
    step: int = 0
    seconds: float = 0.0
    origin: dict[str, Any] = field(default_factory=dict)
    sums: dict[str, float] = field(default_factory=dict)
    summed: int = 0


def write_checkpoint(folder: Path, state: State, settings: TrainingSettings, carm: CArm, ct: CtIdentity) -> None:
    """Write a checkpoint in the place of the one before.

    Parameters
    ----------
    folder : Path
        Of the training.
    state : State
        To be kept.
    settings : TrainingSettings
        Of the training.
    carm : CArm
        Its geometry.
    ct : CtIdentity
        Its CT.

    Raises
    ------
    XrcoreError
        If the disk refuses; the checkpoint before, if there is one, is then still whole.
    """
    tensors: dict[str, Tensor] = {f"network.{k}": v for k, v in state.network.state_dict().items()}
    if state.averaged is not state.network:
        tensors |= {f"averaged.{k}": v for k, v in state.averaged.state_dict().items()}
    for index, values in state.optimiser.state_dict()["state"].items():
        tensors |= {f"{_OPTIMISER}{index}.{k}": torch.as_tensor(v) for k, v in values.items() if v is not None}
    record = {
        "format": FORMAT,
        "settings": settings.to_dict(),
        "carm": carm.to_dict(),
        "ct": ct.to_dict(),
        "versions": package_versions(*PACKAGES),
        "step": state.step,
        "images": state.step * settings.batch,
        "seconds": state.seconds,
        "origin": state.origin,
        "sums": state.sums,
        "summed": state.summed,
    }
    write_pair(folder, _STEM, tensors, record)


def read_checkpoint(folder: Path, state: State, settings: TrainingSettings, carm: CArm, ct: CtIdentity) -> None:
    """Restore the state of a checkpoint.

    Parameters
    ----------
    folder : Path
        Of the training.
    state : State
        Changed in place.
    settings : TrainingSettings
        Of the training.
    carm : CArm
        Its geometry.
    ct : CtIdentity
        Its CT.

    Raises
    ------
    XrcoreError
        If the checkpoint is damaged or belongs to another training; the message names what differs.
    """
    path = folder / f"{_STEM}.json"
    record = read_json(path, FORMAT)
    try:
        before = TrainingSettings.from_dict(record["settings"])
        before_carm, before_ct = CArm(**record["carm"]), CtIdentity.from_dict(record["ct"])
        step, seconds, origin = int(record["step"]), float(record["seconds"]), dict(record["origin"])
        sums, summed = {str(name): float(value) for name, value in record["sums"].items()}, int(record["summed"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise XrcoreError(f"{path}: the checkpoint is damaged ({error})") from None
    if found := difference(before, settings):
        raise XrcoreError(f"{path}: this training began with {found}; go on as it began, or start in another folder")
    if found := carm_difference(before_carm, carm):
        raise XrcoreError(f"{path}: this training began with another C-arm geometry: {found}")
    if found := before_ct.differs(ct):
        raise XrcoreError(f"{path}: this training began with another CT: {found}")
    tensors = read_tensors(folder, record)
    for prefix, module in (("network.", state.network), ("averaged.", state.averaged)):
        part = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        if prefix == "network." or module is not state.network:
            load_tensors(module, part, str(path))
    inner: dict[int, dict[str, Tensor]] = {}
    groups = state.optimiser.state_dict()["param_groups"]
    try:
        for name, value in tensors.items():
            if name.startswith(_OPTIMISER):
                index, key = name.removeprefix(_OPTIMISER).split(".", 1)
                inner.setdefault(int(index), {})[key] = value
        state.optimiser.load_state_dict({"state": inner, "param_groups": groups})
        for parameter, values in state.optimiser.state.items():
            for key, value in values.items():
                if key != "step":  # a number for each weight, in the same order in memory: the optimiser runs through both as they lie
                    values[key] = torch.empty_like(parameter).copy_(value.view_as(parameter))
    except (KeyError, RuntimeError, ValueError) as error:
        raise XrcoreError(f"{path}: the optimiser's state does not fit ({error})") from None
    state.step, state.seconds, state.origin, state.sums, state.summed = step, seconds, origin, sums, summed


@contextmanager
def tell_what_is_kept(folder: Path | None) -> Iterator[None]:
    """Add to an error of the block, which writes, what is left of the training.

    Parameters
    ----------
    folder : Path, optional
        Of the training.

    Yields
    ------
    None
        For the block to write.

    Raises
    ------
    XrcoreError
        That of the block, saying whether a checkpoint is left.
    """
    try:
        yield
    except XrcoreError as error:
        there = folder is not None and exists(folder)
        kept = "the checkpoint before is whole: make room and go on with --resume" if there else "there is no checkpoint yet: begin again"
        raise XrcoreError(f"{error}; {kept}") from None


def exists(folder: Path) -> bool:
    """Return whether there is a checkpoint.

    Parameters
    ----------
    folder : Path
        Of the training.

    Returns
    -------
    bool
        Whether it has one.
    """
    return (folder / f"{_STEM}.json").exists()


def remove(folder: Path) -> None:
    """Remove the checkpoint, once the model is written.

    Parameters
    ----------
    folder : Path
        Of the training.
    """
    remove_pair(folder, _STEM)


def difference(before: TrainingSettings, settings: TrainingSettings) -> str | None:
    """Name the first field in which two trainings' settings differ.

    Parameters
    ----------
    before, settings : TrainingSettings
        Of the one and the other.

    Returns
    -------
    str or None
        Such as "seed=0, not 1"; None where they are the same.
    """
    return _first_other(_flat(before.to_dict()), _flat(settings.to_dict()))


def carm_difference(before: CArm, carm: CArm) -> str | None:
    """Name the first parameter in which two geometries differ.

    Parameters
    ----------
    before, carm : CArm
        The one and the other.

    Returns
    -------
    str or None
        Such as "source_to_detector=1000.0, not 1200.0"; None where they are the same.
    """
    return _first_other(before.to_dict(), carm.to_dict())


def _first_other(before: dict[str, Any], now: dict[str, Any]) -> str | None:
    return next((f"{name}={before.get(name)!r}, not {value!r}" for name, value in now.items() if before.get(name) != value), None)


def _flat(values: dict[str, Any]) -> dict[str, Any]:
    inner = values["architecture"]
    return {k: list(v) if isinstance(v, tuple) else v for k, v in {**values, **inner}.items() if k != "architecture"}
