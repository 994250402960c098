"""Shared options of the commands, and functions that read the files they name."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from xrcore._util.atomic import check_writable
from xrcore._util.completion import one_of
from xrcore._util.errors import XrcoreError
from xrcore._util.file_suffixes import MESH_SUFFIXES, WRITTEN_XRAY_SUFFIXES
from xrcore._util.input_files import check_file
from xrcore._util.logs import logger

if TYPE_CHECKING:
    from xrcore.ct import Volume
    from xrcore.geometry import CArm


Ct = Annotated[
    Path,
    typer.Argument(metavar="CT", help="NIfTI, NRRD, MetaImage, a folder of DICOM slices, or a mesh (STL, PLY, OBJ).", show_default=False),
]
Spacing = Annotated[float, typer.Option(help="Voxel size the CT is resampled to [mm]; a mesh wants about 0.5.")]
Material = Annotated[
    str | None,
    typer.Option(
        help="Of meshes: titanium (the default), cobalt-chrome, steel, iron, polyethylene, bone, soft or water.",
        autocompletion=one_of("titanium", "cobalt-chrome", "steel", "iron", "polyethylene", "bone", "soft", "water"),
        show_default=False,
    ),
]
Background = Annotated[
    float | None, typer.Option(help="HU that the CT's publishers put where they removed tissue, such as 0.", show_default=False)
]
Kilovolts = Annotated[float, typer.Option(help="Tube voltage: 60, 90 or 120.", autocompletion=one_of("60", "90", "120"))]
Labels = Annotated[Path | None, typer.Option(metavar="FILE", help="Label map: only its structures.", show_default=False)]
Keep = Annotated[str | None, typer.Option(metavar="1,2", help="Values of the label map to keep; default all but 0.", show_default=False)]
XrayCarm = Annotated[
    Path | None,
    typer.Option(
        metavar="YAML",
        help="Geometry; PNG and TIFF need it, for DICOM it overrides tags. With --rig beside angles only.",
        show_default=False,
    ),
]
SIDES = one_of("anterior", "posterior")
Detector = Annotated[
    str | None, typer.Option(help="Side that DICOM angles count from: anterior (the standard) or posterior.", autocompletion=SIDES)
]
Meshes = Annotated[
    list[Path] | None,
    typer.Option("--mesh", metavar="FILE", help="A mesh that is placed into the CT; give it as often.", show_default=False),
]
Device = Annotated[
    str,
    typer.Option(
        help="auto (a GPU where there is one), cpu, cuda, or one of several GPUs, such as cuda:1.",
        autocompletion=one_of("auto", "cpu", "cuda"),
    ),
]
Series = Annotated[str | None, typer.Option(help="UID or description, if the folder holds several CT series.", show_default=False)]


Body = Annotated[bool, typer.Option("--body", help="Only the largest connected body: cut away table and couch.")]
Crop = Annotated[str | None, typer.Option(metavar="X0,X1,Y0,Y1,Z0,Z1", help="Only this box of the CT, LPS [mm].", show_default=False)]


MOST_SEED = 2**63 - 1  # that PyTorch takes


def check_image(out: Path, *, truth: bool = False) -> list[str]:
    """Name the files of an image that is to be written, its geometry's and truth's; raise XrcoreError where they cannot be."""
    suffix = out.suffix.lower()
    if suffix not in WRITTEN_XRAY_SUFFIXES:
        raise XrcoreError(f"{out}: --out must end in .png, .tif, .tiff or .dcm")
    names = [out.name, *([] if suffix == ".dcm" else [out.stem + ".carm.yaml"]), *([out.stem + ".truth.json"] if truth else [])]
    check_writable(out.parent, *names)
    if truth and (other := other_of_truth(out.parent / names[-1], out)):
        raise XrcoreError(f"{out}: {names[-1]} is the truth of {other} there; give --out another name, or remove both")
    return names


def other_of_truth(truth: Path, out: Path) -> str | None:
    """The X-ray there, other than `out`, whose pose a NAME.truth.json says; None if there is none, or it says no name."""
    from xrcore._util.text_files import read_json

    if not truth.is_file():
        return None
    try:
        name = read_json(truth)["xray"]
        return name if name != out.name and (truth.parent / Path(name).name).exists() else None
    except (XrcoreError, LookupError, TypeError):  # of another program, or damaged
        return None


def field_value(text: str) -> tuple[str, Any]:
    """The name and value of --set FIELD=VALUE."""
    from xrcore._util.text_files import parse_yaml

    name, equals, value = text.partition("=")
    if not equals or not name:
        raise XrcoreError(f"--set: expected FIELD=VALUE, got {text!r}")
    try:
        return name, parse_yaml(value)
    except XrcoreError:
        raise XrcoreError(f"--set: {value!r} is not a value (of {name})") from None


def check_kept(outputs: Iterable[Path], inputs: Iterable[Path | None]) -> None:
    """Raise XrcoreError where a result would take the place of a file that is read, or of a slice in a folder that is."""
    read = [path for path in inputs if path is not None and os.path.lexists(path)]
    for out in outputs:
        for path in read if os.path.exists(out) else ():
            slice_of = out.suffix.lower() == ".dcm" and os.path.realpath(out).startswith(os.path.realpath(path) + os.sep)
            if slice_of or os.path.samefile(out, path):
                raise XrcoreError(f"{out}: would replace a file that is read; choose another --out")


def check_paths(out: Path, *inputs: Path | None) -> None:
    """Complain of paths before the packages that read them are imported, which takes seconds."""
    check_writable(out)
    for path in inputs:
        if path is not None and not os.path.isdir(path):
            check_file(path)


def import_packages() -> None:
    """Import what takes longest, while nobody looks for garbage among its half a million objects, neither now nor later."""
    if gc.get_freeze_count():
        return
    gc.disable()
    try:
        import xrcore.ct  # noqa: F401

        gc.freeze()
    finally:
        gc.enable()


def checked_search(search: str | None, initial: str | None) -> Literal["anywhere"] | None:
    """--search, which is for where nothing is known of the start."""
    if search is None:
        return None
    if search != "anywhere":
        raise XrcoreError(f"--search: expected anywhere, got {search!r}")
    if initial is not None:
        raise XrcoreError("give --initial, or --search anywhere, not both")
    return "anywhere"


def rig_files(rig: list[Path] | None, carm: Path | None) -> list[Path]:
    """The files of --rig; none where it is left out or says angles, as the X-rays' own do."""
    given = [path for path in rig or () if str(path) != "angles"]
    if rig and len(given) not in (0, len(rig)):
        raise XrcoreError("--rig: give angles or files, not both")
    if given and carm is not None:
        raise XrcoreError("give --rig, whose files hold each camera's geometry, or --carm, not both")
    return given


def input_fingerprints(ct: Path, labels: Path | None, carm: Path | None, rig: list[Path], initial: str | None) -> dict[str, Any]:
    """SHA-256 of the files that a result comes from, but for its X-rays."""
    from xrcore._util.hashes import fingerprint
    from xrcore.ct.reading import ct_files
    from xrcore.xray.carm_file import mask_file
    from xrcore.xray.rig_file import read_rig

    found: dict[str, Any] = {"ct": fingerprint(ct, ct_files(ct))}
    if initial is not None and os.path.isdir(initial):
        found["model"] = fingerprint(Path(initial) / "model.json")  # which names its weights' hash
    elif initial is not None and os.path.isfile(initial):
        found["initial"] = fingerprint(initial)
    if labels is not None:
        found["labels"] = fingerprint(labels, ct_files(labels))
    if carm is not None:
        found["carm"] = fingerprint(carm)
        if (mask := mask_file(carm)) is not None:
            found["mask"] = fingerprint(mask)
    if rig:
        named = dict.fromkeys(file for path in rig for camera in read_rig(path) for file in camera.files)
        found["rig"] = [fingerprint(file) for file in named]
    return found


def check_keep(keep: str | None, labels: Path | None) -> None:
    """Raise XrcoreError where --keep has no label map to choose from."""
    if keep is not None and labels is None:
        raise XrcoreError("--keep chooses values of a label map; give it by --labels")


def kept_values(keep: str | None) -> list[int] | None:
    """The numbers of --keep."""
    try:
        return None if keep is None else [int(value) for value in keep.split(",")]
    except ValueError:
        raise XrcoreError(f"--keep: expected whole numbers such as 1,2,5, got {keep!r}") from None


def ct_options(
    spacing: float, background: float | None, keep: str | None, series: str | None, body: bool, crop: str | None, material: str | None
) -> dict[str, Any]:
    """How a CT or a mesh is read, for what is recorded of a result."""
    return {
        "spacing": spacing,
        "background": background,
        "keep": keep,
        "series": series,
        "body": body,
        "crop": crop,
        "material": material,
    }


def load_ct(
    path: Path,
    spacing: float,
    background: float | None,
    labels: Path | None,
    keep: str | None,
    series: str | None,
    body: bool = False,
    crop: str | None = None,
    material: str | None = None,
    placed: list[Path] | None = None,
) -> Volume:
    """Read a CT, or a mesh, as the options say, and place meshes into it."""
    from xrcore.ct import place_mesh, read_ct, read_mesh

    if path.suffix.lower() in MESH_SUFFIXES:
        given = {
            "--background": background, "--labels": labels, "--keep": keep, "--series": series, "--body": body or None, "--crop": crop,
            "--mesh": placed or None,
        }  # fmt: skip
        if used := [name for name, value in given.items() if value is not None]:
            raise XrcoreError(f"{used[0]} is for a CT, and {path} is a mesh")
        return read_mesh(path, "titanium" if material is None else material, spacing)
    if material is not None and not placed:
        raise XrcoreError(f"--material is for a mesh, and {path} is a CT")
    check_keep(keep, labels)
    values = kept_values(keep)
    try:
        box = None if crop is None else [float(value) for value in crop.split(",")]
    except ValueError:
        raise XrcoreError(f"--crop: expected six numbers such as -100,100,-80,120,-300,50, got {crop!r}") from None
    volume = read_ct(path, spacing, background=background, labels=labels, keep=values, series=series, body=body, crop=box)
    for one in placed or ():
        volume = place_mesh(volume, one, "titanium" if material is None else material)
    return volume


def load_carm(path: Path | None) -> CArm:
    """The geometry of a carm.yaml; by default the mobile C-arm of the paper, 256 x 256 pixels on a detector of 432 mm."""
    from xrcore.geometry import PAPER_CARM
    from xrcore.xray import read_carm

    return PAPER_CARM if path is None else read_carm(path)


def tell(notes: tuple[str, ...], of: str = "") -> None:
    """Log remarks, one per line, each with what it is of; `main` shows them on stderr."""
    for note in notes:
        logger.info(" ".join([*([f"{of}:"] if of else []), *note.split()]))
