"""DICOM slices, a file each or frames of one file -> HU and geometry."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Float64
from numpy import ndarray
from pydicom.dataset import Dataset
from scipy import ndimage

from xrcore._util.errors import XrcoreError
from xrcore.ct.dicom_pixels import padding, rescale_remark, rescaled, stored_pixels
from xrcore.ct.dicom_slices import PLACE, Slice, slices_of
from xrcore.ct.dicom_tags import frame_tags, plane_axes, read_dataset, tag, text
from xrcore.ct.materials import HU_OF_AIR
from xrcore.ct.voxel_data import MOST_VOXELS, ImageFile

SAME_PLACE = 0.01  # [mm]
# how far a slice may be from its place on the grid, in steps and in pixels: headers round
OFF_ALONG, OFF_SIDEWAYS = 0.1, 0.5
LOWEST_HU, HIGHEST_HU = -1024.0, 3071.0  # of 12 bits, what tissue and metal can have


def read_series(path: Path, series: str | None = None) -> ImageFile:
    """HU (z, y, x), world_from_voxel (LPS mm) and remarks of one CT series.

    path: a folder (searched through its subfolders), one of the series' files, which stands for its series in the same folder, or an
    enhanced file, which holds all slices.
    series: SeriesInstanceUID or SeriesDescription, needed when there are several CT series.
    Slices are ordered by position along their normal, never by name; each is rescaled by its own slope.
    Raises XrcoreError for no or several CT series, missing, doubled or displaced slices, and a tilted gantry.
    """
    slices, notes = slices_of(path)
    if not slices:
        raise XrcoreError(f"{path}: {'the folder' if path.is_dir() else 'this DICOM file'} holds no DICOM image")
    if not path.is_dir() and len(slices) == 1:
        raise XrcoreError(f"{path}: a single DICOM slice without the rest of its series; give the folder that holds all slices")
    chosen = _without_copies(_choose(slices, series, path), notes)
    order, world_from_voxel = _order(chosen, path)
    places: dict[Path, list[int]] = defaultdict(list)
    for k, one in enumerate(order):
        places[one.path].append(k)
    hu = None
    for file, indices in places.items():
        dataset = read_dataset(file)
        for k in indices:
            values = _hu(frame_tags(dataset, order[k].frame, file), dataset, order[k], notes)
            if hu is None:  # not before the first slice is read: a damaged header may claim any size
                if values.size * len(order) > MOST_VOXELS:
                    raise XrcoreError(f"{path}: the series has more than {MOST_VOXELS:.0e} voxels; crop it")
                hu = np.empty((len(order), *values.shape), dtype=np.float32)
            hu[k] = values
    assert hu is not None
    return ImageFile(hu, world_from_voxel, tuple(dict.fromkeys(notes)), order[0].frame_of_reference)


def _hu(tags: Dataset, dataset: Dataset, one: Slice, notes: list[str]) -> Float32[ndarray, "H W"]:
    """One slice's HU, with air where the scanner filled beyond its circle."""
    if "ModalityLUTSequence" in tags:
        raise XrcoreError(f"{one.path}: {tag('ModalityLUTSequence')} instead of a slope and an intercept is not read; convert the series")
    if "RescaleIntercept" not in tags:
        notes.append(f"no {tag('RescaleIntercept')}: stored values are taken for HU")
    elif remark := rescale_remark(tags):
        notes.append(remark)
    if (unit := text(tags, "RescaleType").upper()) not in ("", "HU", "US"):
        notes.append(f"{tag('RescaleType')} is {unit[:20]}, taken for HU")
    stored = stored_pixels(dataset, one.path, one.frame)
    hu = rescaled(stored, tags, one.path)
    if (padded := padding(stored, tags, one.path)) is not None and padded.any():
        value = float(hu[padded][0])
        if LOWEST_HU <= value <= HIGHEST_HU:  # a value that tissue has too
            padded = _touching_border(padded)
            notes.append(
                f"{tag('PixelPaddingValue')} stands for {value:g} HU, which tissue may have: taken for air where it touches the border"
            )
        hu[padded] = HU_OF_AIR
    return hu


def _touching_border(region: Bool[ndarray, "H W"]) -> Bool[ndarray, "H W"]:
    """The connected parts of a region that reach the image's border."""
    seed = region.copy()
    seed[1:-1, 1:-1] = False
    return ndimage.binary_propagation(seed, mask=region)


def _without_copies(slices: list[Slice], notes: list[str]) -> list[Slice]:
    """Each slice once: of those with the same pixels at the same place, the first."""
    kept: dict[str, list[Slice]] = defaultdict(list)
    copies: list[Slice] = []
    for one in slices:
        same_place = kept[f"{one.position or one.path} {one.orientation} {one.pixel_spacing} {one.shape}"]
        is_copy = bool(same_place) and any(np.array_equal(_pixels(one), _pixels(other)) for other in same_place)
        (copies if is_copy else same_place).append(one)
    if copies:
        notes.append(f"{len(copies)} slices are copies of others and were left out, such as {copies[0].path.name}")
    return [one for group in kept.values() for one in group]


def _pixels(one: Slice) -> Float32[ndarray, "H W"]:
    dataset = read_dataset(one.path)
    return _hu(frame_tags(dataset, one.frame, one.path), dataset, one, [])


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
    if len(slices) == 1:
        raise XrcoreError(f"{path}: the series has one slice; a CT needs at least two")
    for name, (keyword, _) in PLACE.items():
        without = next((s for s in slices if getattr(s, name) is None), None)
        if without is not None:
            raise XrcoreError(f"{without.path}: no {tag(keyword)}, so its place is unknown")
    for name in ("shape", "orientation", "pixel_spacing"):
        other = next((s for s in slices if not np.allclose(getattr(s, name), getattr(first, name), atol=1e-3)), None)
        if other is not None:
            raise XrcoreError(
                f"{other.path}: its {name.replace('_', ' ')} differs from the rest of its series; remove it or choose another series"
            )
    row_step, col_step = first.pixel_spacing or (0.0, 0.0)
    axes = plane_axes(first.orientation, (row_step, col_step), first.path)
    normal = np.cross(axes[0], axes[1])
    normal /= np.linalg.norm(normal)
    positions = np.array([s.position for s in slices])
    along = positions @ normal
    order = np.argsort(along, kind="stable")
    along, positions = along[order], positions[order]
    gaps = np.diff(along)
    if gaps.min() < SAME_PLACE:
        at = along[int(gaps.argmin())]
        raise XrcoreError(f"{path}: two slices at {at:g} mm; the series mixes several reconstructions or times, export one alone")
    step = float((along[-1] - along[0]) / (len(slices) - 1))
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([axes[0] * col_step, axes[1] * row_step, normal * step], 1)
    matrix[:3, 3] = positions[0]
    # single gaps would not tell: small differences add up
    off = positions - positions[0] - np.arange(len(slices))[:, None] * step * normal
    off_along = off @ normal
    if np.abs(off_along).max() > OFF_ALONG * step:
        at = along[int(np.abs(gaps - np.median(gaps)).argmax())]
        raise XrcoreError(
            f"{path}: slices are missing or unevenly spaced: steps of {gaps.min():g} to {gaps.max():g} mm, the oddest after {at:g} mm; "
            "export the complete series or resample it"
        )
    sideways = np.linalg.norm(off - off_along[:, None] * normal, axis=1).max()
    if sideways > OFF_SIDEWAYS * min(row_step, col_step):
        raise XrcoreError(
            f"{path}: slices are shifted sideways by up to {sideways:.3g} mm, as with a tilted gantry; straighten the series first"
        )
    return [slices[i] for i in order], matrix
