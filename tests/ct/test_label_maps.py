"""Label maps hold whole numbers and may come on any grid; what is none is refused, what covers a part is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from support.volume_headers import LPS, ORIGIN, SHAPE, SPACING, VOXELS, write_metaimage, write_nifti

from xrcore import XrcoreError
from xrcore.ct import read_ct, volume_from_hu
from xrcore.ct.label_maps import read_label_map

LABELS = np.zeros(SHAPE)
LABELS[2:5, 3:9, 2:7] = 3


def as_image(array: np.ndarray, spacing: tuple[float, ...] = SPACING, origin: tuple[float, ...] = ORIGIN) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    return image


def as_file(array: np.ndarray, folder: Path, suffix: str) -> Path:
    sitk.WriteImage(as_image(array), str(folder / f"labels{suffix}"))
    return folder / f"labels{suffix}"


@pytest.mark.parametrize("suffix", [".nii", ".nrrd", ".mha"])
@pytest.mark.parametrize("kind", ["uint8", "int16", "float32", "float64"])
def test_whole_numbers_of_any_type_keep_their_voxels(tmp_path, suffix, kind):
    volume = volume_from_hu(VOXELS, LPS, spacing=None, labels=as_file(LABELS.astype(kind), tmp_path, suffix), keep=[3])
    assert not volume.density.sum(0)[LABELS == 0].any()
    everything = volume_from_hu(VOXELS, LPS, spacing=None)
    assert np.array_equal(volume.density.sum(0)[LABELS == 3], everything.density.sum(0)[LABELS == 3])
    assert volume.notes == ()


def test_a_label_map_is_read_once_and_then_in_part(tmp_path):
    several = LABELS.copy()
    several[6:8, 1:3, 4:6] = 7
    path = as_file(several.astype("uint8"), tmp_path, ".nrrd")
    whole, part = read_label_map(path), read_label_map(path, [7])
    again = read_label_map(whole, [7])
    assert read_label_map(whole) is whole
    assert np.array_equal(again.indices, part.indices)
    assert np.allclose(again.world_from_voxel, part.world_from_voxel)
    assert (again.values, again.names) == (part.values, part.names) == ((7,), ("label 7",))
    with pytest.raises(XrcoreError, match="label 5 does not occur"):
        read_label_map(whole, [5])
    for odd in ("7", 7, [7.5], ["7"]):
        with pytest.raises(XrcoreError, match="read_label_map: keep must be a sequence of whole numbers"):
            read_label_map(path, odd)


@pytest.mark.parametrize("kind", ["uint8", "int16", "int64", "float32"])
def test_labels_are_counted_in_the_order_they_are_asked_for(kind):
    labels = np.random.default_rng(0).choice([0, 3, 4, 100], (5, 6, 7)).astype(kind)
    for keep in ([100, 3], [4], [3, 4, 100], [3, 100, 3]):
        found = read_label_map(as_image(labels), keep)
        values = np.array([0, *found.values])[found.indices]
        assert np.array_equal(values, np.where(np.isin(labels, keep), labels, 0))


@pytest.mark.parametrize(
    ("value", "words"), [(0.5, "this one 0.5"), (1e-6, "this one 1e-06"), (np.nan, "this one nan"), (np.inf, "this one inf")]
)
@pytest.mark.parametrize("given", ["file", "image", "array"])
@pytest.mark.parametrize("keep", [None, [3]])
def test_what_is_no_whole_number_is_refused(tmp_path, value, words, given, keep):
    odd = LABELS.astype(np.float32)
    odd[0, 0, 0] = value
    labels = {"file": lambda: as_file(odd, tmp_path, ".nii.gz"), "image": lambda: as_image(odd), "array": lambda: odd}[given]()
    with pytest.raises(XrcoreError, match="whole numbers") as error:
        volume_from_hu(VOXELS, LPS, labels=labels, keep=keep)
    assert words in str(error.value)
    assert "1 such voxels" in str(error.value)


@pytest.mark.parametrize(
    "odd", [LABELS * 1j, LABELS.astype(str), np.full(SHAPE, None), [[1], [1, 2]], "absent.nii", 5, sitk.Image(8, 8, sitk.sitkUInt8)]
)
def test_what_is_no_label_map_is_refused(odd):
    with pytest.raises(XrcoreError, match=r"label|absent\.nii"):
        volume_from_hu(VOXELS, LPS, labels=odd)


def test_an_image_whose_grid_is_damaged_is_refused():
    image = as_image(LABELS)
    image.SetOrigin((np.nan, 0, 0))
    with pytest.raises(XrcoreError, match="not finite"):
        volume_from_hu(VOXELS, LPS, labels=image)


def test_a_map_of_a_part_of_the_ct_is_told(tmp_path):
    whole = volume_from_hu(VOXELS, LPS, labels=as_image(LABELS))
    coarser = volume_from_hu(VOXELS, LPS, labels=as_image(np.ones((8, 12, 11)), origin=(-21.0, 5.0, 100.0)))
    part = volume_from_hu(VOXELS, LPS, labels=as_image(LABELS[:, 2:]))
    assert whole.notes == coarser.notes == ()
    assert "covers a part" in part.notes[0]


def test_remarks_about_the_file_of_a_map_reach_the_volume(tmp_path, caplog):
    ct = write_metaimage(tmp_path / "ct.mha")
    labels = write_nifti(tmp_path / "labels.nii", sform=0, qform=0)
    with pytest.raises(XrcoreError, match="outside"):  # which an unknown orientation explains
        read_ct(ct, labels=labels)
    labels = write_nifti(tmp_path / "labels.nii", pixdim=(1, 2.2, 2.5, 3, 0, 0, 0, 0))
    volume = read_ct(ct, labels=labels)
    assert str(labels) in volume.notes[0]
    assert "disagree" in volume.notes[0]
    assert caplog.messages == list(volume.notes)
