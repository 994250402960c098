"""Read mutants of every text file and of a model's tensors, under limits of time and memory; prints what became of them as JSON."""

from __future__ import annotations

import json
import random
import resource
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

from companion.datasets.manifest import load_manifest, manifest_path
from xrcore import CArm, XrcoreError
from xrcore.learning.models.tensors import read_json, read_tensors, write_pair
from xrcore.registration.registration_files import read_pose
from xrcore.xray import read_carm, write_carm

CARM = CArm(source_to_detector=1200, source_to_isocenter=700, shape=(12, 10), pixel_spacing=1.5)
CENTRE = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
PIECES = [b"9" * 400, b"-1", b"1e308", b"1e999", b"nan", b"NaN", b"1:30", b"null", b"\xff", b"\n", b"[" * 50, b"{"]
PIECES += [b"&a *a", b"<<: *a", b"!!int _"]
SECONDS = 20  # for a file; the machine may be busy
MEMORY = 4 << 30  # above what is taken at the start [bytes]


def samples(folder: Path) -> dict[str, tuple[Path, Callable[[Path], object]]]:
    write_carm(folder / "carm.yaml", CARM)
    (folder / "pose.json").write_text('{"rx": 1.5, "ry": -20, "rz": 0, "tx": 3, "ty": 1e1, "tz": 5}')
    pose = read_pose(str(folder / "pose.json"), CARM, CENTRE)
    registration = {"pose": pose.to_dict(), "isocenter": [1, 2, 3], "carm": CARM.to_dict()}
    registration["camera_from_world"] = pose.camera_from_world(CARM, CENTRE)[0].tolist()
    (folder / "registration.json").write_text(json.dumps(registration, indent=2))
    lines = manifest_path().read_text(encoding="utf-8").splitlines()
    (folder / "manifest.yaml").write_text("\n".join(line for line in lines if "/ct_slice" not in line)[:6000].rpartition("\n")[0])
    write_pair(folder, "thing", {"a.weight": torch.arange(6.0).reshape(2, 3)}, {"format": "thing/1", "options": {"x": [1, 2.5, None]}})

    def pair(_: Path) -> object:
        return sorted(read_tensors(folder, read_json(folder / "thing.json", "thing/1")))

    def posed(path: Path) -> object:
        return read_pose(str(path), CARM, CENTRE).numbers.tolist()

    return {
        "carm.yaml": (folder / "carm.yaml", read_carm),
        "pose.json": (folder / "pose.json", posed),
        "registration.json": (folder / "registration.json", posed),
        "manifest": (folder / "manifest.yaml", load_manifest),
        "model.json": (folder / "thing.json", pair),
        "tensors": (next(folder.glob("thing-*.safetensors")), pair),
    }


def mutant(data: bytes, draw: random.Random) -> bytes:
    result = bytearray(data)
    for _ in range(draw.randint(1, 3)):
        at = draw.randrange(len(result) + 1)
        kind = draw.choice(("flip", "insert", "delete", "cut", "twice"))
        if kind == "flip" and at < len(result):
            result[at] ^= 1 << draw.randrange(8)
        elif kind == "insert":
            result[at:at] = draw.choice(PIECES)
        elif kind == "delete":
            del result[at : at + draw.randint(1, 20)]
        elif kind == "cut" and draw.random() < 0.2:
            del result[at:]
        elif kind == "twice":
            result[at:at] = bytes(result[at : at + draw.randint(1, 80)])
    return bytes(result)


def too_long(*_: object) -> None:
    raise TimeoutError(f"longer than {SECONDS} s")


def main(count: int, seed: int) -> None:
    draw = random.Random(seed)
    told: dict[str, dict[str, int]] = {}
    wrong: list[str] = []
    signal.signal(signal.SIGALRM, too_long)
    with tempfile.TemporaryDirectory() as folder:
        files = samples(Path(folder))
        whole = {name: (path.read_bytes(), repr(read(path))) for name, (path, read) in files.items()}
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, resource.RLIM_INFINITY))
        for k in range(count):
            name = list(files)[k % len(files)]
            path, read = files[name]
            data = mutant(whole[name][0], draw)
            path.write_bytes(data)
            signal.alarm(SECONDS)
            try:
                found = repr(read(path))
                outcome = "equal" if found == whole[name][1] else "differs"
            except XrcoreError as error:
                outcome = "refused"
                if "\n" in str(error) or len(str(error)) > 1000:
                    wrong.append(f"{name} {k}: its message is no line: {str(error)[:200]!r}")
            except Exception as error:
                outcome = "failed"
                wrong.append(f"{name} {k}: {type(error).__name__}: {str(error)[:200]} of {data[:300]!r}")
            signal.alarm(0)
            path.write_bytes(whole[name][0])
            counts = told.setdefault(name, {})
            counts[outcome] = counts.get(outcome, 0) + 1
    print(json.dumps({"told": told, "wrong": wrong}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
