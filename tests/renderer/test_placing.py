"""Volumes on the device that renders them."""

from __future__ import annotations

import logging
import weakref

import pytest
import torch

from xrcore._util import devices
from xrcore._util.device_memory import OUT_OF_MEMORY, NoRoomError
from xrcore._util.errors import XrcoreError
from xrcore.ct import Volume
from xrcore.geometry.presets import PAPER_CARM
from xrcore.learning.training.loop import train
from xrcore.phantom import pelvis
from xrcore.registration.pipeline import register
from xrcore.renderer import place
from xrcore.xray import Xray


def test_auto_goes_back_to_the_processor_where_a_gpu_has_no_room(monkeypatch, caplog):
    caplog.set_level(logging.INFO, logger="xrcore")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    monkeypatch.setattr(devices, "_chosen", lambda: (torch.device("cuda"), ""))
    volume = pelvis(spacing=10.0)
    to = Volume.to

    def refuse(self, device):
        if torch.device(device).type == "cuda":
            raise NoRoomError("the volume does not fit")
        return to(self, device)

    monkeypatch.setattr(Volume, "to", refuse)
    assert place(volume, "auto", "registering", spacing=10.0) is volume
    threads = torch.get_num_threads()
    assert caplog.messages == [f"registering on the CPU, {threads} thread{'s' if threads > 1 else ''} (the volume does not fit)"]
    with pytest.raises(XrcoreError, match="the volume does not fit"):
        place(volume, "cuda", "registering", spacing=10.0)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(XrcoreError, match="the volume does not fit"):  # the others of a team would not follow
        place(volume, "auto", "registering", spacing=10.0)


def test_a_packed_volume_without_room_says_so(monkeypatch):
    def full(_):
        raise OUT_OF_MEMORY("out of memory")

    volume = pelvis(spacing=10.0)
    monkeypatch.setattr("xrcore.renderer.placing.pack", full)
    assert place(volume, "cpu", "registering", spacing=10.0) is volume  # where it is packed when it is rendered
    monkeypatch.setattr("xrcore.renderer.placing.choose_backend", lambda volume: "cuda")
    with pytest.raises(NoRoomError, match="packed, does not fit into the memory of cpu"):
        place(volume, "cpu", "registering", spacing=10.0)
    packed = []
    monkeypatch.setattr("xrcore.renderer.placing.pack", packed.append)
    assert place(volume, "cpu", "registering", spacing=20.0) is volume
    assert packed == [volume.coarser(20.0)]  # what will be rendered, and no more


def test_a_failed_placement_keeps_no_memory(monkeypatch):
    tried = []

    def full(volume):
        tried.append(weakref.ref(volume.density))
        raise OUT_OF_MEMORY("out of memory")

    volume = pelvis(spacing=10.0)
    monkeypatch.setattr("xrcore.renderer.placing.pack", full)
    monkeypatch.setattr("xrcore.renderer.placing.choose_backend", lambda volume: "cuda")
    for spacing in (10.0, 20.0):
        with pytest.raises(NoRoomError, match="does not fit into the memory of meta") as error:
            place(volume, torch.device("meta"), "registering", spacing=spacing)
        assert tried.pop()() is None, error  # although the error, with its traceback, is still there


def test_register_and_train_work_where_they_are_placed(monkeypatch):
    class Placed(Exception):
        pass

    def asked(volume, name, work, *, spacing):
        raise Placed(name, work, spacing)

    volume = pelvis(spacing=10.0)
    xray = Xray(image=torch.eye(8), carm=PAPER_CARM.resized((8, 8)))
    monkeypatch.setattr("xrcore.registration.pipeline.place", asked)
    monkeypatch.setattr("xrcore.learning.training.loop.place", asked)
    with pytest.raises(Placed, match=r"'auto', 'registering', 2\.0"):
        register(xray, volume, device="auto")
    with pytest.raises(Placed, match=r"'auto', 'training', 3\.0"):
        train(volume, PAPER_CARM)
