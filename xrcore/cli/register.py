"""The command `xrcore register`."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xrcore._util.completion import one_of, several_of
from xrcore._util.errors import XrcoreError, naming
from xrcore._util.pose_text import VIEWS, pose_file
from xrcore.cli.options import (
    Background,
    Body,
    Crop,
    Ct,
    Detector,
    Device,
    Keep,
    Kilovolts,
    Labels,
    Material,
    Series,
    Spacing,
    XrayCarm,
    check_kept,
    check_paths,
    checked_search,
    ct_options,
    import_packages,
    input_fingerprints,
    load_ct,
    rig_files,
    tell,
)

if TYPE_CHECKING:
    from xrcore.registration.result import Registration

Start = Annotated[
    str | None,
    typer.Option(
        metavar="START",
        help="A model's folder, a JSON file, rx,ry,rz,tx,ty,tz [deg, mm], or a view: ap, pa, lateral, left-lateral, right-lateral, lpo, "
        "rpo, lao, rao, inlet, outlet; default what the X-ray says, else AP.",
        autocompletion=one_of(*VIEWS),
        show_default=False,
    ),
]
Search = Annotated[
    str | None,
    typer.Option(
        metavar="anywhere",
        help="Where nothing is known of the view: look at the CT from all around, in any roll.",
        autocompletion=one_of("anywhere"),
        show_default=False,
    ),
]
Method = Annotated[
    str,
    typer.Option(
        help="gauss-newton, adam, lbfgs, cma-es, powell, grimm, paper-as-released or paper-as-intended.",
        autocompletion=one_of("gauss-newton", "adam", "lbfgs", "cma-es", "powell", "grimm", "paper-as-released", "paper-as-intended"),
    ),
]
Similarity = Annotated[
    str,
    typer.Option(
        help="auto (the method's), zncc, gradient-zncc, local-zncc, robust-local-zncc, correlation-ratio, mutual-information or wlmi.",
        autocompletion=one_of(
            "auto", "zncc", "gradient-zncc", "local-zncc", "robust-local-zncc", "correlation-ratio", "mutual-information", "wlmi"
        ),
    ),
]


def register(
    ct: Ct,
    xrays: Annotated[list[Path], typer.Argument(metavar="XRAY...", help="DICOM, TIFF or PNG; one or more.", show_default=False)],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the results.", show_default=False)],
    carm: XrayCarm = None,
    rig: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="The X-rays are views of one instant: a rig.yaml, a MayaCam 2.0 calibration for each (give it as often), or angles.",
            show_default=False,
        ),
    ] = None,
    initial: Start = None,
    search: Search = None,
    method: Method = "gauss-newton",
    similarity: Similarity = "auto",
    free: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Intrinsics that are estimated with the pose: source-to-detector,principal-point; each may have its standard deviation "
            "[mm, pixels], as in source-to-detector=20; default 2 % of the distance and of the image's longer side.",
            autocompletion=several_of("source-to-detector", "principal-point"),
            show_default=False,
        ),
    ] = None,
    spacing: Spacing = 2.0,
    background: Background = None,
    labels: Labels = None,
    keep: Keep = None,
    series: Series = None,
    body: Body = False,
    crop: Crop = None,
    material: Material = None,
    detector: Detector = None,
    kilovolts: Kilovolts = 90,
    frame: Annotated[int | None, typer.Option(help="Of a multi-frame file, counted from 0.", show_default=False)] = None,
    device: Device = "auto",
    animate: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also show how it went: .gif, .webp, or .mp4 (needs ffmpeg).", show_default=False)
    ] = None,
) -> None:
    """Find the pose of X-rays in a CT.

    Writes registration.json (pose, matrices, similarity, covariance, verdict), camera_from_ct.tfm (an ITK transform that maps
    CT points, LPS mm, into the camera frame), overlay.png and registered_xray.tif (the image that was compared) into DIR. Several
    X-rays are registered one after the other, each into a folder of its name in DIR; with --rig they are views of one instant and
    have one answer, poses being the first one's. Exit code 0: trusted, 3: not trusted, 2: bad input, and then nothing is written (of
    several X-rays: of that one and those after it).

    \b
    Examples:
      xrcore register ct.nii.gz fluoro.dcm --out result
      xrcore register ct.nii.gz fluoro.dcm --initial lateral --out result
      xrcore register ct.nii.gz fluoro.dcm --initial model/ --out result
      xrcore register ct.nii.gz fluoro.dcm --out result --animate result.gif
      xrcore register ct.nii.gz fluoro.dcm --search anywhere --out result
      xrcore register ct_folder/ xray.png --carm carm.yaml --initial 0,30,0,0,0,0 --out result
      xrcore register ct.nii.gz fluoro.dcm --free source-to-detector,principal-point --out result
      xrcore register ct.nii.gz ap.dcm lateral.dcm --rig angles --out result
      xrcore register implant.stl a.tif b.tif --material cobalt-chrome --spacing 0.5 --rig rig.yaml --out result
    """
    began = time.perf_counter()
    where = checked_search(search, initial)
    given = rig_files(rig, carm)
    if animate is not None:
        from xrcore.figures.video import check_video

        if not rig and len(xrays) > 1:
            raise XrcoreError("--animate shows one registration; give one X-ray")
        check_video("--animate", animate)
    check_paths(out, *xrays, ct, carm, labels, *given, None if initial is None else pose_file(initial))
    import_packages()
    from xrcore._util.atomic import check_writable
    from xrcore._util.devices import named_device
    from xrcore._util.hashes import fingerprint
    from xrcore.beam import Beam
    from xrcore.registration.calibration import free_from_text, unknowns_of
    from xrcore.registration.pipeline import register as find
    from xrcore.registration.presets import refinements
    from xrcore.registration.registration_files import files_of, read_pose, write_registration
    from xrcore.registration.view import views_of
    from xrcore.registration.view_reading import read_views
    from xrcore.renderer import place
    from xrcore.xray import read_xray

    # what is registered, and where to
    folders = [out] if rig or len(xrays) == 1 else _folders(out, xrays)
    for folder in folders:
        check_writable(folder, *files_of(len(xrays) if rig else 1))
        check_kept((folder / name for name in files_of(len(xrays) if rig else 1)), (ct, carm, labels, *xrays, *given))
    unknown = None if free is None else free_from_text(free)
    # these complain before anything is read
    named_device(device)
    settings = refinements(method, "register")
    if similarity != "auto":
        settings = tuple(one.with_similarity(similarity) for one in settings)
    beam = Beam(kilovolts=kilovolts)
    if rig:
        tasks = [read_views(xrays, rig if given else "angles", carm=carm, detector=detector, frame=frame)]
    else:
        tasks = []
        for path in xrays:
            with naming(str(path)):
                tasks.append(list(views_of("register", read_xray(path, carm, detector=detector, frame=frame))))
    sources = [xrays] if rig else [[path] for path in xrays]
    names = [", ".join(map(str, paths)) for paths in sources]  # what errors and, of several, remarks are of
    for views, name in zip(tasks, names, strict=True):
        with naming(name):
            unknowns_of("--free", unknown, views)
        for view in views:
            tell(view.xray.notes, name if len(tasks) > 1 else "")
    volume = load_ct(ct, spacing, background, labels, keep, series, body, crop, material)
    model = None
    if initial is not None and os.path.isdir(initial):
        from xrcore.learning.models import PoseRegressor

        model = PoseRegressor.load(initial)
    there = place(volume, device, "registering", spacing=settings[-1].levels[-1].spacing, always_log=True)

    # what the results come from
    inputs = input_fingerprints(ct, labels, carm, given, initial)
    options = {
        **ct_options(spacing, background, keep, series, body, crop, material),
        "kilovolts": kilovolts,
        "search": search,
        "detector": detector,
        "frame": frame,
        "similarity": similarity,
        **({} if unknown is None else {"free": unknown}),
        **({"rig": "angles"} if rig and not given else {}),
    }

    # read before the first result, which may take the place of the file that says them
    starts = [read_pose(initial, views[0].carm, volume.isocenter) if initial is not None and model is None else model for views in tasks]
    results: list[Registration] = []
    starting = time.perf_counter() - began
    for views, start, folder, paths, name in zip(tasks, starts, folders, sources, names, strict=True):
        known = {note for view in views for note in view.xray.notes}
        with naming(name):
            result = find(views, there, initial=start, method=settings, beam=beam, search=where, free=unknown)
        tell(tuple(note for note in result.notes if note not in (*known, *volume.notes)), name if len(tasks) > 1 else "")
        read = fingerprint(paths[0]) if len(paths) == 1 else [fingerprint(path) for path in paths]
        write_registration(folder, result, volume, beam, inputs={**inputs, "xray": read}, options=options)
        if animate is not None:
            from xrcore.drawing.animation import animate as show

            show(result, volume, animate, beam=beam)
        _print(result, folder, animate, name if len(tasks) > 1 else None, None if results else starting, anywhere=where is not None)
        results.append(result)
    if not all(result.trusted for result in results):
        raise typer.Exit(3)


def _folders(out: Path, xrays: list[Path]) -> list[Path]:
    """A folder for each X-ray, of its name; raises XrcoreError where two would share one."""
    names = [path.name.removesuffix(path.suffix) or path.name for path in xrays]
    for name in names:
        if names.count(name) > 1:
            raise XrcoreError(f"two X-rays are called {name!r}, and their results would share a folder; register them one by one")
    return [out / name for name in names]


def _print(result: Registration, folder: Path, animated: Path | None, xray: str | None, starting: float | None, *, anywhere: bool) -> None:
    """Pose, verdict and files; before them the X-ray's name if there are several."""
    from xrcore.cli.advice import next_steps
    from xrcore.cli.text import line, pose_table, verdict_lines
    from xrcore.registration.registration_files import files_of

    rows = [("pose", result.pose.numbers[0].tolist()), ("std. dev.", result.standard_deviation)]
    names = ", ".join(map(str, [*(folder / name for name in files_of(len(result.views))), *([] if animated is None else [animated])]))
    head = [] if xray is None else [f"{xray}:"]
    found = [] if result.calibration is None else ["", *(line("calibration", text) for text in result.calibration.lines())]
    told = [*verdict_lines(result, starting), line("written", names), *next_steps(result, anywhere=anywhere)]
    print("\n".join([*head, *pose_table(rows), *found, "", *told]), flush=True)
