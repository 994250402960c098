"""The command `xrcore draw`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from xrcore._util.atomic import check_writable
from xrcore._util.completion import one_of
from xrcore._util.errors import XrcoreError
from xrcore._util.file_suffixes import DRAWN_SUFFIXES, VOLUME_SUFFIXES, XRAY_SUFFIXES
from xrcore._util.input_files import check_file
from xrcore.cli.options import SIDES, Keep, check_keep, check_kept, import_packages, kept_values, load_ct, tell


def draw(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="[CT] XRAY RESULT",
            help="The X-ray, and the folder that xrcore register wrote. The CT may be left out, unless RESULT is a pose alone.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Picture: .png, .svg, .pdf, or .dcm (secondary capture).", show_default=False)
    ] = None,
    slicer: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for what 3D Slicer opens by drag and drop.", show_default=False)
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Label map in the CT's space: NIfTI, NRRD, MetaImage.", show_default=False)
    ] = None,
    keep: Keep = None,
    style: Annotated[
        str, typer.Option(help="Of labels: outline, filled or thickness.", autocompletion=one_of("outline", "filled", "thickness"))
    ] = "outline",
    points: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Landmarks: .mrk.json, .fcsv, or CSV with name,x,y,z (LPS mm).", show_default=False),
    ] = None,
    lines: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Lines: .mrk.json, or CSV; rows of one name are a line.", show_default=False),
    ] = None,
    diameter: Annotated[float | None, typer.Option(help="Of lines that say none [mm], such as a screw's.", show_default=False)] = None,
    mesh: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="Surface (STL, PLY, OBJ): its silhouette.", show_default=False)
    ] = None,
    mesh_frame: Annotated[str, typer.Option(help="The axes of surfaces: lps or ras.", autocompletion=one_of("lps", "ras"))] = "lps",
    carm: Annotated[Path | None, typer.Option(metavar="YAML", help="Geometry, for another image.", show_default=False)] = None,
    detector: Annotated[
        str | None, typer.Option(help="As for register, for another image.", autocompletion=SIDES, show_default=False)
    ] = None,
    frame: Annotated[int | None, typer.Option(help="Of a multi-frame file, for another image.", show_default=False)] = None,
    view: Annotated[
        int | None, typer.Option(min=0, help="Which of several views, counted from 0; default by the file's SHA-256.", show_default=False)
    ] = None,
) -> None:
    """Draw the CT's structures onto an X-ray that was registered.

    Segmentations, landmarks with the ellipse in which 95 % of them lie, lines such as planned screws, and surfaces. All are in the CT's
    patient space. --points, --lines and --mesh may be given more than once. --slicer writes xray.nrrd (the X-ray at its place
    in the CT's space), camera.ply, camera.mrk.json, camera_from_ct.tfm, and the landmarks, for 3D Slicer.

    \b
    Examples:
      xrcore draw fluoro.dcm result --labels bones.nii.gz --points landmarks.mrk.json --out drawn.png
      xrcore draw fluoro.dcm result --lines screws.csv --diameter 6.5 --mesh cup.stl --out plan.svg
      xrcore draw fluoro.dcm result --labels bones.nii.gz --style thickness --out drawn.dcm
      xrcore draw fluoro.dcm result --points landmarks.mrk.json --slicer scene
      xrcore draw ct.nii.gz fluoro.dcm pose.json --labels bones.nii.gz --out drawn.png
    """
    if len(files) not in (2, 3):
        raise XrcoreError("draw: give the X-ray and the result, and before them the CT where the result is a pose alone")
    ct, (xray, result) = (files[0] if len(files) == 3 else None), files[-2:]
    if out is None and slicer is None:
        raise XrcoreError("draw: give --out for a picture, --slicer for files of 3D Slicer, or both")
    if out is not None and out.suffix.lower() not in DRAWN_SUFFIXES:
        raise XrcoreError(f"{out}: --out must end in {', '.join(DRAWN_SUFFIXES)}")
    if out is not None and labels is None and not (points or lines or mesh):
        raise XrcoreError("draw: nothing to draw; give --labels, --points, --lines or --mesh")
    if not os.path.isdir(result) and result.name.lower().endswith((*VOLUME_SUFFIXES, *XRAY_SUFFIXES)):
        raise XrcoreError(f"{result}: an image, not a result; last comes the folder that xrcore register wrote, before it the X-ray")
    check_keep(keep, labels)
    if out is None and (labels is not None or lines or mesh):
        raise XrcoreError("draw: --labels, --lines and --mesh are drawn on a picture; give --out")
    inputs = (xray, result, ct, carm, labels, *(points or ()), *(lines or ()), *(mesh or ()))
    for path in inputs:
        if path is not None and not os.path.isdir(path):
            check_file(path)
    if out is not None:
        check_writable(out.parent, out.name)
    if slicer is not None:
        check_writable(slicer)
    kept = kept_values(keep)
    import_packages()
    from xrcore._util.hashes import file_sha256, fingerprint
    from xrcore.ct.reading import ct_files
    from xrcore.drawing import draw as draw_onto
    from xrcore.drawing.slicer import FILES, LANDMARKS, write_slicer
    from xrcore.registration.placement import other_inputs, placement_of, registered_files
    from xrcore.registration.registration_files import files_of
    from xrcore.registration.result import Registration
    from xrcore.xray import read_xray

    volume = None if ct is None or os.path.isdir(result) else load_ct(ct, 4.0, None, None, None, None)
    hashes = registered_files(result)
    folder = result if os.path.isdir(result) else result.parent
    outputs = [*([] if out is None else [out]), *([] if slicer is None else (slicer / name for name in (*FILES, LANDMARKS)))]
    check_kept(outputs, [*(path for path in inputs if path != folder), *(folder / name for name in files_of(max(1, len(hashes))))])
    digits = file_sha256(xray)
    if view is None:
        view = hashes.index(digits) if digits in hashes else 0
    whole = result in (folder, folder / files_of(1)[0])  # not the record alone
    if whole and view < len(hashes) and digits == hashes[view] and carm is None and detector is None and frame is None:
        image = Registration.load(folder).views[view].xray  # of which nothing has to be guessed again
    else:
        image = read_xray(xray, carm, detector=detector, frame=frame)
        if hashes and digits not in hashes:
            tell((f"{xray} is not the file that was registered (its SHA-256 is another): right only if nothing moved",))
    tell(other_inputs(result, None if ct is None else fingerprint(ct, ct_files(ct)), frame if digits in hashes else None))
    drawn = None
    if out is not None:
        drawn = draw_onto(
            image,
            result,
            labels=labels,
            points=points or None,
            lines=lines or None,
            meshes=mesh or None,
            keep=kept,
            style=style,
            diameter=diameter,
            frame=mesh_frame,
            volume=volume,
            view=view,
        )
        tell(drawn.notes)
    if slicer is not None:  # after all that may be refused
        placed = placement_of(result, image.carm, volume=volume, view=view)
        names = write_slicer(slicer, image, placed, points or None)
        print(f"{slicer}: {', '.join(names)}")
    if out is not None and drawn is not None:
        drawn.save(out)
        print(f"{out}: " + ", ".join(drawn.summary()) + (" (landmarks: row, column in pixels)" if points else ""))
