"""The command `xrcore demo`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xrcore.cli.options import MOST_SEED, check_paths, import_packages

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from xrcore.ct import Volume
    from xrcore.geometry import CArm, Pose
    from xrcore.registration.result import Registration

_PATIENT = ("bones.seg.nrrd", "ct.nii.gz", "landmarks.csv", "xray.dcm")
_LANDMARKS = ("hip center left", "hip center right", "sacral endplate")
_CT_SPACING, _XRAY_SPACING = 2.0, 1.5  # [mm]: the X-ray comes from a finer patient than the one that is registered


def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the results.")] = Path("demo"),
    seed: Annotated[int, typer.Option(min=0, max=MOST_SEED, help="Which patient, pose and noise.")] = 0,
    implant: Annotated[bool, typer.Option("--implant", help="Give the patient a hip replacement.")] = False,
) -> None:
    """Register a simulated X-ray of a built-in patient.

    Needs no data. Builds a pelvis, simulates an X-ray of it as acquired (another tube voltage, noise, scatter, blur, round field) from a
    random pose, registers it from the AP view, and compares with the truth.

    \b
    Examples:
      xrcore demo
      xrcore demo --seed 7 --implant --out demo7
    """
    check_paths(out)
    import_packages()
    import torch

    import xrcore
    from xrcore._util.atomic import atomic_folder, check_writable
    from xrcore._util.hashes import fingerprint
    from xrcore.cli.text import command, line, verdict_lines
    from xrcore.ct import volume_from_hu
    from xrcore.ct.nrrd_writing import nrrd_bytes, segment_keys
    from xrcore.geometry import PAPER_CARM, Pose
    from xrcore.phantom import pelvis, pelvis_hu, pelvis_labels, pelvis_landmarks
    from xrcore.registration.pipeline import register
    from xrcore.registration.registration_files import FILES, OF_FURTHER_VIEWS, write_registration
    from xrcore.renderer import render_with_jacobian
    from xrcore.simulation import Acquisition, simulate
    from xrcore.xray import write_xray

    check_writable(out, *FILES, *_PATIENT)
    carm, settings = PAPER_CARM, Acquisition()
    print(f"xrcore {xrcore.__version__} demo: a pelvis made from seed {seed}{', with a hip replacement' if implant else ''}\n")
    seconds: dict[str, float] = {}
    with time_block(seconds, "patient"):
        hu, world_from_voxel = pelvis_hu(seed, _CT_SPACING, implant)
        volume = volume_from_hu(hu, world_from_voxel, spacing=None)
        finer = pelvis(seed, _XRAY_SPACING, implant)
    with time_block(seconds, "X-ray"):
        truth = Pose.random(generator=torch.Generator().manual_seed(seed))
        xray = simulate(finer, carm, truth, settings=settings, seed=seed)
    # not part of the registration: compiled code is loaded, or on a new machine compiled
    with time_block(seconds, "renderer"):
        render_with_jacobian(volume.coarser(16), carm.resized((32, 32)), Pose.zero())
    result = register(xray, volume)
    with time_block(seconds, "files"), atomic_folder(out, record=FILES[0], own=OF_FURTHER_VIEWS) as temporary:
        _write_ct(temporary / "ct.nii.gz", hu, world_from_voxel)
        labels, grid, values = pelvis_labels(seed, _CT_SPACING, implant)
        (temporary / "bones.seg.nrrd").write_bytes(nrrd_bytes(labels, grid, segment_keys(values)))
        (temporary / "landmarks.csv").write_text(_landmarks(pelvis_landmarks(seed)), encoding="utf-8")
        write_xray(temporary / "xray.dcm", xray)
        inputs = {name: fingerprint(temporary / file) | {"path": file} for name, file in (("ct", "ct.nii.gz"), ("xray", "xray.dcm"))}
        write_registration(temporary, result, volume, inputs=inputs, options={"seed": seed, "implant": implant})

    x, y, z = reversed(volume.shape)
    rows, cols = carm.shape
    around = ", ".join(f"{name} {value:.2f}" for name, value in seconds.items())
    ct, made = out / "ct.nii.gz", out / "xray.dcm"
    lines = [
        line("CT", f"{x} x {y} x {z} voxels of {_CT_SPACING:g} mm, {' + '.join(volume.materials)}"),
        line("X-ray", f"{rows} x {cols} pixels, {settings.kilovolts:g} kV, simulated on a {_XRAY_SPACING:g} mm grid"),
        "",
        *_comparison(result, truth, volume, carm),
        *verdict_lines(result),
        line("", f"besides: {around} s"),
        "",
        line("written", f"{out}/: " + ", ".join((*FILES, *_PATIENT))),
        line("try next", command("register", ct, made, "--out", "result")),
        line("", command("draw", made, out, "--labels", out / "bones.seg.nrrd", "--points", out / "landmarks.csv", "--out", "drawn.png")),
        line("", command("render", ct, "--pose", "0,90,0,0,0,0", "--out", "lateral.png")),
        line("", command("demo", "--seed", seed + 1, "--implant")),
    ]
    print("\n".join(lines))
    if not result.trusted:
        raise typer.Exit(3)


def _comparison(result: Registration, truth: Pose, volume: Volume, carm: CArm) -> list[str]:
    """True and found pose, and the distances between them."""
    from xrcore.cli.text import line, pose_table
    from xrcore.metrics import mpd, mtre

    landmarks = volume.surface_points()
    rows = [(label, pose.numbers[0].tolist()) for label, pose in (("true", truth), ("start", result.initial), ("found", result.pose))]
    lines = [*pose_table([*rows, ("std. dev.", result.standard_deviation)]), ""]
    for label, measure, where in (("mTRE", mtre, "in space"), ("mPD", mpd, "on the detector")):
        start, found = (float(measure(pose, truth, landmarks, carm, volume.isocenter)) for pose in (result.initial, result.pose))
        lines.append(line(label, f"{found:.2f} mm {where} (at the start {start:.1f} mm)"))
    return lines


def _landmarks(points: dict[str, NDArray[np.float64]]) -> str:
    """A few of them, as a CSV."""
    rows = [f"{name},{x:.2f},{y:.2f},{z:.2f}" for name in _LANDMARKS for x, y, z in [points[name]]]
    return "\n".join(["name,x,y,z", *rows, ""])


def _write_ct(path: Path, hu: NDArray[np.int16], world_from_voxel: NDArray[np.float64]) -> None:
    import nibabel
    import numpy as np

    ras_from_voxel = np.diag([-1.0, -1.0, 1.0, 1.0]) @ world_from_voxel
    image = nibabel.Nifti1Image(hu.transpose(2, 1, 0), ras_from_voxel)
    image.set_qform(ras_from_voxel, 1)
    image.set_sform(ras_from_voxel, 1)
    image.header.set_xyzt_units("mm")
    image.to_filename(path)


@contextmanager
def time_block(seconds: dict[str, float], name: str) -> Iterator[None]:
    """Add how long the block took."""
    start = time.perf_counter()
    yield
    seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - start
