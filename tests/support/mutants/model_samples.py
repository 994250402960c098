"""A trained model and a checkpoint: descriptions and weights, damaged as they lie there and with hashes that fit the damage."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import torch
from support.mutants.byte_mutations import damaged
from support.mutants.guarded import Found, Sample
from support.trainings import CARM, TINY, patient

from xrcore.learning.methods import method_named
from xrcore.learning.models import PoseRegressor
from xrcore.learning.models.identity import CtIdentity
from xrcore.learning.models.tensors import read_tensors, write_pair
from xrcore.learning.training.checkpoint import State, read_checkpoint, write_checkpoint
from xrcore.learning.training.optimisation import optimiser_for

SETTINGS = TINY.changed(method="grimm", ema=0.0)
ODD: list[Any] = [None, True, -1, 0, 1, 3, 0.5, 1e9, 10**9, 10**17, 1e-300, "", "x", "psss", [], {}, [1], [1, 2, 3], {"x": 1}, "../x"]


def samples(folder: Path) -> dict[str, Sample]:
    """By name."""
    network = method_named(SETTINGS.method)(SETTINGS).network()
    identity = CtIdentity.of(patient())
    training = {"spread": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], "images": 32}
    PoseRegressor(network, SETTINGS, CARM, identity, training).save(folder / "model")
    optimiser = optimiser_for(network, SETTINGS)
    (folder / "checkpoint").mkdir()
    write_checkpoint(folder / "checkpoint", State(network, network, optimiser, step=3), SETTINGS, CARM, identity)
    reads = {"model": partial(_model, folder / "model"), "checkpoint": partial(_checkpoint, folder / "checkpoint", identity)}
    found = {}
    for stem, read in reads.items():
        path = folder / stem / f"{stem}.json"
        (tensors,) = path.parent.glob("*.safetensors")
        found[path.name] = Sample(path, read, [partial(_field_set, path=path), partial(_weights_exchanged, path=path)], [damaged])
        found[f"weights of a {stem}"] = Sample(tensors, read, [], [damaged])
    return found


def _model(folder: Path) -> Found:
    model = PoseRegressor.load(folder)
    return Found(_digest(model.network), repr((model.settings, model.carm, model.ct, model.training)))


def _checkpoint(folder: Path, identity: CtIdentity) -> Found:
    network = method_named(SETTINGS.method)(SETTINGS).network()
    state = State(network, network, optimiser_for(network, SETTINGS))
    read_checkpoint(folder, state, SETTINGS, CARM, identity)
    return Found(_digest(network), repr((state.step, state.seconds, state.origin)))


def _digest(network: torch.nn.Module) -> str:
    content = b"".join(value.numpy().tobytes() for value in network.state_dict().values())
    return hashlib.sha256(content).hexdigest()


def _field_set(data: bytes, draw: random.Random, path: Path) -> bytes:
    """A value of the description replaced by an odd one, or dropped, and the hashes made to fit."""
    record = json.loads(data)
    where = record
    while True:
        key = draw.choice([key for key in where if key != "tensors"])
        if not isinstance(where[key], dict) or not where[key] or draw.random() < 0.1:
            break
        where = where[key]
    if draw.random() < 0.1:
        del where[key]
    else:
        where[key] = draw.choice(ODD)
    original = json.loads(data)
    tensors = read_tensors(path.parent, original)
    write_pair(aside := path.parent / "aside", path.stem, tensors, {k: v for k, v in record.items() if k != "tensors"})
    written = json.loads((aside / path.name).read_text())
    shutil.move(aside / written["tensors"]["file"], path.parent / "other.safetensors")
    return json.dumps(record | {"tensors": {"file": "other.safetensors", "sha256": written["tensors"]["sha256"]}}).encode()


def _weights_exchanged(data: bytes, draw: random.Random, path: Path) -> bytes:
    """Damaged weights, and the description with their hash."""
    record = json.loads(data)
    content = (path.parent / record["tensors"]["file"]).read_bytes()
    at = 8 + int.from_bytes(content[:8], "little")
    content = damaged(content[:at], draw) + content[at:] if draw.random() < 0.7 else damaged(content, draw)
    (path.parent / "other.safetensors").write_bytes(content)
    return json.dumps(record | {"tensors": {"file": "other.safetensors", "sha256": hashlib.sha256(content).hexdigest()}}).encode()
