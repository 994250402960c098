"""`xrcore bench`: measure, print a table, write results and a figure."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from harness import case, memory, peer_nanodrr, peer_rtk
from harness.plot import scaling_figure
from harness.scaling import Sweep, sweeps
from harness.timing import interleaved
from xrcore._util import machine
from xrcore._util.atomic import atomic_folder, check_writable
from xrcore.beam import Beam
from xrcore.ct.volume import Volume
from xrcore.figures import save_figure
from xrcore.geometry import Pose
from xrcore.metrics import mtre
from xrcore.registration.pipeline import register
from xrcore.renderer import render, render_with_jacobian

FILES = ("speed.json", "speed.csv", "scaling.png")
ABSENT = "not installed (pip install -e '.[peers]')"


def run(*, peers: bool = False, quick: bool = False, out: str | os.PathLike[str] | None = None) -> dict[str, Any]:
    """Measure the renderer and the registration, print the results, and write FILES into `out` if given; returns the results.

    peers: RTK and nanodrr too. quick: smaller sizes and fewer repeats, to see that it runs; its figures mean little.
    Raises XrcoreError if `out` cannot be written.
    """
    if out is not None:
        check_writable(out)

    def say(stage: str) -> None:
        print(f"... {stage}", flush=True)

    side, rounds = (128, 3) if quick else (256, 9)
    results: dict[str, Any] = {"machine": machine.describe_machine(), "pixels": side, "voxels": side, "quick": quick}
    print(machine.machine_text(results["machine"]))
    say("making the phantom")
    body = case.body(3.0 if quick else 1.5)
    volume = case.resampled(body, side)
    results["filled"] = float((volume.density > 0).any(0).float().mean())

    say("rendering")
    tasks, absent = _tasks(volume, side, peers)
    timings = interleaved(tasks, rounds)
    results["rows"] = {name: timing.to_dict() for name, timing in timings.items()} | {name: {"note": ABSENT} for name in absent}
    results["peers_differ"] = _agreement(volume, side) if peers else {}

    say("registering")
    results["rows"] |= _registration(body, side, 1 if quick else 5)
    grown = sweeps(body, quick=quick, rounds=2 if quick else 5, say=say)
    results["scaling"] = {
        name: {str(size): {draw: t.to_dict() for draw, t in row.items()} for size, row in sweep.items()} for name, sweep in grown.items()
    }
    print("\n" + as_markdown(results))
    if out is not None:
        _write(Path(out), results, grown, side)
    return results


def _tasks(volume: Volume, side: int, peers: bool) -> tuple[dict[str, Callable[[], Any]], list[str]]:
    carm, pose, beam = case.carm(side), case.POSE, Beam()
    weights = torch.rand(1, side, side, generator=torch.Generator().manual_seed(0))
    single, mono = case.one_material(volume), Beam.monochromatic(50.0)

    def with_backward(draw: Callable[[Pose], torch.Tensor]) -> Callable[[], torch.Tensor]:
        def task() -> torch.Tensor:
            numbers = pose.numbers.clone().requires_grad_()
            (draw(Pose(numbers)) * weights).sum().backward()
            assert numbers.grad is not None
            return numbers.grad

        return task

    tasks: dict[str, Callable[[], Any]] = {
        "image": lambda: render(volume, carm, pose, beam),
        "image and Jacobian": lambda: render_with_jacobian(volume, carm, pose, beam),
        "forward and backward": with_backward(lambda p: render(volume, carm, p, beam)),
        "image, one material, one energy": lambda: render(single, carm, pose, mono),
    }
    rtk, nano, nano_backward = "RTK Joseph, one material", "nanodrr, one material", "nanodrr, forward and backward"
    absent = []
    if peers and peer_rtk.installed():
        tasks[rtk] = peer_rtk.projector(single, carm, pose)
    elif peers:
        absent.append(rtk)
    if peers and peer_nanodrr.installed():
        project = peer_nanodrr.projector(single, carm)
        tasks[nano] = torch.no_grad()(lambda: project(pose))
        tasks[nano_backward] = with_backward(project)
    elif peers:
        absent += [nano, nano_backward]
    return tasks, absent


def _agreement(volume: Volume, side: int) -> dict[str, float]:
    """Norm of each peer's difference from our line integrals, relative: do they all do the same work?

    RTK ends a grid at the outer voxels' centres and we where density has faded to nothing, so for RTK zeros are put around.
    """
    carm, single, mono = case.carm(side), case.one_material(volume), Beam.monochromatic(50.0)
    ours = render(single, carm, case.POSE, mono)[0] / float(mono.attenuation(["soft"]))
    theirs = {}
    if peer_rtk.installed():
        theirs[peer_rtk.NAME] = torch.from_numpy(peer_rtk.projector(single, carm, case.POSE, pad=2)().copy())
    if peer_nanodrr.installed():
        with torch.no_grad():
            theirs[peer_nanodrr.NAME] = peer_nanodrr.projector(single, carm)(case.POSE)[0]
    return {name: float(torch.linalg.norm(image - ours) / torch.linalg.norm(ours)) for name, image in theirs.items()}


def _registration(body: Volume, side: int, rounds: int) -> dict[str, dict[str, Any]]:
    """From the zero pose, on an X-ray as acquired; on a coarser grid than the one the X-ray was made from."""
    xray = case.radiograph(body, side)
    volume = case.body(4.0 if side < 256 else 2.0)
    found = []
    # a new Volume each time, so that packing it counts too
    timing = interleaved({"whole": lambda: found.append(register(xray, replace(volume)))}, rounds, warm=rounds > 1)["whole"]
    landmarks = volume.surface_points()
    errors = sorted(float(mtre(r.pose, case.POSE, landmarks, xray.carm, volume.isocenter)) for r in found)
    row = timing.to_dict() | {"mtre_mm": errors[len(errors) // 2], "trusted": all(r.trusted for r in found)}
    return {"registration from the zero pose": row, "peak memory of a registration": memory.of_registration(xray, volume)}


def as_markdown(results: dict[str, Any]) -> str:
    """The results as one Markdown table with its legend."""
    side = results["pixels"]
    lines = ["| | median | range |", "|---|---:|---:|"]
    for name, row in results["rows"].items():
        if "note" in row:
            lines.append(f"| {name} | {row['note']} | |")
        elif "peak_mb" in row:
            lines.append(f"| {name} | {row['peak_mb']:.0f} MB | {row['imports_mb']:.0f} MB of it after importing |")
        else:
            lines.append(f"| {name} | {_time(row['median_ms'])} | {_time(row['min_ms'])} to {_time(row['max_ms'])} |")
    lines.append("")
    lines.append(
        f"{side} x {side} pixels from {side}^3 voxels, {results['filled']:.0%} of them not empty; two materials and the whole spectrum "
        "where nothing else is said."
    )
    for name, difference in results["peers_differ"].items():
        lines.append(f"{name}'s line integrals differ from ours by {difference:.1e} (norm, relative).")
    whole = results["rows"]["registration from the zero pose"]
    lines.append(
        f"The registration ended {whole['mtre_mm']:.2f} mm (mTRE) from the truth, {'trusted' if whole['trusted'] else 'NOT trusted'}."
    )
    return "\n".join(lines)


def _time(ms: float) -> str:
    return f"{ms:.1f} ms" if ms < 1000 else f"{ms / 1000:.2f} s"


def _write(out: Path, results: dict[str, Any], grown: dict[str, Sweep], side: int) -> None:
    described = results["machine"]
    caption = f"{described['cpu']}, {described['cores']} cores; medians, shaded to the fastest repeat"
    with atomic_folder(out) as folder:
        (folder / FILES[0]).write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
        with (folder / FILES[1]).open("w", newline="", encoding="utf-8") as file:
            _write_csv(csv.writer(file), results)
        save_figure(scaling_figure(grown, side, caption), folder / FILES[2])


def _write_csv(writer: Any, results: dict[str, Any]) -> None:
    columns = ("median_ms", "min_ms", "max_ms", "repeats")
    writer.writerow(("what", "varied", "size", *columns))
    for name, row in results["rows"].items():
        if "median_ms" in row:
            writer.writerow((name, "", "", *(row[c] for c in columns)))
    for varied, sweep in results["scaling"].items():
        for size, draws in sweep.items():
            for name, row in draws.items():
                writer.writerow((name, varied, size, *(row[c] for c in columns)))
