"""Every text file that is read: carm.yaml, poses, registration.json, manifests."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from support.mutants.byte_mutations import damaged
from support.mutants.guarded import Found, Sample

from companion.datasets.manifest import load_manifest, manifest_path
from xrcore import CArm
from xrcore.registration.registration_files import read_pose
from xrcore.xray import read_carm, write_carm

CARM = CArm(source_to_detector=1200, source_to_isocenter=700, shape=(12, 10), pixel_spacing=1.5)
CENTRE = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)


def samples(folder: Path) -> dict[str, Sample]:
    """By name."""
    write_carm(folder / "carm.yaml", CARM)
    (folder / "pose.json").write_text('{"rx": 1.5, "ry": -20, "rz": 0, "tx": 3, "ty": 1e1, "tz": 5}')
    pose = read_pose(str(folder / "pose.json"), CARM, CENTRE)
    registration = {"pose": pose.to_dict(), "isocenter": [1, 2, 3], "carm": CARM.to_dict()}
    registration["camera_from_world"] = pose.camera_from_world(CARM, CENTRE)[0].tolist()
    (folder / "registration.json").write_text(json.dumps(registration, indent=2))
    lines = manifest_path().read_text(encoding="utf-8").splitlines()
    (folder / "manifest.yaml").write_text("\n".join(line for line in lines if "/ct_slice" not in line)[:6000].rpartition("\n")[0])

    def numbers(path: Path) -> list[float]:
        return read_pose(str(path), CARM, CENTRE).numbers.tolist()

    readers = {"carm.yaml": read_carm, "pose.json": numbers, "registration.json": numbers, "manifest.yaml": load_manifest}
    return {name: Sample(folder / name, partial(_found, read, folder / name), [damaged]) for name, read in readers.items()}


def _found(read: Callable[[Path], object], path: Path) -> Found:
    return Found(repr(read(path)))
