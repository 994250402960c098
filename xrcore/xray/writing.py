"""Xray or rendered image -> DICOM, TIFF or PNG."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32
from numpy import ndarray
from PIL import Image
from torch import Tensor

from xrcore._util.atomic import atomic_file
from xrcore._util.errors import XrcoreError
from xrcore._util.file_suffixes import WRITTEN_XRAY_SUFFIXES
from xrcore._util.input_files import checked_path
from xrcore.geometry import CArm, Pose, SlotScan
from xrcore.geometry.pose import require_one_pose
from xrcore.xray.dicom_object import xray_dataset
from xrcore.xray.image import Xray


def write_xray(
    path: str | os.PathLike[str],
    image: Xray | Float[Tensor, "*one H W"] | Float[ndarray, "*one H W"],
    carm: CArm | None = None,
    pose: Pose | None = None,
) -> None:
    """Write an attenuation image; the suffix chooses the format.

    .dcm is an X-ray angiography object with all geometry tags, 16 bit; `read_xray` returns the same CArm, pose and mask, and the image to
    its quantisation. .tif and .tiff are float32, exact; .png is 16 bit, scaled from darkest to brightest (the scale is lost). Neither
    carries geometry, pose or mask: write a carm.yaml beside it by `write_carm`, as for a slot scan, which .dcm does not hold.

    Parameters
    ----------
    path : path
        The file, ending in .dcm, .tif, .tiff or .png.
    image : Xray or Float[Tensor, "*one H W"]
        What to write. Masked pixels that are NaN become the smallest value.
    carm : CArm, optional
        The geometry; DICOM needs it unless `image` is an Xray.
    pose : Pose, optional
        Where it was taken from; default that of an Xray.

    Raises
    ------
    XrcoreError
        Naming the file.
    """
    path = checked_path("write_xray", path)
    mask = None
    if isinstance(image, Xray):
        carm, pose, mask = carm or image.carm, image.pose if pose is None else pose, image.mask.cpu().numpy()
        image = image.image
    values = _finite(image, mask, path)
    suffix = path.suffix.lower()
    if suffix not in WRITTEN_XRAY_SUFFIXES:
        raise XrcoreError(f"{path}: X-rays are written as .dcm, .tif or .png")
    if suffix == ".dcm":
        if carm is None:
            raise XrcoreError(f"{path}: DICOM holds the geometry too; give carm=")
        if isinstance(carm, SlotScan):
            raise XrcoreError(f"{path}: DICOM's X-ray objects describe a source that stands still; write a slot scan as .tif or .png")
        if carm.shape != values.shape:
            raise XrcoreError(f"{path}: the image is {values.shape} but its CArm has shape {carm.shape}")
        if pose is not None:
            require_one_pose("write_xray", "pose", pose)
        dataset = xray_dataset(values, carm, pose, mask)
        with atomic_file(path) as temporary:
            dataset.save_as(temporary, enforce_file_format=True)
        return
    with atomic_file(path) as temporary:
        if suffix == ".png":
            low, high = float(values.min()), float(values.max())
            scaled = np.round((values.astype(np.float64) - low) / max(high - low, 1e-30) * 65535).astype(np.uint16)
            Image.fromarray(scaled).save(temporary, format="PNG")
        else:
            write_float_tiff(temporary, values)


def write_float_tiff(path: Path, values: Float32[ndarray, "H W"]) -> None:
    """Write values exactly; NaN may be among them."""
    content = io.BytesIO()  # libtiff cannot open every path
    Image.fromarray(values).save(content, format="TIFF", compression="tiff_adobe_deflate")
    path.write_bytes(content.getvalue())


def _finite(image: Tensor | ndarray, mask: ndarray | None, path: Path) -> Float32[ndarray, "H W"]:
    values = (image.detach().cpu().numpy() if isinstance(image, torch.Tensor) else np.asarray(image)).astype(np.float32)
    if values.ndim == 3 and values.shape[0] == 1:
        values = values[0]
    if values.ndim != 2 or 0 in values.shape:
        raise XrcoreError(f"{path}: expected one image (H, W), got shape {tuple(values.shape)}")
    bad = ~np.isfinite(values)
    if bad.any():
        if mask is None or (bad & mask).any():
            raise XrcoreError(f"{path}: the image holds NaN or infinite pixels")
        values = np.where(bad, values[~bad].min(), values)
    return np.ascontiguousarray(values)
