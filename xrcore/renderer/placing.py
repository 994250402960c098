"""A volume where it is to be rendered, said in one line."""

from __future__ import annotations

import os

import torch

from xrcore._util.device_memory import OUT_OF_MEMORY, NoRoomError
from xrcore._util.devices import AUTO, device_text, named_device
from xrcore._util.logs import log_once
from xrcore.ct.volume import Volume
from xrcore.renderer.packing import pack
from xrcore.renderer.rendering import choose_backend


def place(volume: Volume, name: str | torch.device, work: str, *, spacing: float, always_log: bool = False) -> Volume:
    """The volume on the device of that name, see `devices.named_device`, ready to be rendered there.

    spacing: of the finest grid that will be rendered [mm], see `Volume.coarser`; on a GPU it is packed, to see whether it fits.
    "auto" leaves it on the processor where a GPU has no room for it, except in a team (torchrun), whose processes must do alike.
    Raises NoRoomError, an XrcoreError, where the device named has no room.
    """
    device = named_device(name)
    try:
        there = _ready(volume, device, spacing)
    except NoRoomError as error:
        if name != AUTO or "WORLD_SIZE" in os.environ:
            raise
        device = torch.device("cpu")
        log_once(f"{work} on {device_text(device)} ({error})")
        return volume.to(device)
    named_device(name, work, always_log=always_log)
    return there


def _ready(volume: Volume, device: torch.device, spacing: float) -> Volume:
    there = volume.to(device)
    if choose_backend(there) == "cuda":
        try:
            pack(there.coarser(spacing))
        except OUT_OF_MEMORY:
            raise NoRoomError(f"{volume}, packed, does not fit into the memory of {device}; read it at a coarser spacing") from None
    return there
