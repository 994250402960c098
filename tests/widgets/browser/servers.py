"""JupyterLab and Voila on a folder of notebooks, with settings of their own, on a free port of this machine."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

_NO_NEWS = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}}
_TEMPLATES = Path(__file__).parents[3] / "notebooks"  # as in `make explore`
_PATIENCE = 120  # [s] for a server to answer


@contextmanager
def lab(root: Path, folder: Path) -> Iterator[str]:
    """JupyterLab serving `root`; yields an address with {workspace}, another for each page, and {notebook} to fill in.

    folder: for its settings and its log.
    """
    settings = folder / "config" / "labconfig"
    settings.mkdir(parents=True)
    (settings / "default_setting_overrides.json").write_text(json.dumps(_NO_NEWS))
    token, port = secrets.token_hex(8), _free_port()
    command = [
        *("jupyterlab", "--no-browser", "--ip=127.0.0.1", f"--port={port}", "--allow-root", "--ServerApp.port_retries=0"),
        *(f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={root}", "--LabApp.expose_app_in_browser=True"),
    ]
    with _served(command, folder, f"http://127.0.0.1:{port}/api/status?token={token}"):
        yield f"http://127.0.0.1:{port}/lab/workspaces/{{workspace}}/tree/{{notebook}}?token={token}"


@contextmanager
def voila(notebook: Path, folder: Path) -> Iterator[str]:
    """Voila serving one notebook; yields its address."""
    token, port = secrets.token_hex(8), _free_port()
    command = [
        *("voila", str(notebook), "--no-browser", "--Voila.ip=127.0.0.1", f"--port={port}", f"--Voila.token={token}"),
        *("--VoilaConfiguration.show_tracebacks=True", "--template=offline"),
    ]
    with _served(command, folder, f"http://127.0.0.1:{port}/voila/static/voila.js?token={token}"):
        yield f"http://127.0.0.1:{port}/?token={token}"


@contextmanager
def voila_as_started(notebook: Path, folder: Path, options: list[str]) -> Iterator[str]:
    """Voila with the options of a command; yields the address that it prints."""
    port = _free_port()
    command = ["voila", str(notebook), *options, f"--port={port}"]
    with _served(command, folder, f"http://127.0.0.1:{port}/voila/static/voila.js"):
        (address,) = re.findall(rf"http://\S+:{port}/\S*", (folder / "log").read_text())
        yield address


@contextmanager
def _served(command: list[str], folder: Path, answers: str) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    own = {"JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data", "JUPYTER_RUNTIME_DIR": "runtime", "IPYTHONDIR": "ipython"}
    environment = _all_cores(os.environ) | {name: str(folder / place) for name, place in own.items()}
    environment["JUPYTER_PATH"] = str(_TEMPLATES)
    log = folder / "log"
    with log.open("w") as out:
        server = subprocess.Popen(
            [sys.executable, "-m", *command], env=environment, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        _wait(server, answers, log)
        yield
    finally:
        os.killpg(server.pid, signal.SIGTERM)  # with its kernels
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def _wait(server: subprocess.Popen[bytes], address: str, log: Path) -> None:
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        if server.poll() is not None:
            break
        try:
            urllib.request.urlopen(address, timeout=5).read()
            return
        except urllib.error.HTTPError:
            return  # it answers
        except OSError:
            time.sleep(0.3)
    raise RuntimeError(f"the server did not start:\n{log.read_text()[-2000:]}")


def _all_cores(environment: Mapping[str, str]) -> dict[str, str]:
    """The tests give each worker one thread; a reader's kernel has them all."""
    return {name: value for name, value in environment.items() if name != "OMP_NUM_THREADS"}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
