"""MetaImage: what the header says counts, and what it leaves open or contradicts is told or refused."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial.transform import Rotation
from support.volume_headers import LPS, ORIGIN, SPACING, VOXELS, write_metaimage

from xrcore import XrcoreError
from xrcore.ct import read_hu

RAW = VOXELS.astype("<i2").tobytes()


@pytest.mark.parametrize(
    ("fields", "data"),
    [
        ({}, RAW),
        ({"BinaryDataByteOrderMSB": "True"}, VOXELS.astype(">i2").tobytes()),
        ({"BinaryDataByteOrderMSB": None, "ElementByteOrderMSB": "1"}, VOXELS.astype(">i2").tobytes()),
        ({"CompressedData": "True"}, zlib.compress(RAW)),
        ({"BinaryData": "False"}, "\n".join(map(str, VOXELS.ravel())).encode()),
        ({"HeaderSize": "-1"}, b"something" + RAW),
        ({"HeaderSize": "9"}, b"something" + RAW),
        ({"ElementSpacing": None, "ElementSize": "2 2.5 3"}, RAW),
        ({"Offset": None, "Position": "-20 5 100"}, RAW),
        ({"ElementType": "MET_FLOAT"}, VOXELS.astype("<f4").tobytes()),
        ({"DistanceUnits": "cm", "ElementSpacing": ".2 .25 .3", "Offset": "-2 .5 10"}, RAW),
        ({"NDims": None}, RAW),
    ],
)
@pytest.mark.parametrize("beside", [None, "voxels.raw"])
def test_every_way_to_write_it(tmp_path, fields, data, beside):
    found = read_hu(write_metaimage(tmp_path / ("ct.mha" if beside is None else "ct.mhd"), fields | {"ElementDataFile": beside}, data))
    assert np.array_equal(found.hu, VOXELS)
    assert np.allclose(found.world_from_voxel, LPS)
    assert found.notes == ()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"TransformMatrix": None}, "orientation is unknown"),
        ({"Offset": None}, "no Offset"),
        ({"BinaryDataByteOrderMSB": None}, "byte order"),
        ({"DimSize": "10 12 7"}, "holds 240 bytes more"),
        ({"AnatomicalOrientation": "LPI"}, "contradicts its TransformMatrix"),
        ({"AnatomicalOrientation": "AIR"}, "contradicts its TransformMatrix"),
    ],
)
def test_what_the_header_leaves_open_or_contradicts_is_told(tmp_path, fields, words):
    found = read_hu(write_metaimage(tmp_path / "ct.mha", fields))
    assert any(words in note for note in found.notes)
    assert np.array_equal(found.hu, VOXELS[: len(found.hu)])
    assert np.allclose(found.world_from_voxel[:3, :3], LPS[:3, :3])


@pytest.mark.parametrize("seed", range(8))
def test_the_orientation_that_itk_writes_beside_its_matrix_is_no_contradiction(tmp_path, seed):
    image = sitk.GetImageFromArray(VOXELS)
    image.SetSpacing(SPACING)
    image.SetOrigin(ORIGIN)
    image.SetDirection(Rotation.random(random_state=seed).as_matrix().ravel().tolist())
    sitk.WriteImage(image, str(tmp_path / "ct.mha"))
    assert b"AnatomicalOrientation" in (tmp_path / "ct.mha").read_bytes()[:1000]
    assert read_hu(tmp_path / "ct.mha").notes == ()


@pytest.mark.parametrize(("code", "quiet"), [("RAI", True), ("???", True), ("", True), ("RPI", False)])
def test_a_code_of_known_letters_counts(tmp_path, code, quiet):
    assert (read_hu(write_metaimage(tmp_path / "ct.mha", {"AnatomicalOrientation": code})).notes == ()) is quiet


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"ElementSpacing": None}, "no ElementSpacing"),
        ({"ElementSpacing": "2 nan 3"}, "ElementSpacing"),
        ({"ElementSpacing": "2 0 3"}, "does not fit"),
        ({"ElementSpacing": "2 2.5"}, "does not fit"),
        ({"TransformMatrix": "1 0 0 0 1 0"}, "does not fit"),
        ({"TransformMatrix": "1 0 0 0 1 0 0 0 2"}, "perpendicular"),
        ({"Offset": "a b c"}, "Offset"),
        ({"DistanceUnits": "furlong"}, "furlong"),
        ({"DimSize": "10 12 8.5"}, "DimSize"),
        ({"DimSize": None}, "no DimSize"),
        ({"NDims": "2"}, "NDims"),
        ({"ElementType": "MET_OTHER"}, "not a MetaImage of numbers"),
        ({"ElementNumberOfChannels": "3"}, "3 values"),
        ({"BinaryData": "Xrue"}, "BinaryData"),
        ({"BinaryDataByteOrderMSB": "maybe"}, "ByteOrder"),
        ({"CompressedData": "True"}, "damaged or truncated"),
        ({"HeaderSize": "-2"}, "truncated|HeaderSize"),
        ({"HeaderSize": "99999999"}, "truncated"),
        ({"ElementDataFile": "LIST"}, "several files"),
        ({"ElementDataFile": "slice%03d.raw"}, "several files"),
        ({"DimSize ": "10 12 8"}, "stands there twice"),
        ({"DimSize": "900 900 900", "CompressedData": "True"}, "truncated"),
    ],
)
def test_damaged_headers_are_refused(tmp_path, fields, words):
    with pytest.raises(XrcoreError, match=words) as error:
        read_hu(write_metaimage(tmp_path / "ct.mha", fields))
    assert "\n" not in str(error.value)


def test_compressed_voxels_that_end_early_or_late(tmp_path):
    packed = zlib.compress(RAW)
    with pytest.raises(XrcoreError, match="damaged or truncated"):
        read_hu(write_metaimage(tmp_path / "ct.mha", {"CompressedData": "True"}, packed[:-4]))
    found = read_hu(write_metaimage(tmp_path / "ct.mha", {"CompressedData": "True"}, packed + b"more"))
    assert "4 bytes more" in found.notes[0]
    short = write_metaimage(tmp_path / "ct.mha", {"CompressedData": "True"}, zlib.compress(RAW[:-2]))
    with pytest.raises(XrcoreError, match="truncated"):
        read_hu(short)
