"""How exact is the GPU kernel against the float64 reference: errors of 16 bits per material, single precision and float16?

Where there is no GPU the kernel runs in Triton's interpreter, which rounds each operation to float32 as a GPU does, but never fuses a
multiplication with an addition, and whose exponentials and logarithms are a little better than a GPU's.

    pip install -e '.[gpu]'
    python benchmarks/gpu_precision.py [--out results/gpu_precision]
"""

# ruff: noqa: E402
from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

GPU = torch.cuda.is_available()
if not GPU:
    os.environ.setdefault("TRITON_INTERPRET", "1")  # before the kernels are imported

from common import scenes
from common.report import RESULTS, needs_triton, out_path, publish

from xrcore.beam import Beam
from xrcore.ct.volume import Volume
from xrcore.geometry import CArm, Pose
from xrcore.renderer import packing, reference, render_with_jacobian

INTERPRETED = (
    "The kernel ran in Triton's interpreter on the CPU: rounding as on a GPU, but for fused multiply-adds, exponentials and logarithms."
)
SIZES = ((16, 32), (16, 48), (32, 64))  # pixels, voxels
POSES = Pose.cat([Pose(), Pose(ry=90), scenes.POSE, Pose(rx=-25, ry=40, rz=15, tx=-10, ty=25, tz=-15)])

KERNEL = "the kernel"
ARITHMETIC = "of it arithmetic: float32, the beam's effective lines"
WORDS = "of it storage: 16-bit words"
HALVES = "for comparison, storage as float16"

Rendered = tuple[Tensor, Tensor]


def precision(sizes: Sequence[tuple[int, int]], device: torch.device, *, body: float = 3.0) -> list[dict[str, Any]]:
    """For each (pixels, voxels), four rows: norms of the errors relative to the norm, and the largest, over POSES.

    Two materials and the whole spectrum. On a CPU the kernel needs Triton's interpreter, set up before anything of Triton is imported.
    """
    phantom = scenes.body(body)
    rows = []
    for pixels, voxels in sizes:
        volume, carm = scenes.resampled(phantom, voxels).to(device), scenes.carm(pixels)
        exact = _reference(volume, volume.density, carm)
        kernel = render_with_jacobian(volume, carm, POSES, Beam(), backend="cuda")
        words = _reference(volume, as_packed(volume), carm)
        halves = _reference(volume, volume.density.half(), carm)
        compared = {KERNEL: (kernel, exact), ARITHMETIC: (kernel, words), WORDS: (words, exact), HALVES: (halves, exact)}
        for what, (one, other) in compared.items():
            rows.append({"what": what, "pixels": pixels, "voxels": voxels, "views": len(POSES)} | _errors(one, other))
    return rows


def as_packed(volume: Volume) -> Tensor:
    """The densities that the kernel's words hold, float64."""
    packed = packing.pack(volume)
    x, y, z = packed.size
    inner = slice(packing.PAD_LOW, -packing.PAD_HIGH)
    words = packed.words_zyx.view(packed.planes, z, y, x)[:, inner, inner, inner]
    counts = torch.stack([words & 0xFFFF, (words >> 16) & 0xFFFF], 1).flatten(0, 1)
    return (counts.double() * packed.scale.view(-1, 1, 1, 1))[: len(volume.materials)]


def _reference(volume: Volume, density: Tensor, carm: CArm) -> Rendered:
    return reference.render_with_jacobian(replace(volume, density=density.double()), carm, POSES, Beam())


def _errors(one: Rendered, other: Rendered) -> dict[str, float]:
    image, jacobian = (a.double() - b.double() for a, b in zip(one, other, strict=True))
    return {
        "image, relative": _short(image.norm() / other[0].double().norm()),
        "image, largest": _short(image.abs().max()),
        "Jacobian, relative": _short(jacobian.norm() / other[1].double().norm()),
        "Jacobian, largest a degree": _short(jacobian[..., :3].abs().max()),
        "Jacobian, largest a mm": _short(jacobian[..., 3:].abs().max()),
    }


def _short(value: Tensor) -> float:
    return float(f"{float(value):.3g}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=out_path, default=RESULTS / "gpu_precision")
    out = parser.parse_args().out
    needs_triton()
    table = precision([*SIZES, (256, 256)] if GPU else SIZES, torch.device("cuda" if GPU else "cpu"))
    publish(out, table, digits=12, note="" if GPU else INTERPRETED)


if __name__ == "__main__":
    main()
