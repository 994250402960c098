"""Tensors on disk: safetensors beside JSON that carries their hash. Reading never executes code from a file."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from xrcore._util import text_files
from xrcore._util.atomic import atomic_file
from xrcore._util.errors import XrcoreError, shown
from xrcore.learning.methods.base import LARGEST_NETWORK

_DESCRIPTION = "sha256 of the description"
_LARGEST_TENSORS = 17 * LARGEST_NETWORK  # bytes: weights, their average and two moments of 4 each, and what is beside them
_HEX = "[0-9a-f]" * 12  # pattern of the hash in a file's name


def write_pair(folder: Path, stem: str, tensors: Mapping[str, Tensor], record: Mapping[str, Any]) -> None:
    """Write STEM-<hash>.safetensors, then STEM.json that names it, then remove the tensors that STEM.json named before.

    A reader finds the old pair or the new one, also after a kill at any moment, of which the next call clears what is left.

    Parameters
    ----------
    folder : Path
        Made where there is none.
    stem : str
        Of the files' names.
    tensors : Mapping[str, Tensor]
        By name.
    record : Mapping[str, Any]
        What JSON can hold.

    Raises
    ------
    XrcoreError
        If the disk refuses; the old pair is then still there, and nothing else.
    """
    kept = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    content = save(kept, {_DESCRIPTION: _digest(record)})
    digest = hashlib.sha256(content).hexdigest()
    name = f"{stem}-{digest[:12]}.safetensors"
    text = json.dumps(dict(record) | {"tensors": {"file": name, "sha256": digest}}, indent=1, allow_nan=False)
    for rest in folder.glob(f".{stem}[-.]*.part*"):
        rest.unlink(missing_ok=True)
    there = (folder / name).exists()
    _write(folder / name, content)
    try:
        _write(folder / f"{stem}.json", text.encode() + b"\n")
    except XrcoreError:
        if not there:
            (folder / name).unlink(missing_ok=True)
        raise
    for old in folder.glob(f"{stem}-{_HEX}.safetensors"):
        if old.name != name:
            old.unlink(missing_ok=True)


def remove_pair(folder: Path, stem: str) -> None:
    """Remove what `write_pair` wrote, the JSON first, so that it never names what is gone.

    Parameters
    ----------
    folder : Path
        Where it was written.
    stem : str
        Of the files' names.
    """
    (folder / f"{stem}.json").unlink(missing_ok=True)
    for path in (*folder.glob(f"{stem}-{_HEX}.safetensors"), *folder.glob(f".{stem}[-.]*.part*")):
        path.unlink(missing_ok=True)


def read_json(path: Path, form: str) -> dict[str, Any]:
    """Read the record of a pair.

    Parameters
    ----------
    path : Path
        Of the JSON file.
    form : str
        Its `format`.

    Returns
    -------
    dict[str, Any]
        The record.

    Raises
    ------
    XrcoreError
        If it is missing, broken or of another format.
    """
    if not os.path.exists(path):
        raise XrcoreError(f"{path}: not found; a model is a folder that `xrcore train` wrote")
    record = text_files.read_json(path)
    if not isinstance(record, dict):
        raise XrcoreError(f"{path}: not a model's description")
    if record.get("format") != form:
        raise XrcoreError(f"{path}: format {shown(record.get('format'))} is unknown; this version reads {form}")
    return record


def read_tensors(folder: Path, record: Mapping[str, Any]) -> dict[str, Tensor]:
    """Read the tensors that a record names.

    Parameters
    ----------
    folder : Path
        Where the pair lies.
    record : Mapping[str, Any]
        As `read_json` returned it.

    Returns
    -------
    dict[str, Tensor]
        By name.

    Raises
    ------
    XrcoreError
        If they are missing, or not what was written: their hash, and theirs of the record, are checked.
    """
    named = record.get("tensors")
    if not (isinstance(named, dict) and isinstance(named.get("file"), str) and isinstance(named.get("sha256"), str)):
        raise XrcoreError(f"{folder}: the description names no tensors; it is damaged")
    path = folder / named["file"]
    if path.parent != folder:
        raise XrcoreError(f"{folder}: the description names tensors outside the folder ({shown(named['file'])})")
    content = text_files.read_bytes(path, _LARGEST_TENSORS)
    if hashlib.sha256(content).hexdigest() != named["sha256"]:
        raise XrcoreError(f"{path}: its sha256 is not the one written beside it; the file is damaged or was exchanged")
    try:
        tensors = load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    except (SafetensorError, ValueError, KeyError, RecursionError) as error:
        raise XrcoreError(f"{path}: not a safetensors file ({shown(str(error))})") from None
    about = header.get("__metadata__")
    if not isinstance(about, dict) or about.get(_DESCRIPTION) != _digest(record):
        raise XrcoreError(f"{folder}: the description was changed after it was written; the folder is damaged")
    return tensors


def _digest(record: Mapping[str, Any]) -> str:
    """Hash of a record without the tensors' name, as it reads back from JSON."""
    text = json.dumps({k: v for k, v in record.items() if k != "tensors"}, sort_keys=True)
    return hashlib.sha256(json.dumps(json.loads(text), sort_keys=True).encode()).hexdigest()


def load_tensors(module: torch.nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Copy tensors into a module's parameters and buffers.

    Parameters
    ----------
    module : nn.Module
        To be filled.
    tensors : Mapping[str, Tensor]
        By the names of its state.
    where : str
        Where they come from, for the message.

    Raises
    ------
    XrcoreError
        Naming the first that does not fit.
    """
    wanted = module.state_dict()
    for name in sorted(set(wanted) ^ set(tensors)):
        raise XrcoreError(f"{where}: {'lacks the tensor' if name in wanted else 'holds an unknown tensor'} {name!r}")
    for name, value in wanted.items():
        given = tensors[name]
        if given.shape != value.shape:
            raise XrcoreError(f"{where}: tensor {name!r} has shape {tuple(given.shape)}, the network needs {tuple(value.shape)}")
        if given.dtype.is_floating_point != value.dtype.is_floating_point or given.dtype.is_complex:
            raise XrcoreError(f"{where}: tensor {name!r} has the wrong type, {given.dtype}")
        if given.dtype.is_floating_point and not torch.isfinite(given).all():
            raise XrcoreError(f"{where}: tensor {name!r} holds NaN or infinite values")
    module.load_state_dict({name: tensors[name].to(value.dtype) for name, value in wanted.items()})


def _write(path: Path, content: bytes) -> None:
    with atomic_file(path) as temporary:
        temporary.write_bytes(content)
