"""X-ray file -> Xray."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float32, Shaped
from numpy import ndarray

from xrcore._util.errors import XrcoreError, is_whole, require
from xrcore._util.file_suffixes import DICOM_SUFFIXES, VOLUME_SUFFIXES
from xrcore._util.input_files import check_file, checked_path
from xrcore._util.threads import single_torch_thread
from xrcore.ct.dicom_tags import is_dicom, tag
from xrcore.geometry import CArm
from xrcore.xray.carm_file import MASKS, CarmFile, build_carm, load_carm_file
from xrcore.xray.dicom import DicomXray, read_dicom
from xrcore.xray.dicom_geometry import TAGS
from xrcore.xray.exposed_field import field_of_view, inscribed_disc
from xrcore.xray.image import Xray
from xrcore.xray.positioner_angles import DETECTOR
from xrcore.xray.raster import read_raster


@single_torch_thread()
def read_xray(
    path: str | os.PathLike[str],
    carm: CArm | str | os.PathLike[str] | None = None,
    *,
    detector: str | None = None,
    frame: int | None = None,
) -> Xray:
    """Read an X-ray with its geometry: DICOM, TIFF or PNG (8 or 16 bit, or float TIFF).

    The image becomes an attenuation image, bone bright, up to gain and offset: intensities I turn into -log(I / I0), I0 their brightest
    0.1 %. What tags and options cannot tell stays a guess, kept in `notes`; registration finds a wrong sign by itself.
    Collimators, shutters and the round field of an image intensifier are masked, as tags and the image say, and so is padding. Burnt-in
    text is not.

    A CT's localizer (scout, topogram) becomes a `SlotScan` that knows where it was taken in its frame of reference (`Xray.pose_in`).
    Tags say its pixels at the isocentre; distances that they lack are for `carm`. It is turned head up if it was stored on its side.

    Parameters
    ----------
    path : path
        The file.
    carm : CArm or path, optional
        The geometry, or a carm.yaml (see `read_carm`), which may also say how pixels are meant; it describes the image as stored. Keys it
        has override DICOM tags; keys it lacks are taken from them. PNG and TIFF need it.
    detector : str, optional
        The side from which positioner angles count: "anterior", as the DICOM standard says and as is assumed by default; the image is
        then also flipped left to right if it was stored as shown to a reader who faces the patient. "posterior" counts as `Pose` does
        (ry = primary, rx = secondary). A file that `write_xray` made holds the exact pose, whatever is given here.
    frame : int, optional
        Of a multi-frame file, counted from 0; default the first.

    Returns
    -------
    Xray
        The image with its mask, geometry, and pose if the file says it.

    Raises
    ------
    XrcoreError
        One line naming the file and the tag or key that is missing or makes no sense.

    Examples
    --------
    >>> import numpy as np
    >>> from PIL import Image
    >>> import xrcore as xr
    >>> Image.fromarray(np.arange(32 * 48, dtype=np.uint16).reshape(32, 48)).save("xray.png")
    >>> carm = xr.CArm(source_to_detector=1200, source_to_isocenter=800, shape=(32, 48), pixel_spacing=6)
    >>> xr.read_xray("xray.png", carm)
    Xray: 32 x 48 pixels of 6 x 6 mm, 100 % of them inside the mask
    """
    path = checked_path("read_xray", path)
    known = carm is None or isinstance(carm, (CArm, str, os.PathLike))
    require("read_xray", "carm", carm, known, "a CArm, the path of a carm.yaml, or None")
    side = detector is None or (isinstance(detector, str) and detector in DETECTOR)
    require("read_xray", "detector", detector, side, f"{' or '.join(DETECTOR)}, or None")
    require("read_xray", "frame", frame, frame is None or is_whole(frame), "a whole number, or None")
    said = carm if isinstance(carm, CArm) else None
    file = load_carm_file(carm) if isinstance(carm, (str, os.PathLike)) else CarmFile(path=path)
    return _read(path, said, file, detector, frame, given=carm is not None)


def read_xray_as_stored(path: Path, file: CarmFile, frame: int | None) -> Xray:
    """Read an X-ray of a calibrated system, whose geometry is of the image as stored; a pose in the file is left out."""
    return _read(path, None, file, None, frame, given=True, as_stored=True)


def _read(
    path: Path, said: CArm | None, file: CarmFile, detector: str | None, frame: int | None, *, given: bool, as_stored: bool = False
) -> Xray:
    """Read an X-ray whose geometry is `said`, or in `file`, or in its own tags."""
    if os.path.isdir(path):
        raise XrcoreError(f"{path}: a folder; an X-ray is one file")
    check_file(path)
    dicom = is_dicom(path)
    if path.suffix.lower() in DICOM_SUFFIXES and not dicom:
        raise XrcoreError(f"{path}: not a DICOM file (it lacks DICOM's mark); damaged, or a wrong suffix")
    if path.name.lower().endswith(VOLUME_SUFFIXES):
        raise XrcoreError(f"{path}: an image of NIfTI, NRRD or MetaImage, such as a CT; an X-ray is DICOM, TIFF or PNG (give the CT first)")
    if dicom:
        source = read_dicom(path, frame)
        tags = {key: tag(keyword) for key, keyword in TAGS.items()}
    else:
        values, remarks = read_raster(path, frame)
        source = DicomXray(values=values, pixel_values="attenuation", geometry={}, notes=remarks)
        tags = {}
        if not given:
            raise XrcoreError(f"{path}: PNG and TIFF carry no geometry; give a CArm, or a carm.yaml (--carm)")
    own_spacing = said is not None or "pixel_spacing" in file.geometry or "K" in file.geometry
    if said is None:
        said = build_carm(_merged(file.geometry, source.geometry), source.values.shape, str(file.path if given else path), tags)
    elif said.shape != source.values.shape:
        said = build_carm({"shape": said.shape}, source.values.shape, str(path), {})
    notes = list(source.notes)
    if source.spacing_remark and not own_spacing:
        notes.append(source.spacing_remark)
    else:
        notes += _differences(said, source)
    return _assemble(path, source, file, said, detector, notes, as_stored=as_stored)


def _differences(carm: CArm, source: DicomXray) -> list[str]:
    """Remarks on what a given geometry says otherwise than the file's own tags, by more than 1 %."""
    notes = []
    for key, own in source.geometry.items():
        given = carm.spacing if key == "pixel_spacing" else getattr(carm, key, own)
        if key in TAGS and not (key == "pixel_spacing" and source.spacing_remark) and not np.allclose(given, own, rtol=0.01):
            used, says = (" x ".join(f"{v:g}" for v in np.atleast_1d(numbers)) for numbers in (given, own))
            notes.append(f"{key} is taken as {used}, but {tag(TAGS[key])} says {says}")
    return notes


def _merged(own: dict[str, Any], tags: dict[str, Any]) -> dict[str, Any]:
    """Keys of a carm.yaml over those of DICOM tags; a K brings its own scale and centre."""
    if "K" not in own:
        return {**tags, **own}
    scaled = "source_to_detector" in own or "pixel_spacing" in own
    wanted = ("source_to_isocenter",) if scaled else ("source_to_isocenter", "source_to_detector")
    return {**{k: v for k, v in tags.items() if k in wanted}, **own}


def _assemble(
    path: Path, source: DicomXray, file: CarmFile, carm: CArm, detector: str | None, notes: list[str], *, as_stored: bool
) -> Xray:
    """Pixel meaning, mask, pose and orientation, put together."""
    with np.errstate(over="ignore"):
        values = source.values.astype(np.float32)
    if not np.isfinite(values).all() and file.mask in MASKS:
        raise XrcoreError(f"{path}: the image holds NaN or infinite pixels; leave them out by a mask: FILE in a carm.yaml")
    if source.values.min() == source.values.max():
        raise XrcoreError(f"{path}: the image is constant, so there is nothing to register")
    pixel_values = file.pixel_values or source.pixel_values
    up = -1.0 if (pixel_values != "attenuation") != bool(file.invert) else 1.0
    mask = _mask(source, file, up * values)
    if not np.isfinite(values[mask]).all():
        raise XrcoreError(f"{path}: the image holds NaN or infinite pixels within its mask")
    attenuation = (
        _from_intensity(source.values, mask) if pixel_values == "intensity" else (values if pixel_values == "attenuation" else -values)
    )
    if file.invert:
        attenuation = -attenuation

    try:
        pose, (upside_down, swapped) = (None, (False, False)) if as_stored else source.placed(detector, carm, notes)
        localizer = None if as_stored else source.localizer
        placement = None if localizer is None else localizer.world_from_camera(carm)
        if localizer is not None:
            attenuation, mask, carm = (*map(localizer.as_seen, (attenuation, mask)), localizer.carm_as_seen(carm))
        attenuation, mask, carm = _flipped(attenuation, mask, carm, upside_down, swapped)
        notes += [f"flipped {way} to the camera's axes" for way, done in (("up-down", upside_down), ("left-right", swapped)) if done]
        return Xray(
            image=torch.from_numpy(np.ascontiguousarray(attenuation, dtype=np.float32)),
            carm=carm,
            mask=torch.from_numpy(np.ascontiguousarray(mask)),
            pose=pose,
            world_from_camera=placement,
            frame_of_reference="" if localizer is None else localizer.frame_of_reference,
            notes=tuple(notes),
            bone_bright=file.invert is not None,
        )
    except XrcoreError as error:
        raise XrcoreError(f"{path}: {error}") from None


def _from_intensity(values: Shaped[ndarray, "H W"], mask: Bool[ndarray, "H W"]) -> Float32[ndarray, "H W"]:
    """-log(I / I0). Empty pixels count as half the smallest step, of floats as 1e-4 of I0 at least."""
    brightest = float(np.percentile(values[mask], 99.9))
    if brightest <= 0:
        brightest = max(float(values.max()), 1.0)
    floor = 0.5 if np.issubdtype(values.dtype, np.integer) else 1e-4 * brightest
    if values[mask].min() <= floor < 0.5:  # else steps are not looked for, which takes a while
        floor = max(floor, float(np.diff(np.unique(values[mask])).min(initial=np.inf)) / 2)
    return -np.log(np.maximum(values.astype(np.float64), floor) / brightest).astype(np.float32)


def _mask(source: DicomXray, file: CarmFile, upward: Float32[ndarray, "H W"]) -> Bool[ndarray, "H W"]:
    """Where the image can be trusted; upward: pixel values that grow with attenuation."""
    shape = upward.shape
    if file.mask == "none":
        return np.ones(shape, dtype=bool)
    if file.mask == "circle":
        return inscribed_disc(shape)
    if file.mask == "auto":
        if source.mask is not None or source.open is None or source.open.all():
            return field_of_view(upward) if source.mask is None else source.mask
        # behind blades there may be anything: noise, scatter, text
        return field_of_view(np.where(source.open, upward, upward[source.open].max())) & source.open
    beside = file.path.parent / file.mask
    check_file(beside)
    values, _ = read_raster(beside)
    if values.shape != shape:
        raise XrcoreError(f"{beside}: the mask is {values.shape[0]} x {values.shape[1]} pixels, the image {shape[0]} x {shape[1]}")
    if not np.isfinite(values).all():
        raise XrcoreError(f"{beside}: the mask holds NaN or infinite pixels; write zero where nothing can be trusted")
    if not (values > 0).any():
        raise XrcoreError(f"{beside}: the mask is zero everywhere, it leaves no pixel")
    return values > 0


def _flipped(
    image: Float32[ndarray, "H W"], mask: Bool[ndarray, "H W"], carm: CArm, upside_down: bool, swapped: bool
) -> tuple[Float32[ndarray, "H W"], Bool[ndarray, "H W"], CArm]:
    """Image, mask and principal point mirrored up-down and left-right."""
    rows, cols = carm.shape
    row, col = carm.center
    axes = [axis for axis, flip in enumerate((upside_down, swapped)) if flip]
    point = (rows - 1 - row if upside_down else row, cols - 1 - col if swapped else col)
    return np.flip(image, tuple(axes)), np.flip(mask, tuple(axes)), replace(carm, principal_point=point)
