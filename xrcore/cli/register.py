"""The command `xrcore register`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xrcore._util.pose_text import pose_file
from xrcore.cli.options import Background, Body, Crop, Ct, Device, Keep, Kilovolts, Labels, Series, Spacing, check_paths, load_ct, tell

if TYPE_CHECKING:
    from xrcore.geometry import Pose
    from xrcore.learning.models import PoseRegressor

Start = Annotated[
    str | None,
    typer.Option(
        metavar="START",
        help="A model's folder, a JSON file, or rx,ry,rz,tx,ty,tz [deg, mm]; default what the X-ray says, else AP.",
        show_default=False,
    ),
]
Method = Annotated[str, typer.Option(help="gauss-newton, adam, lbfgs, cma-es, powell, grimm, paper-as-released or paper-as-intended.")]
Similarity = Annotated[
    str,
    typer.Option(
        help="auto (the method's), zncc, gradient-zncc, local-zncc, robust-local-zncc, correlation-ratio, mutual-information or wlmi."
    ),
]


def register(
    ct: Ct,
    xray: Annotated[Path, typer.Argument(metavar="XRAY", help="DICOM, TIFF or PNG.", show_default=False)],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the results.", show_default=False)],
    carm: Annotated[
        Path | None, typer.Option(metavar="YAML", help="Geometry; PNG and TIFF need it, for DICOM it overrides tags.", show_default=False)
    ] = None,
    initial: Start = None,
    method: Method = "gauss-newton",
    similarity: Similarity = "auto",
    spacing: Spacing = 2.0,
    background: Background = None,
    labels: Labels = None,
    keep: Keep = None,
    series: Series = None,
    body: Body = False,
    crop: Crop = None,
    detector: Annotated[str | None, typer.Option(help="Side that DICOM angles count from: anterior (the standard) or posterior.")] = None,
    kilovolts: Kilovolts = 90,
    frame: Annotated[int | None, typer.Option(help="Of a multi-frame file, counted from 0.", show_default=False)] = None,
    device: Device = "auto",
) -> None:
    """Find the pose of an X-ray in a CT.

    Writes registration.json (pose, matrices, similarity, covariance, verdict), camera_from_ct.tfm (an ITK transform that maps
    CT points, LPS mm, into the camera frame) and overlay.png into DIR.
    Exit code 0: trusted, 3: not trusted, 2: bad input, and then nothing is written.

    \b
    Examples:
      xrcore register ct.nii.gz fluoro.dcm --out result
      xrcore register ct.nii.gz fluoro.dcm --initial model/ --out result
      xrcore register ct_folder/ xray.png --carm carm.yaml --initial 0,30,0,0,0,0 --out result
    """
    check_paths(out, xray, ct, carm, labels, None if initial is None else pose_file(initial))
    from xrcore._util.atomic import check_writable
    from xrcore._util.devices import named_device
    from xrcore._util.hashes import fingerprint
    from xrcore.beam import Beam
    from xrcore.cli.text import line, pose_table, verdict_lines
    from xrcore.ct.reading import ct_files
    from xrcore.learning.models import PoseRegressor
    from xrcore.registration.pipeline import register as find
    from xrcore.registration.presets import refinements
    from xrcore.registration.registration_files import FILES, read_pose, write_registration
    from xrcore.renderer import place
    from xrcore.xray import read_xray
    from xrcore.xray.carm_file import mask_file

    check_writable(out, *FILES)
    named_device(device)  # which complains before anything is read
    beam = Beam(kilovolts=kilovolts)
    image = read_xray(xray, carm, detector=detector, frame=frame)
    tell(image.notes)
    volume = load_ct(ct, spacing, background, labels, keep, series, body, crop)
    start: Pose | PoseRegressor | None = None
    if initial is not None:
        start = PoseRegressor.load(initial) if os.path.isdir(initial) else read_pose(initial, image.carm, volume.isocenter)
    wanted = None if similarity == "auto" else similarity
    settings = refinements(method, "register")
    there = place(volume, device, "registering", spacing=settings[-1].levels[-1].spacing, always_log=True)
    result = find(image, there, initial=start, method=settings, similarity=wanted, beam=beam)
    tell(tuple(note for note in result.notes if note not in (*image.notes, *volume.notes)))

    inputs = {"ct": fingerprint(ct, ct_files(ct)), "xray": fingerprint(xray)}
    if isinstance(start, PoseRegressor):
        inputs["model"] = fingerprint(Path(initial or "") / "model.json")  # which names its weights' hash
    elif initial is not None and os.path.isfile(initial):
        inputs["initial"] = fingerprint(initial)
    if labels is not None:
        inputs["labels"] = fingerprint(labels, ct_files(labels))
    if carm is not None:
        inputs["carm"] = fingerprint(carm)
        if (mask := mask_file(carm)) is not None:
            inputs["mask"] = fingerprint(mask)
    options = {
        "spacing": spacing,
        "background": background,
        "keep": keep,
        "series": series,
        "body": body,
        "crop": crop,
        "kilovolts": kilovolts,
        "detector": detector,
        "frame": frame,
    }
    write_registration(out, result, volume, beam, inputs=inputs, options=options)
    rows = [("pose", result.pose.numbers[0].tolist()), ("std. dev.", result.standard_deviation)]
    print("\n".join([*pose_table(rows), "", *verdict_lines(result), line("written", ", ".join(str(out / name) for name in FILES))]))
    if not result.trusted:
        raise typer.Exit(3)
