"""X-ray files of every kind that is read, a few pixels each."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path

import numpy as np
import pydicom
import torch
from numpy.typing import NDArray
from PIL import Image
from pydicom.uid import RLELossless
from support.mutants.byte_mutations import damaged, spliced
from support.mutants.ct_samples import wavelets
from support.mutants.dicom_mutations import dicom_element, element_lost, pixels_resized
from support.mutants.guarded import Found, Sample
from support.mutants.raster_mutations import png_chunk, tiff_entry

from xrcore import CArm, Pose, Xray, read_xray
from xrcore.xray import write_carm, write_xray

CARM = CArm(source_to_detector=1200, source_to_isocenter=700, shape=(12, 10), pixel_spacing=1.5)


def samples(folder: Path) -> dict[str, Sample]:
    """By name."""
    values = _values()
    found: dict[str, Sample] = {}
    image = torch.from_numpy(values.astype(np.float32) / 1000)
    mask = torch.ones(CARM.shape, dtype=torch.bool)
    mask[:3] = False
    write_xray(folder / "own.dcm", Xray(image=image, carm=CARM, mask=mask, pose=Pose(rx=3.0, ry=20.0)))
    for name, kind in (("plain", ""), ("cine", ""), ("run lengths", "RLE"), ("lossless", "JPEG"), ("wavelets", "JPEG2000")):
        _angiogram(folder, name, kind)
    for name in ("own", "plain", "cine", "run lengths", "lossless", "wavelets"):
        path = folder / f"{name}.dcm"
        contradictions = [element_lost] + ([pixels_resized] if name in ("own", "plain", "cine") else [])
        other = (folder / ("plain.dcm" if name == "own" else "own.dcm")).read_bytes()
        found[f"{name}.dcm"] = Sample(
            path, partial(_xray, path, None), [damaged, *[dicom_element] * 3, partial(spliced, other=other)], contradictions
        )
    found["angles as standard"] = Sample(
        folder / "plain.dcm", partial(_xray, folder / "plain.dcm", None, detector="anterior"), [dicom_element]
    )

    write_carm(folder / "carm.yaml", CARM)
    Image.fromarray(values.astype(np.uint16)).save(folder / "deep.png")
    Image.fromarray((values // 16).astype(np.uint8)).save(folder / "flat.png")
    Image.fromarray((values // 16).astype(np.uint8)).convert("P").save(folder / "palette.png")
    write_xray(folder / "float.tif", image)
    Image.fromarray(values.astype(np.uint16)).save(folder / "raw.tif")
    pages = [Image.fromarray((values // (16 + k)).astype(np.uint8)) for k in range(3)]
    pages[0].save(folder / "pages.tif", save_all=True, append_images=pages[1:], compression="packbits")
    rasters = ("deep.png", "flat.png", "palette.png", "float.tif", "raw.tif", "pages.tif")
    for name in rasters:
        others = [(folder / other).read_bytes() for other in rasters if other[-3:] == name[-3:] and other != name]
        by_field = png_chunk if name.endswith("png") else tiff_entry
        mutations = [damaged, by_field, by_field, partial(spliced, other=others[0])]
        found[name] = Sample(folder / name, partial(_xray, folder / name, CARM), mutations)
    Image.fromarray(((values > 500) * 255).astype(np.uint8)).save(folder / "mask.png")
    (folder / "masked.yaml").write_text((folder / "carm.yaml").read_text() + "mask: mask.png\n")
    found["mask.png"] = Sample(folder / "mask.png", partial(_xray, folder / "deep.png", folder / "masked.yaml"), [damaged, png_chunk])
    return found


def _xray(path: Path, carm: CArm | Path | None, detector: str = "posterior") -> Found:
    xray = read_xray(path, carm, detector=detector)
    content = xray.image.numpy().tobytes() + xray.mask.numpy().tobytes()
    pose = None if xray.pose is None else xray.pose.numbers.tolist()
    return Found(hashlib.sha256(content).hexdigest(), (repr(xray.carm), pose), xray.notes)


def _values() -> NDArray[np.int_]:
    return np.random.default_rng(1).integers(1, 4095, CARM.shape)


def _angiogram(folder: Path, name: str, kind: str) -> None:
    """As another system writes it: counts of 12 bits, the geometry in its tags, angles of its positioner."""
    write_xray(folder / f"{name}.dcm", _values().astype(np.float32), CARM, Pose(rx=3.0, ry=20.0))
    data = pydicom.dcmread(folder / f"{name}.dcm")
    data.remove_private_tags()
    data.Manufacturer, data.SpecificCharacterSet, data.PixelIntensityRelationship, data.PixelIntensityRelationshipSign = (
        "",
        "ISO_IR 100",
        "LIN",
        1,
    )
    del data.RescaleSlope, data.RescaleIntercept, data.RescaleType
    data.BitsStored, data.HighBit = 12, 11
    values = _values()
    if name == "cine":
        values = np.stack([values, values[::-1], values[:, ::-1]])
        data.NumberOfFrames, data.FrameIncrementPointer, data.FrameTime = 3, 0x00181063, 33
    data.PixelData = values.astype("<u2").tobytes()
    if kind == "RLE":
        data.compress(RLELossless)
    elif kind:
        data.file_meta.TransferSyntaxUID, data.PixelData = wavelets(values, folder, kind)
        data["PixelData"].is_undefined_length, data["PixelData"].VR = True, "OB"
    data.save_as(folder / f"{name}.dcm", enforce_file_format=True)
