"""Peak memory of a registration, in a process that does nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from xrcore.ct.volume import Volume
from xrcore.geometry import CArm
from xrcore.xray.image import Xray


def of_registration(xray: Xray, volume: Volume) -> dict[str, float]:
    """{"peak_mb": ..., "imports_mb": ...}: the whole process at its largest, and what it held before the volume was read."""
    with tempfile.TemporaryDirectory(prefix="xrcore-bench-") as folder:
        path = Path(folder) / "case.npz"
        np.savez(
            path,
            density=volume.density.numpy(),
            materials=np.array(volume.materials),
            world_from_voxel=volume.world_from_voxel.numpy(),
            isocenter=volume.isocenter.numpy(),
            image=xray.image.numpy(),
            mask=xray.mask.numpy(),
            carm=np.array([xray.carm.source_to_detector, xray.carm.source_to_isocenter, *xray.carm.spacing, *xray.carm.center]),
        )
        threads = {"OMP_NUM_THREADS": str(torch.get_num_threads())}
        command = [sys.executable, "-m", "harness.memory", str(path)]
        output = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | threads).stdout
    return json.loads(output.splitlines()[-1])


def peak_mb() -> float:
    """Largest resident size so far [MB].

    On Linux from the kernel's record of this program: getrusage's also counts the parent at the moment it started us.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def _load(path: str) -> tuple[Xray, Volume]:
    with np.load(path, allow_pickle=False) as case:
        image, carm = torch.from_numpy(case["image"]), case["carm"].tolist()
        xray = Xray(
            image=image,
            mask=torch.from_numpy(case["mask"]),
            carm=CArm(
                source_to_detector=carm[0],
                source_to_isocenter=carm[1],
                shape=(image.shape[0], image.shape[1]),
                pixel_spacing=tuple(carm[2:4]),
                principal_point=tuple(carm[4:6]),
            ),
        )
        volume = Volume(
            density=torch.from_numpy(case["density"]),
            materials=tuple(case["materials"].tolist()),
            world_from_voxel=torch.from_numpy(case["world_from_voxel"]),
            isocenter=torch.from_numpy(case["isocenter"]),
        )
    return xray, volume


def _main(path: str) -> None:
    from xrcore.registration.pipeline import register
    from xrcore.renderer import cpu  # noqa: F401  so that what is imported later counts as imports

    imports = peak_mb()
    register(*_load(path))
    print(json.dumps({"peak_mb": peak_mb(), "imports_mb": imports}))


if __name__ == "__main__":
    _main(sys.argv[1])
