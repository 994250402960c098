"""Killed at any moment, a registration is there whole or not at all, and a training goes on to the same weights.

A process that has run no training forks one child a trial. A child is killed at one of the moments at which it touches its folder.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from xrcore._util.hashes import file_sha256
from xrcore.learning.models import PoseRegressor
from xrcore.learning.training.log import read_log

COMMON = """
import json, os, signal, sys, time
from itertools import count
from pathlib import Path
import torch
import xrcore as xr

torch.set_num_threads(1)
CARM = xr.CArm(source_to_detector=1259.65, source_to_isocenter=742.5, shape=(64, 64), pixel_spacing=6.75)

def in_child(work, folder, last):
    "Work in a process that kills itself when it touches the folder for the last-th time; whether it came to its end."
    def kill(event, arguments, seen=count(1)):
        if event.split(".")[0] in ("os", "open", "shutil") and any(folder.name in str(argument) for argument in arguments):
            if next(seen) == last:
                os.kill(os.getpid(), signal.SIGKILL)
    if (child := os.fork()) == 0:
        sys.addaudithook(kill)
        work(folder)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL), status
    return status == 0
"""
REGISTERING = (
    COMMON
    + """
from xrcore.registration.registration_files import write_registration

volume = xr.phantom.pelvis(3, 8.0)
xray = xr.Xray(image=xr.render(volume, CARM, xr.Pose(ry=-5, tx=6))[0], carm=CARM)
result = xr.register(xray, volume)
base = Path(sys.argv[1])
for before in ("new", "existing"):
    for last in json.loads(sys.argv[2]) or count(1):
        folder = base / before / f"result-{last}"
        if before == "existing":
            write_registration(folder, result, volume)
            (folder / "notes.txt").write_text("kept")
        if in_child(lambda folder: write_registration(folder, result, volume), folder, last):
            break
"""
)


def left_by(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".")} if folder.exists() else {}


def run_script(code: str, *arguments: object) -> str:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def is_whole_or_absent(tmp_path: Path, moments: list[int]) -> None:
    """Kill the writing of a registration at these moments, or at each there is, and look at what it left."""
    run_script(REGISTERING, tmp_path, json.dumps(moments))
    for before in ("new", "existing"):
        trials = list((tmp_path / before).glob("result-*"))
        assert trials
        for folder in trials:
            found = left_by(folder)
            if before == "existing":
                assert found.pop("notes.txt") == b"kept"
            if "registration.json" in found:
                files = json.loads(found["registration.json"])["files"]
                assert files == {name: file_sha256(folder / name) for name in found if name != "registration.json"}
                assert len(files) == 3
            elif before == "new":
                assert found == {}
        assert any("registration.json" in left_by(folder) for folder in trials)


def test_a_registration_is_whole_or_absent(tmp_path):
    is_whole_or_absent(tmp_path, [12, 21, 1000])


@pytest.mark.slow
def test_a_registration_is_whole_or_absent_at_every_moment(tmp_path):
    is_whole_or_absent(tmp_path, [])


TRAINING = (
    COMMON
    + """
from xrcore.learning.training import train as learn

settings = xr.TrainingSettings.from_dict(json.loads(sys.argv[2]))
base, moments = Path(sys.argv[1]), json.loads(sys.argv[3])

volume = xr.phantom.pelvis(0, 8.0)
xr.render(volume, CARM, xr.Pose())  # so that a child need not load it

def train(folder):
    learn(volume, CARM, settings, out=folder, resume=True)

assert in_child(train, base / "uninterrupted", 0)
kills = 0
for last in moments + [0]:
    killed = not in_child(train, base / "killed", last)
    kills += killed
    print(kills, sorted(path.name for path in (base / "killed").glob("*")), flush=True)
"""
)


def goes_on(tmp_path: Path, moments: list[int], images: int) -> int:
    """Kill a training at these moments, one after the other, and compare what it becomes; returns the number of kills."""
    from support.trainings import TINY

    settings = TINY.changed(images=images, checkpoint_every=8, scheme="growing", set_size=12, dropout=0.2)
    printed = run_script(TRAINING, tmp_path, json.dumps(settings.to_dict()), json.dumps(moments))
    one, other = (PoseRegressor.load(tmp_path / name).network.state_dict() for name in ("killed", "uninterrupted"))
    assert all(torch.equal(one[name], value) for name, value in other.items())
    timed = {"seconds", "rendering_share"}
    rows = [[{k: v for k, v in row.items() if k not in timed} for row in read_log(tmp_path / n)] for n in ("killed", "uninterrupted")]
    assert rows[0] == rows[1]
    assert sorted(path.name.split("-")[0] for path in (tmp_path / "killed").iterdir()) == ["log.csv", "model", "model.json"]
    return int(printed.splitlines()[-1].split()[0])


@pytest.mark.slow
def test_a_killed_training_goes_on_to_the_same_weights(tmp_path):
    assert goes_on(tmp_path, [22], images=24) == 1


@pytest.mark.slow
def test_a_training_killed_again_and_again_goes_on_to_the_same_weights(tmp_path):
    draw = random.Random(0)
    assert goes_on(tmp_path, [draw.randint(1, 40) for _ in range(25)], images=48) >= 10
