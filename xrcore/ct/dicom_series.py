"""A folder of DICOM slices -> HU and geometry."""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64
from numpy import ndarray

from xrcore._util.errors import XrcoreError
from xrcore.ct.dicom_pixels import is_dicom, number, numbers, pixels, read_dataset, rescaled, tag, text
from xrcore.ct.image_files import MOST_VOXELS

MOST_FILES = 20_000
_PLACE = {"position": ("ImagePositionPatient", 3), "orientation": ("ImageOrientationPatient", 6), "pixel_spacing": ("PixelSpacing", 2)}
_TAGS = ("SeriesInstanceUID", "SeriesDescription", "Modality", "ImageType", "Rows", "Columns", "NumberOfFrames")


@dataclass(frozen=True, kw_only=True)
class Slice:
    """What a slice's header says, enough to group and order."""

    path: Path
    uid: str
    description: str
    modality: str
    localizer: bool
    shape: tuple[int, int]
    frames: int
    position: list[float] | None
    orientation: list[float] | None
    pixel_spacing: list[float] | None


def read_series(path: Path, series: str | None = None) -> tuple[Float32[ndarray, "D H W"], Float64[ndarray, "4 4"]]:
    """HU (z, y, x) and world_from_voxel (LPS mm) of one CT series.

    path: a folder (searched through its subfolders), or one of the series' files, which stands for its series in the same folder.
    series: SeriesInstanceUID or SeriesDescription, needed when there are several CT series.
    Slices are ordered by position along their normal, never by name; each is rescaled by its own slope.
    Raises XrcoreError for no or several CT series, missing or doubled slices, and a tilted gantry.
    """
    slices = _index(path) if path.is_dir() else [_header(p) for p in sorted(path.parent.iterdir()) if is_dicom(p)]
    if not path.is_dir():
        own = _header(path)
        slices = [s for s in slices if s.uid == own.uid] or [own]
        if len(slices) == 1 and own.frames == 1:
            raise XrcoreError(f"{path}: a single DICOM slice without the rest of its series; give the folder that holds all slices")
    if not slices:
        raise XrcoreError(f"{path}: the folder holds no DICOM image")
    chosen = _choose(slices, series, path)
    order, world_from_voxel = _order(chosen, path)
    first = _hu(order[0])  # read before the volume is allocated: a damaged header may claim any size
    if first.size * len(order) > MOST_VOXELS:
        raise XrcoreError(f"{path}: the series has more than {MOST_VOXELS:.0e} voxels; crop it")
    hu = np.empty((len(order), *first.shape), dtype=np.float32)
    hu[0] = first
    for out, one in zip(hu[1:], order[1:], strict=True):
        out[:] = _hu(one)
    return hu, world_from_voxel


def _hu(one: Slice) -> Float32[ndarray, "H W"]:
    dataset = read_dataset(one.path)
    return rescaled(pixels(dataset, one.path)[0], dataset, one.path)


def _index(folder: Path) -> list[Slice]:
    found: list[Path] = []
    for root, folders, names in os.walk(folder):
        folders.sort()
        found += [Path(root, name) for name in sorted(names) if not name.startswith(".")]
        if len(found) > MOST_FILES:
            raise XrcoreError(f"{folder}: more than {MOST_FILES} files; give the folder of one CT series")
    marked = [p for p in found if is_dicom(p)]
    # without its mark a damaged slice at either end would be lost in silence
    unmarked = next((p for p in found if p.suffix.lower() == ".dcm" and not is_dicom(p)), None)
    if unmarked is not None:
        raise XrcoreError(f"{unmarked}: not a DICOM file (it lacks DICOM's mark); damaged? restore or remove it")
    return [s for s in map(_header, marked) if min(s.shape) > 0]


def _header(path: Path) -> Slice:
    dataset = read_dataset(path, (*_TAGS, *(keyword for keyword, _ in _PLACE.values())))
    return Slice(
        path=path,
        uid=text(dataset, "SeriesInstanceUID"),
        description=text(dataset, "SeriesDescription"),
        modality=text(dataset, "Modality"),
        localizer="LOCALIZER" in text(dataset, "ImageType").upper(),
        shape=(int(number(dataset, "Rows", path) or 0), int(number(dataset, "Columns", path) or 0)),
        frames=int(number(dataset, "NumberOfFrames", path) or 1),
        **{name: numbers(dataset, keyword, count, path) for name, (keyword, count) in _PLACE.items()},
    )


def _choose(slices: list[Slice], series: str | None, path: Path) -> list[Slice]:
    """The slices of one CT series; scouts are left out."""
    by_uid: dict[str, list[Slice]] = defaultdict(list)
    for one in slices:
        if not one.localizer:
            by_uid[one.uid].append(one)
    if not by_uid:
        raise XrcoreError(f"{path}: only localizer (scout) images, no CT slices")
    listed = "; ".join(_described(group) for group in by_uid.values())
    if series is not None:
        groups = [g for g in by_uid.values() if series in (g[0].uid, g[0].description)]
        if len(groups) != 1:
            what = "no series" if not groups else f"{len(groups)} series"
            raise XrcoreError(f"{path}: {what} named {series!r}; give series (--series) one of these UIDs: {listed}")
    else:
        groups = [g for g in by_uid.values() if g[0].modality in ("CT", "")]
        if len(groups) > 1:
            raise XrcoreError(f"{path}: {len(groups)} CT series, choose one by series (--series; its UID or description): {listed}")
    if not groups or groups[0][0].modality not in ("CT", ""):
        found = (groups or list(by_uid.values()))[0][0].modality
        raise XrcoreError(f"{path}: modality {found!r}, not CT; HU are needed ({listed})")
    return groups[0]


def _described(group: list[Slice]) -> str:
    one = group[0]
    return f"{one.uid} ({one.description or 'no description'}, {one.modality or 'no modality'}, {len(group)} slices)"


def _order(slices: list[Slice], path: Path) -> tuple[list[Slice], Float64[ndarray, "4 4"]]:
    """Slices from low to high along their normal, and world_from_voxel."""
    first = slices[0]
    if any(s.frames > 1 for s in slices):
        raise XrcoreError(f"{path}: a multi-frame (enhanced) CT is not read; convert it to NIfTI or to one file a slice")
    if len(slices) == 1:
        raise XrcoreError(f"{path}: the series has one slice; a CT needs at least two")
    for name, (keyword, _) in _PLACE.items():
        without = next((s for s in slices if getattr(s, name) is None), None)
        if without is not None:
            raise XrcoreError(f"{without.path}: no {tag(keyword)}, so its place is unknown")
    for name in ("shape", "orientation", "pixel_spacing"):
        other = next((s for s in slices if not np.allclose(getattr(s, name), getattr(first, name), atol=1e-3)), None)
        if other is not None:
            raise XrcoreError(
                f"{other.path}: its {name.replace('_', ' ')} differs from the rest of its series; remove it or choose another series"
            )
    axes = np.array(first.orientation, dtype=float).reshape(2, 3)
    if not np.allclose(axes @ axes.T, np.eye(2), atol=1e-3):
        raise XrcoreError(f"{first.path}: {tag('ImageOrientationPatient')} is not two perpendicular unit vectors")
    row_step, col_step = first.pixel_spacing or (0.0, 0.0)
    if min(row_step, col_step) <= 0:
        raise XrcoreError(f"{first.path}: {tag('PixelSpacing')} must be positive")
    normal = np.cross(axes[0], axes[1])
    normal /= np.linalg.norm(normal)
    positions = np.array([s.position for s in slices])
    along = positions @ normal
    order = np.argsort(along, kind="stable")
    gaps, positions = np.diff(along[order]), positions[order]
    step = float(np.median(gaps))
    if gaps.min() < 0.01:
        at = along[order][int(gaps.argmin())]
        raise XrcoreError(f"{path}: two slices at {at:g} mm; the series mixes several reconstructions or times, export one alone")
    if np.abs(gaps - step).max() > 0.1 * step:
        at = along[order][int(np.abs(gaps - step).argmax())]
        raise XrcoreError(
            f"{path}: slices are missing or unevenly spaced: steps of {gaps.min():g} to {gaps.max():g} mm, the oddest after {at:g} mm; "
            "export the complete series or resample it"
        )
    sideways = (positions[-1] - positions[0]) - (along[order][-1] - along[order][0]) * normal
    if np.linalg.norm(sideways) > 0.5 * min(row_step, col_step):
        raise XrcoreError(
            f"{path}: the gantry was tilted (slices are shifted sideways by {np.linalg.norm(sideways):.3g} mm); straighten the series first"
        )
    matrix = np.eye(4)
    mean_step = float((along[order][-1] - along[order][0]) / (len(slices) - 1))
    matrix[:3, :3] = np.stack([axes[0] * col_step, axes[1] * row_step, normal * mean_step], 1)
    matrix[:3, 3] = positions[0]
    return [slices[i] for i in order], matrix
