"""Devices by name, and what is logged of the choice."""

from __future__ import annotations

import logging
import subprocess

import pytest
import torch

from xrcore._util import devices
from xrcore._util.device_memory import OUT_OF_MEMORY
from xrcore._util.devices import named_device
from xrcore._util.errors import XrcoreError


@pytest.fixture(autouse=True)
def lines_seen(caplog):
    caplog.set_level(logging.INFO, logger="xrcore")


def pretend_gpu(monkeypatch, *, triton: bool = True, fails: str = "") -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 8)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Some GPU")
    monkeypatch.setattr(devices, "triton_installed", lambda: triton)
    monkeypatch.setattr(devices, "_launch_fails", lambda device: fails)


def test_auto_is_the_processor_without_a_gpu(monkeypatch, caplog):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert named_device("auto", "training") == torch.device("cpu")
    assert caplog.messages == []  # there was no choice
    named_device("auto", "training", always_log=True)
    threads = torch.get_num_threads()
    assert caplog.messages == [f"training on the CPU, {threads} thread{'s' if threads > 1 else ''} ({devices.no_gpu()})"]


def test_auto_is_a_gpu_and_says_so_once(monkeypatch, caplog):
    pretend_gpu(monkeypatch)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert named_device("auto", "training") == torch.device("cuda")
    named_device("auto", "training")
    named_device("auto", "registering")
    named_device("auto")
    assert caplog.messages == [f"{work} on cuda (Some GPU), rendering included" for work in ("training", "registering")]
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert named_device("auto") == torch.device("cuda", 3)


def test_auto_leaves_a_gpu_alone_that_cannot_render(monkeypatch, caplog):
    pretend_gpu(monkeypatch, triton=False)
    assert named_device("auto", "training") == torch.device("cpu")
    (message,) = caplog.messages
    assert "a GPU is there, but Triton" in message
    assert "pip install" in message


def test_auto_leaves_a_gpu_alone_on_which_no_kernel_runs(monkeypatch, caplog):
    pretend_gpu(monkeypatch, fails="Triton cannot run a kernel there (RuntimeError: no C compiler)")
    assert named_device("auto", "training") == torch.device("cpu")
    assert "a GPU is there, but Triton cannot run a kernel there (RuntimeError: no C compiler)" in caplog.messages[0]
    assert named_device("cuda") == torch.device("cuda")  # torch may still serve it


@pytest.mark.skipif(not devices.triton_installed(), reason="Triton is not installed (the gpu extra)")
def test_a_launch_shows_whether_kernels_run(monkeypatch):
    assert devices.kernel_obstacle(torch.device("cuda" if torch.cuda.is_available() else "cpu")) == ""  # else in the interpreter

    def broken(device):
        raise RuntimeError("Failed to find C compiler.\nPlease specify via CC")

    def without_headers(device):
        raise subprocess.CalledProcessError(1, ["gcc"])

    def full(device):
        raise OUT_OF_MEMORY("no room")

    def why(launch) -> str:
        devices._launch_fails.cache_clear()
        monkeypatch.setattr("xrcore._util.triton_check.launch", launch)
        try:
            return devices.kernel_obstacle(torch.device("cpu"))
        finally:
            if launch is not full:
                devices._launch_fails.cache_clear()

    assert why(broken) == "Triton cannot run a kernel there (RuntimeError: Failed to find C compiler.)"
    assert "a C compiler and Python's headers" in why(without_headers)
    assert why(full) == "its memory is full"
    monkeypatch.setattr("xrcore._util.triton_check.launch", lambda device: None)
    assert devices.kernel_obstacle(torch.device("cpu")) == ""  # which passes
    devices._launch_fails.cache_clear()


@pytest.mark.skipif(not devices.triton_installed(), reason="Triton is not installed (the gpu extra)")
def test_a_kernel_that_computes_something_else_is_noticed(monkeypatch):
    from xrcore._util import triton_check as probe

    monkeypatch.setattr(probe, "_increment", {(1,): lambda number: None})
    with pytest.raises(RuntimeError, match="computed something else"):
        probe.launch(torch.device("cuda" if torch.cuda.is_available() else "cpu"))


def test_a_device_that_is_not_there_is_refused():
    for name in ("warp", "gpu", "", "mps", "meta", "cuda:one"):
        with pytest.raises(XrcoreError, match="not one of auto, cpu, cuda, cuda:0"):
            named_device(name)


def test_a_gpu_that_is_not_there_is_refused_with_the_reason(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", None)
    with pytest.raises(XrcoreError, match=r"^device cuda: not available here \(this PyTorch is a build without CUDA\); use cpu$"):
        named_device("cuda")
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    with pytest.raises(XrcoreError, match="torch sees no GPU"):
        named_device("cuda:1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert named_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(XrcoreError, match=r"device cuda:2: not available here \(GPUs are counted from 0, and there are 2\)"):
        named_device("cuda:2")
