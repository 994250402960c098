"""Shared fixtures."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from commands import Done

from xrcore._util import devices
from xrcore._util.logs import log_once
from xrcore.cli import main

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")  # before the kernels are imported


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real CTs and X-rays, where a mirror of the data lies beside the repository or XRCORE_DATA_MIRROR names one."""
    root = Path(os.environ.get("XRCORE_DATA_MIRROR", Path(__file__).parents[2] / "shared" / "data"))
    if not (root / "registry.csv").is_file():
        pytest.skip(f"real data not found: {root.name!r} beside the repository is absent and XRCORE_DATA_MIRROR is not set")
    return root


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Callable[..., Done]]:
    """Run the command line in this process; stderr as the file descriptor sees it, C++ libraries included."""
    handler = signal.getsignal(signal.SIGTERM)

    def call(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["xrcore", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        return Done(ended.value.code, *capfd.readouterr())

    yield call
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture(autouse=True)
def auto_is_the_processor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also on a machine with a GPU: tests that are about one name it."""
    if torch.cuda.is_available() and request.module.__name__.rpartition(".")[2] not in ("test_devices", "test_placing"):
        monkeypatch.setattr(devices, "_chosen", lambda: (torch.device("cpu"), ""))


@pytest.fixture(autouse=True)
def nothing_logged_yet() -> None:
    """What is said once in a process is said in the test that asks for it, whichever ran before."""
    log_once.cache_clear()


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Sums come out the same whatever else the machine does."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests measured on the way (`record_property("measured", ...)`): for the reader, nothing depends on it."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == "measured" and report.when == "call":
                terminalreporter.write_line(f"measured: {value} ({report.nodeid})")
