"""Training in processes of its own: killed at any moment, and shared by several."""

from __future__ import annotations

import functools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from xrcore import phantom
from xrcore.geometry import CArm
from xrcore.learning.models import PoseRegressor
from xrcore.learning.training import TrainingSettings, profile, train

CARM = CArm(source_to_detector=1259.65, source_to_isocenter=742.5, shape=(256, 256), pixel_spacing=1.6875)
SETTINGS = profile("smoke").changed(
    pixels=32, bottleneck=16, hidden=32, tokens=16, decoder=16, images=56, batch=8, validation=4, precision="float32", scheme="growing",
    set_size=12, checkpoint_every=16, dropout=0.2,
)  # fmt: skip

# one script for all: trains a tiny model, as its environment says
SCRIPT = """
import hashlib, json, os, signal, sys, time
from pathlib import Path
import torch
from xrcore import phantom
from xrcore.geometry import CArm
from xrcore.learning.training import TrainingSettings, training_steps

torch.set_num_threads(1)
out, end = Path(sys.argv[1]), sys.argv[2]
replace, rank = os.replace, os.environ.get("RANK", "0")
writes = []

def dying(source, target):
    writes.append(target)
    if end == "die" and len(writes) == int(sys.argv[4]):
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(source, target)

def told(tensors):
    return hashlib.sha256(b"".join(t.detach().numpy().tobytes() for t in tensors)).hexdigest()

os.replace = dying
carm = CArm(source_to_detector=1259.65, source_to_isocenter=742.5, shape=(256, 256), pixel_spacing=1.6875)
settings = TrainingSettings.from_dict(json.loads(sys.argv[3]))
steps = training_steps(phantom.pelvis(0, 8.0), carm, settings, folder=out, resume=True)
while True:
    try:
        step = next(steps)
    except StopIteration as stopped:
        model = stopped.value
        break
    # time for the test to see the checkpoint and kill
    if end == "wait" and step.number == 5:
        time.sleep(600)
    if end == "tell":
        parameters = list(step.network.parameters())
        line = f"STEP {rank} {step.number} {told(parameters)} {told(p.grad for p in parameters)} {step.loss:.6f}\\n"
        os.write(1, line.encode())
os.write(1, f"DONE {rank} {model.training.get('processes')}\\n".encode())
"""
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "CUDA_VISIBLE_DEVICES": ""}


@pytest.fixture(scope="module")
def script(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("script") / "training.py"
    path.write_text(SCRIPT)
    return path


def arguments(script: Path, *others: object, settings: TrainingSettings = SETTINGS) -> list[str]:
    folder, end, *rest = others
    return [str(v) for v in (script, folder, end, json.dumps(settings.to_dict()), *rest)]


pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.slow]


@functools.cache
def whole() -> PoseRegressor:
    """The training that nothing interrupted."""
    return train(phantom.pelvis(0, 8.0), CARM, SETTINGS)


def goes_on(folder: Path) -> None:
    """What a killed training left ends as the whole one."""
    train(phantom.pelvis(0, 8.0), CARM, SETTINGS, out=folder, resume=True).save(folder, half=False)
    weights = PoseRegressor.load(folder).network.state_dict()
    assert all(torch.equal(weights[name], value) for name, value in whole().network.state_dict().items())
    assert sorted(p.name.split("-")[0] for p in folder.iterdir()) == ["log.csv", "model", "model.json"]


def test_a_killed_training_goes_on_to_the_same_weights(script, tmp_path):
    process = subprocess.Popen([sys.executable, *arguments(script, tmp_path, "wait")], env=ENVIRONMENT)
    try:
        while not (tmp_path / "checkpoint.json").exists() and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        assert process.wait(60) == -signal.SIGKILL
    finally:
        process.kill()
    assert not (tmp_path / "model.json").exists()
    goes_on(tmp_path)


@pytest.mark.parametrize("write", [3, 5])
def test_a_kill_while_a_checkpoint_is_written_leaves_a_whole_one(script, tmp_path, write):
    # first the log is begun; then each checkpoint is two writes: its tensors, then the description that names them
    command = [sys.executable, *arguments(script, tmp_path, "die", write)]
    killed = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=600, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert (tmp_path / "checkpoint.json").exists() == (write > 3)
    assert len(list(tmp_path.glob("checkpoint-*.safetensors"))) == (write - 1) // 2
    assert list(tmp_path.glob(".checkpoint*.part*"))
    goes_on(tmp_path)


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def test_two_processes_share_their_gradients_and_write_one_model(script, tmp_path):
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_addr", "127.0.0.1", "--master_port",
        str(free_port()), *arguments(script, tmp_path, "tell", settings=SETTINGS.changed(images=24)),
    ]  # fmt: skip
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    steps = {(int(w[1]), int(w[2])): w[3:] for w in lines if w[0] == "STEP"}
    assert set(steps) == {(rank, step) for rank in (0, 1) for step in (1, 2, 3)}
    for step in (1, 2, 3):
        (weights, gradients, loss), (others, their_gradients, their_loss) = steps[0, step], steps[1, step]
        assert (weights, gradients) == (others, their_gradients)
        assert loss != their_loss  # of DRRs of their own
    assert len({steps[0, step][0] for step in (1, 2, 3)}) == 3
    assert sorted(w[1:] for w in lines if w[0] == "DONE") == [["0", "2"], ["1", "None"]]
    assert sorted(p.name.split("-")[0] for p in tmp_path.iterdir()) == ["log.csv", "model", "model.json"]
    model = PoseRegressor.load(tmp_path)
    assert model.training["processes"] == 2
    assert model.training["images"] == 24
