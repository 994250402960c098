"""Peak memory of a registration, in a process that does nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from xrcore.ct import Volume
from xrcore.xray import Xray


def of_registration(xray: Xray, volume: Volume) -> dict[str, float]:
    """{"peak_mb": ..., "imports_mb": ...}: the whole process at its largest, and what it held before the volume was read."""
    with tempfile.TemporaryDirectory(prefix="xrcore-bench-") as folder:
        path = Path(folder) / "case.pt"
        torch.save((xray, volume), path)
        paths = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": str(torch.get_num_threads())}
        output = subprocess.run([sys.executable, __file__, path], check=True, capture_output=True, text=True, env=os.environ | paths).stdout
    found: dict[str, float] = json.loads(output.splitlines()[-1])
    return found


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


def main(path: str) -> None:
    import xrcore as xr
    from xrcore.renderer import cpu  # noqa: F401  so that what is imported later counts as imports

    register = xr.register
    imports = peak_mb()
    xray, volume = torch.load(path, weights_only=False)  # written by this file
    register(xray, volume)
    print(json.dumps({"peak_mb": peak_mb(), "imports_mb": imports}))


if __name__ == "__main__":
    main(sys.argv[1])
