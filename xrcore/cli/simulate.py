"""The command `xrcore simulate`."""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path
from typing import Annotated

import typer

from xrcore._util.completion import one_of
from xrcore._util.errors import XrcoreError
from xrcore._util.pose_text import VIEWS, pose_file
from xrcore.cli.options import (
    MOST_SEED,
    Background,
    Body,
    Crop,
    Ct,
    Keep,
    Labels,
    Material,
    Meshes,
    Series,
    Spacing,
    check_image,
    check_kept,
    check_paths,
    ct_options,
    field_value,
    import_packages,
    input_fingerprints,
    load_carm,
    load_ct,
)

_RANDOM = "random"

View = Annotated[
    str,
    typer.Option(
        metavar="POSE",
        help="rx,ry,rz,tx,ty,tz [deg, mm], a JSON file, a view such as lateral, or random: within 15 deg and 30 mm of AP, by the seed.",
        autocompletion=one_of(_RANDOM, *VIEWS),
    ),
]
Settings = Annotated[
    list[str], typer.Option("--set", metavar="FIELD=VALUE", help="Any field of Acquisition (a wrong name lists them); give it as often.")
]


def simulate(
    ct: Ct,
    out: Annotated[Path, typer.Option(metavar="FILE", help="X-ray: .dcm, .tif or .png.", show_default=False)],
    carm: Annotated[Path | None, typer.Option(metavar="YAML", help="Geometry.", show_default="the paper's C-arm, 256 x 256")] = None,
    pose: View = _RANDOM,
    seed: Annotated[int, typer.Option(min=0, max=MOST_SEED, help="Of the random pose, of noise and of tools.")] = 0,
    settings: Settings = [],  # noqa: B006
    spacing: Spacing = 1.0,
    background: Background = None,
    labels: Labels = None,
    keep: Keep = None,
    series: Series = None,
    body: Body = False,
    crop: Crop = None,
    material: Material = None,
    mesh: Meshes = None,
) -> None:
    """Simulate an X-ray of a CT as it would be acquired, to try a registration whose answer is known.

    With noise, scatter, blur and grey levels, by another integrator than the one that registers, and of another tube voltage. The X-ray
    carries its geometry (a PNG or TIFF in a carm.yaml beside it) but not its pose: that is in NAME.truth.json, which
    `xrcore register --initial` and `xrcore render --pose` read.

    \b
    Examples:
      xrcore simulate ct.nii.gz --out xray.dcm
      xrcore simulate ct.nii.gz --pose lateral --set photons=2000 --set exposure_control=0 --out lateral.png
      xrcore simulate ct.nii.gz --mesh screw.stl --set inverted=true --set tool=4 --out screw.dcm
    """
    names = check_image(out, truth=True)
    check_paths(out.parent, ct, carm, labels, None if pose == _RANDOM else pose_file(pose), *(mesh or ()))
    check_kept([out.parent / name for name in names[:-1]], (ct, carm, labels, *(mesh or ())))
    import_packages()
    import torch

    from xrcore._util.atomic import atomic_folder
    from xrcore._util.hashes import fingerprint
    from xrcore.geometry import Pose
    from xrcore.registration.registration_files import read_pose, to_json
    from xrcore.simulation import Acquisition
    from xrcore.simulation import simulate as acquire
    from xrcore.xray import write_carm, write_xray

    given, known = dict(map(field_value, settings)), [field.name for field in fields(Acquisition)]
    if unknown := [name for name in given if name not in known]:
        raise XrcoreError(f"--set: there is no {unknown[0]}; choose from {', '.join(known)}")
    acquisition = Acquisition(**given)
    geometry = load_carm(carm)
    volume = load_ct(ct, spacing, background, labels, keep, series, body, crop, material, mesh)
    drawn = torch.Generator().manual_seed(seed)
    view = Pose.random(generator=drawn) if pose == _RANDOM else read_pose(pose, geometry, volume.isocenter)
    xray = acquire(volume, geometry, view, settings=acquisition, seed=seed)
    truth = {
        "xray": out.name,
        "pose": view.to_dict(),
        "camera_from_world": view.camera_from_world(geometry, volume.isocenter)[0].tolist(),
        "isocenter": volume.isocenter.tolist(),
        "carm": geometry.to_dict(),
        "acquisition": asdict(acquisition),
        "seed": seed,
        "inputs": {**input_fingerprints(ct, labels, carm, [], None), **({"meshes": [fingerprint(one) for one in mesh]} if mesh else {})},
        "options": ct_options(spacing, background, keep, series, body, crop, material),
    }
    with atomic_folder(out.parent, record=out.name) as temporary:
        write_xray(temporary / out.name, xray, geometry)
        for name in names[1:-1]:
            write_carm(temporary / name, geometry)
        (temporary / names[-1]).write_text(to_json(truth), encoding="utf-8")
    rows, cols = geometry.shape
    print(f"{out}: {rows} x {cols} pixels, {acquisition.kilovolts:g} kV; its pose, the truth, in {out.parent / names[-1]}")
