"""The command `xrcore render`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from xrcore._util.completion import one_of
from xrcore._util.errors import XrcoreError
from xrcore._util.pose_text import VIEWS, pose_file
from xrcore.cli.options import (
    Background,
    Body,
    Crop,
    Ct,
    Keep,
    Kilovolts,
    Labels,
    Material,
    Meshes,
    Series,
    Spacing,
    check_image,
    check_kept,
    check_paths,
    import_packages,
    load_carm,
    load_ct,
    other_of_truth,
)


def render(
    ct: Ct,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Image: .png, .tif or .dcm.", show_default=False)],
    carm: Annotated[Path | None, typer.Option(metavar="YAML", help="Geometry.", show_default="the paper's C-arm, 256 x 256")] = None,
    pose: Annotated[
        str,
        typer.Option(
            metavar="POSE", help="rx,ry,rz,tx,ty,tz [deg, mm], a JSON file, or a view such as lateral.", autocompletion=one_of(*VIEWS)
        ),
    ] = "0,0,0,0,0,0",
    kilovolts: Kilovolts = 90,
    spacing: Spacing = 2.0,
    background: Background = None,
    labels: Labels = None,
    keep: Keep = None,
    series: Series = None,
    body: Body = False,
    crop: Crop = None,
    material: Material = None,
    mesh: Meshes = None,
) -> None:
    """Render an X-ray of a CT: an attenuation image, bone bright.

    A DICOM file carries the geometry and the pose, so that it reads back to the same view. Beside a PNG or TIFF a
    carm.yaml of the same name is written.

    \b
    Examples:
      xrcore render ct.nii.gz --out ap.png
      xrcore render ct.nii.gz --spacing 1 --mesh screw.stl --material titanium --out planned.png
      xrcore render ct_folder/ --pose 0,90,0,0,0,0 --carm carm.yaml --out lateral.dcm
    """
    _, *beside = check_image(out)
    check_paths(out.parent, ct, carm, labels, pose_file(pose), *(mesh or ()))
    check_kept([out, *(out.parent / name for name in beside)], (ct, carm, labels, *(mesh or ())))
    import_packages()
    from xrcore._util.atomic import atomic_folder
    from xrcore.beam import Beam
    from xrcore.registration.registration_files import read_pose
    from xrcore.renderer import render as draw
    from xrcore.xray import write_carm, write_xray

    beam = Beam(kilovolts=kilovolts)
    geometry = load_carm(carm)
    volume = load_ct(ct, spacing, background, labels, keep, series, body, crop, material, mesh)
    view = read_pose(pose, geometry, volume.isocenter)
    image = draw(volume, geometry, view, beam)[0]
    if not image.any():
        raise XrcoreError(f"{ct}: the CT lies outside the view at pose {pose}; nothing to render")
    # the truth of an X-ray that this one replaces, unless that is what was rendered, or of another that stays
    truth = out.parent / f"{out.stem}.truth.json"
    own = None if pose_file(pose) == truth or other_of_truth(truth, out) else re.escape(truth.name)
    with atomic_folder(out.parent, record=out.name, own=own) as temporary:
        write_xray(temporary / out.name, image, geometry, view)
        for name in beside:
            write_carm(temporary / name, geometry)
    rows, cols = geometry.shape
    print(f"{out}: {rows} x {cols} pixels, " + (f"geometry in {out.parent / beside[0]}" if beside else "geometry and pose in its tags"))
