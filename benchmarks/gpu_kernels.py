"""What do the GPU kernels compile to: registers, spills and instructions of the inner loop, without a GPU?

Triton compiles for any architecture, and its own disassembler reads the result, so this needs no GPU and measures no time. "a sample" is
one slice of one ray: the 4 reads, both materials, and with the Jacobian its 8 sums.

    pip install -c constraints.txt -e '.[gpu]'
    python benchmarks/gpu_kernels.py [--architecture 80 90] [--out results/gpu_kernels]
"""

# ruff: noqa: E402
from __future__ import annotations

import argparse
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from common.report import RESULTS, needs_triton, out_path, publish

needs_triton()

import triton
from triton.backends import nvidia
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from xrcore.registration.solvers.cuda import normal, normal_kernel
from xrcore.registration.solvers.cuda import step_kernel as refinement
from xrcore.renderer import cuda
from xrcore.renderer.cuda import kernel
from xrcore.renderer.packing import BLOCK
from xrcore.simulation.batch import kernels as acquisition
from xrcore.simulation.batch import launches

TOOLS = Path(nvidia.__file__).parent / "bin"
POINTERS = {"words": "*i32", "occupied": "*u8", "scale": "*fp64", "beams": "*i32"}
FLOATS = ("fx", "fy", "cx", "cy", "middle", "depth")
STEPS = {"first step": (True, False), "step": (False, False), "last step": (False, True), "only step": (True, True)}
SUMS = {"sums of the refinement": False, "sums of the refinement, masked": True}
GROUPS = {"normal equations of the refinement": False, "normal equations of the refinement, contrast floor": True}
CASES = [(1, False), (1, True), (2, False), (2, True), (3, False), (3, True)]  # materials, with the Jacobian


def renderer(architecture: int, materials: int, jacobian: bool) -> bytes:
    """Machine code of `xrcore.renderer.cuda.kernel.render`."""
    constants = {
        "MATERIALS": materials, "PLANES": (materials + 1) // 2, "JACOBIAN": jacobian, "TILE_ROWS": cuda.TILE[0], "TILE_COLS": cuda.TILE[1],
        "BLOCK": BLOCK, "STRIDE": cuda.STRIDE, "UNROLL": cuda.UNROLL,
    }  # fmt: skip
    names = kernel.render.arg_names
    first_size = names.index("nx")
    types = {name: POINTERS.get(name, "*fp32") if i < first_size else "fp32" if name in FLOATS else "i32" for i, name in enumerate(names)}
    return compile_kernel(kernel.render, types, constants, cuda.WARPS, architecture)


def refinement_step(architecture: int, first: bool, last: bool) -> bytes:
    """Machine code of `xrcore.registration.solvers.cuda.step_kernel.step`."""
    names = refinement.step.arg_names
    types = {name: "*fp32" if name == "views" else "*fp64" if i < names.index("blocks") else "fp32" for i, name in enumerate(names)}
    types["blocks"] = "i32"
    return compile_kernel(refinement.step, types, {"FIRST": first, "LAST": last}, 1, architecture)


def refinement_sums(architecture: int, masked: bool) -> bytes:
    """Machine code of `xrcore.registration.solvers.cuda.normal_kernel.sums`."""
    names = normal_kernel.sums.arg_names
    types = {name: "*fp64" if name == "out" else "*fp32" if i < names.index("count") else "i32" for i, name in enumerate(names)}
    constants = {"MASKED": masked, "LANES": normal.LANES}
    return compile_kernel(normal_kernel.sums, types, constants, normal.WARPS, architecture)


def refinement_groups(architecture: int, floored: bool) -> bytes:
    """Machine code of `xrcore.registration.solvers.cuda.normal_kernel.standardised`."""
    types = dict.fromkeys(normal_kernel.standardised.arg_names, "*fp64") | {
        "groups": "i32",
        "variance_floor": "fp32",
        "tolerance": "fp32",
        "robustness": "fp32",
    }
    constants = {"FLOORED": floored, "ROBUST": floored, "GROUPS": normal.GROUPS}
    return compile_kernel(normal_kernel.standardised, types, constants, 1, architecture)


def acquisition_noise(architecture: int) -> bytes:
    """Machine code of `xrcore.simulation.batch.kernels.detect`."""
    types = dict.fromkeys(acquisition.detect.arg_names, "*fp32") | {"seeds": "*i64", "pixels": "i32", "blocks": "i32"}
    return compile_kernel(acquisition.detect, types, {"LANES": launches.LANES}, launches.WARPS, architecture)


def acquisition_rods(architecture: int) -> bytes:
    """Machine code of `xrcore.simulation.batch.kernels.shade`."""
    types = dict.fromkeys(acquisition.shade.arg_names, "i32")
    types |= {"images": "*fp32", "chosen": "*i64", "rods": "*fp64", "spectra": "*fp32", "lines": "*fp64"}
    return compile_kernel(acquisition.shade, types, {"LANES": launches.LANES}, launches.WARPS, architecture)


def compile_kernel(function: triton.JITFunction, types: dict[str, str], constants: dict[str, Any], warps: int, architecture: int) -> bytes:
    source = ASTSource(fn=function, signature=types | dict.fromkeys(constants, "constexpr"), constexprs=constants)
    options = {"num_warps": warps, "enable_fp_fusion": True}
    return triton.compile(source, target=GPUTarget("cuda", architecture, 32), options=options).asm["cubin"]


def inspect_code(code: bytes) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "kernel.cubin"
        file.write_bytes(code)
        usage = subprocess.run([TOOLS / "cuobjdump", "--dump-resource-usage", file], capture_output=True, text=True, check=True).stdout
        listing = subprocess.run([TOOLS / "nvdisasm", "-c", file], capture_output=True, text=True, check=True).stdout
    used = {name: int(value) for name, value in re.findall(r"(REG|STACK|LOCAL):(\d+)", usage)}
    return {"registers": used["REG"], "spilled bytes": used["STACK"] + used["LOCAL"], "instructions a sample": a_sample(listing)}


def a_sample(listing: str) -> float:
    """Instructions of the unrolled march by samples: of the loop that reads most, a sample being 4 reads."""
    most, found = 0, float("nan")
    for block in re.split(r"\n\.L_x_\d+:", listing):
        instructions = re.findall(r"/\*[0-9a-f]{4,}\*/\s+(.*?);", block)
        reads = sum("LDG" in text for text in instructions)
        loops = any("BRA" in text for text in instructions) and not any("STG" in text or "MUFU" in text for text in instructions)
        if loops and reads > most:
            most, found = reads, 4 * len(instructions) / reads
    return round(found, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architecture", type=int, nargs="+", default=[80, 90], help="compute capability, without its dot")
    parser.add_argument("--out", type=out_path, help="default results/gpu_kernels, and nowhere for other architectures")
    args = parser.parse_args()
    out = args.out or (RESULTS / "gpu_kernels" if args.architecture == [80, 90] else None)
    rows = []
    for architecture in args.architecture:
        for materials, jacobian in CASES:
            label = f"{materials} material{'s' if materials > 1 else ''}" + (", Jacobian" if jacobian else "")
            rows.append(
                {"for": f"sm_{architecture}", "kernel": f"image, {label}"} | inspect_code(renderer(architecture, materials, jacobian))
            )
        others = {f"{label} of the refinement": refinement_step(architecture, *ends) for label, ends in STEPS.items()}
        others |= {label: refinement_sums(architecture, masked) for label, masked in SUMS.items()}
        others |= {label: refinement_groups(architecture, floored) for label, floored in GROUPS.items()}
        others |= {"noise of acquisitions": acquisition_noise(architecture), "rods of acquisitions": acquisition_rods(architecture)}
        for label, code in others.items():
            rows.append({"for": f"sm_{architecture}", "kernel": label} | inspect_code(code) | {"instructions a sample": ""})
    publish(out, rows, digits=1)


if __name__ == "__main__":
    main()
