"""Put a volume on the device that renders it."""

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
    """Put a volume on a device, ready to be rendered there.

    Parameters
    ----------
    volume : Volume
        What is to be rendered.
    name : str or torch.device
        The device: "auto", "cpu", "cuda", "cuda:1". "auto" is a GPU where there is one that can render and has room for the volume, else
        the processor; in a team of processes (torchrun), which must do alike, it does not look at the room.
    work : str
        What it is for, such as "training", in the line that is logged where "auto" had a choice.
    spacing : float
        Of the finest grid that will be rendered [mm], see `Volume.coarser`; on a GPU it is packed, to see whether it fits.
    always_log : bool
        Log also where "auto" had no choice.

    Returns
    -------
    Volume
        On that device.

    Raises
    ------
    XrcoreError
        If there is no such device, or the one named has no room.
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
    if choose_backend(there) != "cuda":
        return there
    try:
        pack(there.coarser(spacing))
        return there
    except OUT_OF_MEMORY:
        pass
    # outside the handler, whose traceback still holds what was allocated
    volume.forget(there.device)
    del there
    if device.type == "cuda":
        torch.cuda.empty_cache()
    raise NoRoomError(f"{volume}, packed, does not fit into the memory of {device}; read it at a coarser spacing")
