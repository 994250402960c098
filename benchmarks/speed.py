"""How long does a render, its Jacobian, a gradient and a whole registration take on this machine, beside other projectors?

    pip install -e ".[peers]"             # RTK and nanodrr
    python benchmarks/speed.py [--peers] [--quick] [--out results/speed | --no-files]

Medians of interleaved repeats, so that a busy spell of the machine meets all alike.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from common import memory, scenes
from common.report import MACHINE, RESULTS, out_path, publish, say
from common.rows import Figure, Row, as_table, milliseconds
from common.timing import interleaved
from peers import nanodrr, rtk

import xrcore as xr
from xrcore import utilities

ABSENT = "not installed (pip install -e '.[peers]')"
NOT_ASKED = "not run (--peers)"

IMAGE = Row(what="image", unit="ms", how="two materials, whole spectrum")
JACOBIAN = Row(what="image and Jacobian", unit="ms", how="6 columns")
BACKWARD = Row(what="forward and backward", unit="ms", how="`render`, gradient of the pose")
SINGLE = Row(what="image, one material, one energy", unit="ms")
RTK = Row(what="RTK Joseph, one material", unit="ms")
NANODRR = Row(what="nanodrr, one material", unit="ms")
NANODRR_BACKWARD = Row(what="nanodrr, forward and backward", unit="ms")
OF_RTK = Row(what="image, of RTK's time", unit="x", aim=1)
OF_IMAGE = Row(what="image and Jacobian, of the image's time", unit="x", aim=1.5)
OF_NANODRR = Row(what="nanodrr's forward and backward, of ours", unit="x", aim=50, least=True)
REGISTRATION = Row(what="registration from the zero pose", unit="ms", how="an X-ray as acquired, a volume not used before", aim=500)
ERROR = Row(what="registration: mTRE", unit="mm", how="median of the repeats")
TRUSTED = Row(what="registration: trusted", unit="%", how="of the repeats", aim=100, least=True)
MEMORY = Row(what="peak memory of a registration", unit="MB", aim=1500)
RTK_DIFFERS = Row(what="RTK's line integrals against ours", unit="", how="norm of the difference, relative")
NANODRR_DIFFERS = Row(what="nanodrr's line integrals against ours", unit="", how="norm of the difference, relative")

OURS = (IMAGE, JACOBIAN, BACKWARD, SINGLE, OF_IMAGE)
PEERS = {"RTK": (RTK, OF_RTK, RTK_DIFFERS), "nanodrr": (NANODRR, NANODRR_BACKWARD, OF_NANODRR, NANODRR_DIFFERS)}
ROWS = (*OURS, *PEERS["RTK"], *PEERS["nanodrr"], REGISTRATION, ERROR, TRUSTED, MEMORY)
RATIOS = {OF_IMAGE: (JACOBIAN, IMAGE), OF_RTK: (IMAGE, RTK), OF_NANODRR: (NANODRR_BACKWARD, BACKWARD)}


def measure(*, peers: bool = False, quick: bool = False) -> list[dict[str, Any]]:
    """The table. quick: smaller sizes and fewer repeats, to see that it runs; its figures mean little."""
    side = 128 if quick else 256
    say("making the phantom")
    body = scenes.body(3.0 if quick else 1.5)
    found: dict[str, Figure] = {}
    say("rendering")
    found |= {row.what: figure for row, figure in rendering(scenes.resampled(body, side), side, peers, 3 if quick else 9)}
    say("registering")
    found |= {row.what: figure for row, figure in registration(body, side, 1 if quick else 5)}
    note = ABSENT if peers else NOT_ASKED
    return as_table(ROWS, found, {row.what: note for rows in PEERS.values() for row in rows if row.what not in found})


def rendering(volume: xr.Volume, side: int, peers: bool, rounds: int) -> Iterator[tuple[Row, Figure]]:
    """Yield each row of the renderer and of the installed other renderers."""
    carm, pose, beam = scenes.carm(side), scenes.POSE, xr.Beam()
    weights = torch.rand(1, side, side, generator=torch.Generator().manual_seed(0))
    single, mono = scenes.one_material(volume), xr.Beam.monochromatic(50.0)
    tasks: dict[Row, Callable[[], Any]] = {
        IMAGE: lambda: xr.render(volume, carm, pose, beam),
        JACOBIAN: lambda: xr.render_with_jacobian(volume, carm, pose, beam),
        BACKWARD: scenes.with_backward(lambda p: xr.render(volume, carm, p, beam), pose, weights),
        SINGLE: lambda: xr.render(single, carm, pose, mono),
    }
    area = xr.render(single, carm, pose, mono)[0] / float(mono.attenuation(["soft"]))
    if peers and rtk.installed():
        tasks[RTK] = rtk.projector(single, carm, pose)
        # RTK ends a grid at the outer voxels' centres, xrcore where density has faded to nothing: for RTK zeros are put around
        yield RTK_DIFFERS, difference(torch.from_numpy(rtk.projector(single, carm, pose, pad=2)().copy()), area)
    if peers and nanodrr.installed():
        project = nanodrr.projector(single, carm)
        tasks[NANODRR] = torch.no_grad()(lambda: project(pose))
        tasks[NANODRR_BACKWARD] = scenes.with_backward(project, pose, weights)
        yield NANODRR_DIFFERS, difference(tasks[NANODRR]()[0], area)
    timings = interleaved({row.what: task for row, task in tasks.items()}, rounds)
    filled = f"{float((volume.density > 0).any(0).float().mean()):.0%} of the voxels not empty"
    for row in tasks:
        yield row, milliseconds(timings[row.what], filled if row is IMAGE else "")
    for ratio, (above, below) in RATIOS.items():
        if above in tasks and below in tasks:
            yield ratio, Figure(value=timings[above.what].median / timings[below.what].median)


def difference(theirs: torch.Tensor, ours: torch.Tensor) -> Figure:
    return Figure(value=float(torch.linalg.norm(theirs - ours) / torch.linalg.norm(ours)))


def registration(body: xr.Volume, side: int, rounds: int) -> Iterator[tuple[Row, Figure]]:
    """From the zero pose, on a coarser grid than the one that the X-ray was made from."""
    xray, volume = scenes.radiograph(body, side), scenes.body(4.0 if side < 256 else 2.0)
    results = []
    # a new Volume each time, so that packing it counts too
    task = {"whole": lambda: results.append(xr.register(xray, replace(volume)))}
    yield REGISTRATION, milliseconds(interleaved(task, rounds, warm=rounds > 1)["whole"])
    landmarks = volume.surface_points()
    errors = [float(xr.metrics.mtre(r.pose, scenes.POSE, landmarks, xray.carm, volume.isocenter)) for r in results]
    yield ERROR, Figure(value=statistics.median(errors), low=min(errors), high=max(errors), repeats=len(errors))
    yield TRUSTED, Figure(value=100 * sum(r.trusted for r in results) / len(results), repeats=len(results))
    used = memory.of_registration(xray, volume)
    yield MEMORY, Figure(value=used["peak_mb"], note=f"{used['imports_mb']:.0f} MB of it after importing")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", action="store_true", help="RTK and nanodrr, too")
    parser.add_argument("--quick", action="store_true", help="smaller sizes and fewer repeats")
    parser.add_argument("--out", type=out_path, default=RESULTS / "speed", help="OUT.json and OUT.csv; default results/speed")
    parser.add_argument("--no-files", action="store_true", help="print only")
    args = parser.parse_args()
    print(utilities.machine_text(MACHINE))
    side = 128 if args.quick else 256
    publish(
        None if args.no_files else args.out,
        measure(peers=args.peers, quick=args.quick),
        note=f"{side} x {side} pixels from {side}³ voxels",
    )


if __name__ == "__main__":
    main()
