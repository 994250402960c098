"""What does starting cost: the import, a path that is not there, and the whole command `xrcore register` on warm caches?

Each is a process of its own, run some times; the least is told, of processor time (user and system, which other programs disturb little)
and of elapsed time. The registration alone, from the zero pose in a process that has registered before, is beside them.

    python benchmarks/startup.py [--runs 5] [--out results/startup]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import SimpleITK as sitk
from common.report import RESULTS, out_path, publish

import xrcore as xr

COMMAND = "from xrcore.cli import main; main()"


def least(command: list[str], runs: int, code: int = 0) -> tuple[float, float]:
    """Processor time and elapsed time of a command [s]; ends here where it does not exit with `code`."""
    spent, elapsed = [], []
    for _ in range(runs):
        before, began = os.times(), time.perf_counter()
        done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
        after = os.times()
        elapsed.append(time.perf_counter() - began)
        spent.append(after.children_user + after.children_system - before.children_user - before.children_system)
        if done.returncode != code:
            sys.exit(f"{command}: exit code {done.returncode}, expected {code}\n{done.stderr}")
    return min(spent), min(elapsed)


def case(folder: Path) -> tuple[Path, Path]:
    """A CT and an X-ray of it, as files."""
    volume = xr.phantom.pelvis(seed=0, spacing=2.0)
    carm = xr.CArm(source_to_detector=1260, source_to_isocenter=742.5, shape=(256, 256), pixel_spacing=1.6875)
    xr.write_xray(folder / "xray.dcm", xr.simulate(volume, carm, xr.Pose(rx=3, ry=-8, tx=10), seed=0))
    hu = 1000 * (volume.density.sum(0) - 1).clamp(-1, 2)
    image = sitk.GetImageFromArray(hu.round().short().numpy())
    image.SetSpacing(volume.spacing)
    image.SetOrigin(volume.world_from_voxel[:3, 3].tolist())
    sitk.WriteImage(image, str(folder / "ct.nii.gz"))
    return folder / "ct.nii.gz", folder / "xray.dcm"


def warm(folder: Path, runs: int) -> tuple[float, float]:
    """Registering from the zero pose [s]."""
    volume, xray = xr.read_ct(folder / "ct.nii.gz"), xr.read_xray(folder / "xray.dcm")
    spent, elapsed = [], []
    for _ in range(runs + 1):  # the first loads what the others find
        before, began = time.process_time(), time.perf_counter()
        xr.register(xray, volume, xr.Pose.zero())
        spent.append(time.process_time() - before)
        elapsed.append(time.perf_counter() - began)
    return min(spent[1:]), min(elapsed[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--out", type=out_path, default=RESULTS / "startup")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ct, xray = map(str, case(folder))
        register = ["-c", COMMAND, "register", ct, xray, "--out", str(folder / "out")]
        least(register, 1)  # compiles what is not yet in the caches
        measured = {
            "import xrcore": least(["-c", "import xrcore"], args.runs),
            "import torch": least(["-c", "import torch"], args.runs),
            "a path that is not there": least(
                ["-c", COMMAND, "register", "absent.nii.gz", xray, "--out", str(folder / "no")], args.runs, 2
            ),
            "xrcore register": least(register, args.runs),
            "register, warm": warm(folder, args.runs),
        }
    lines: list[dict[str, Any]] = [
        {"": what, "processor s": round(spent, 3), "elapsed s": round(elapsed, 3)} for what, (spent, elapsed) in measured.items()
    ]
    publish(args.out, lines, digits=3)


if __name__ == "__main__":
    main()
