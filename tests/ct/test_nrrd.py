"""NRRD: what the header says counts, and what it leaves open or contradicts is told or refused."""

from __future__ import annotations

import bz2
import gzip

import numpy as np
import pytest
import SimpleITK as sitk
from support.volume_headers import LPS, VOXELS, write_nrrd

from xrcore import XrcoreError
from xrcore.ct import read_hu
from xrcore.ct.image_files import geometry

RAW = VOXELS.astype("<i2").tobytes()
TEXT = " ".join(map(str, VOXELS.ravel())).encode()
SPACES = {"lps": (1, 1, 1), "left-posterior-superior": (1, 1, 1), "RAS": (-1, -1, 1), "left-anterior-superior": (1, -1, 1)}


@pytest.mark.parametrize("space", SPACES)
def test_the_space_is_turned_into_lps(tmp_path, space):
    path = write_nrrd(tmp_path / "ct.nrrd", {"space": space})
    found = read_hu(path)
    assert np.array_equal(found.hu, VOXELS)
    assert np.allclose(found.world_from_voxel, np.diag([*SPACES[space], 1]) @ LPS)
    assert np.allclose(found.world_from_voxel, geometry(sitk.ReadImage(str(path))))
    assert found.notes == ()


@pytest.mark.parametrize(
    ("fields", "data"),
    [
        ({"encoding": "gzip"}, gzip.compress(RAW)),
        ({"encoding": "gz"}, gzip.compress(RAW[:500]) + gzip.compress(RAW[500:])),
        ({"encoding": "bzip2"}, bz2.compress(RAW)),
        ({"encoding": "hex"}, RAW.hex().encode()),
        ({"encoding": "ascii", "endian": None}, TEXT),
        ({"encoding": "text", "type": "float"}, TEXT.replace(b" ", b"\n")),
        ({"endian": "big"}, VOXELS.astype(">i2").tobytes()),
        ({"type": "signed short"}, RAW),
        ({"type": "double"}, VOXELS.astype("<f8").tobytes()),
        ({"byte skip": "-1"}, b"header of something else" + RAW),
        ({"byte skip": "4"}, b"four" + RAW),
        ({"line skip": "2", "byteskip": "1"}, b"one\ntwo\n." + RAW),
        ({"sizes": "1 10 12 8", "dimension": "4", "space directions": "none (2,0,0) (0,2.5,0) (0,0,3)"}, RAW),
        ({"kinds": "domain domain domain", "content": "a CT", "measurement frame": "(1,0,0) (0,1,0) (0,0,1)"}, RAW),
    ],
)
@pytest.mark.parametrize("beside", [None, "voxels.bin"])
def test_every_way_to_write_the_voxels(tmp_path, fields, data, beside):
    found = read_hu(write_nrrd(tmp_path / ("ct.nrrd" if beside is None else "ct.nhdr"), fields | {"data file": beside}, data))
    assert np.array_equal(found.hu, VOXELS)
    assert np.allclose(found.world_from_voxel, LPS)
    assert found.notes == ()


def test_carriage_returns_and_keys_of_others(tmp_path):
    path = write_nrrd(tmp_path / "ct.nrrd", {"DICOM_tag:=": "x: y"})
    head, _, voxels = path.read_bytes().partition(b"\n\n")
    path.write_bytes(head.replace(b"\n", b"\r\n") + b"\r\n\r\n" + voxels)
    assert np.array_equal(read_hu(path).hu, VOXELS)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"space": None, "space dimension": "3"}, "orientation is unknown (no space"),
        ({"space": "scanner-xyz"}, "orientation is unknown (space: 'scanner-xyz'"),
        ({"space": None, "space directions": None, "spacings": "2 2.5 3"}, "orientation is unknown"),
        ({"space origin": None}, "no space origin"),
        ({"sizes": "10 12 7"}, "holds 240 bytes more"),
    ],
)
def test_what_the_header_leaves_open_is_told(tmp_path, fields, words):
    found = read_hu(write_nrrd(tmp_path / "ct.nrrd", fields))
    assert any(words in note for note in found.notes)
    assert np.array_equal(found.hu, VOXELS[: len(found.hu)])
    assert np.allclose(found.world_from_voxel[:3, :3], LPS[:3, :3])


def test_surplus_numbers_are_told(tmp_path):
    assert (
        "holds 1 numbers more than its header says"
        in read_hu(write_nrrd(tmp_path / "ct.nrrd", {"encoding": "text"}, TEXT + b" 7")).notes[0]
    )


@pytest.mark.parametrize(("unit", "scale"), [("mm", 1), ("cm", 10), ("um", 0.001), ("", 1)])
def test_units_of_length(tmp_path, unit, scale):
    directions = " ".join(f"({x / scale:g},{y / scale:g},{z / scale:g})" for x, y, z in np.diag([2.0, 2.5, 3.0]))
    origin = "(" + ",".join(f"{v / scale:g}" for v in LPS[:3, 3]) + ")"
    fields = {"space units": " ".join([f'"{unit}"'] * 3), "space directions": directions, "space origin": origin}
    assert np.allclose(read_hu(write_nrrd(tmp_path / "ct.nrrd", fields)).world_from_voxel, LPS)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"space directions": None}, "no voxel size"),
        ({"space directions": "none none none"}, "no usable voxel size"),
        ({"space directions": "(2,0,0) (0,2.5,0)"}, "no usable voxel size"),
        ({"space directions": "(2,0,0) (0,nan,0) (0,0,3)"}, "not a vector"),
        ({"space directions": "(2,0,0) (0,0,0) (0,0,3)"}, "zero or not finite"),
        ({"space directions": "(2,0,0) (0,2.5,0) (0,0,x)"}, "not a vector"),
        ({"space directions": "(2,0,0) (0,2.5,0) (1,0,3)"}, "sheared"),
        ({"space directions": "(2,0) (0,2.5) (0,0)"}, "not a vector"),
        ({"space directions": None, "spacings": "nan 2 3"}, "no usable voxel size"),
        ({"space directions": None, "spacings": "nan nan nan"}, "no usable voxel size"),
        ({"space directions": None, "spacings": "-2 2 3"}, "no usable voxel size"),
        ({"space directions": None, "spacings": "2 x 3"}, "no usable voxel size"),
        ({"space origin": "(1,2"}, "not a vector"),
        ({"space units": '"furlong" "furlong" "furlong"'}, "furlong"),
        ({"space units": '"mm" "mm" "cm"'}, "not known"),
        ({"type": "block"}, "type"),
        ({"type": None}, "type"),
        ({"dimension": "4"}, "dimension"),
        ({"sizes": "10 12 8.5"}, "sizes"),
        ({"sizes": "10 12"}, "dimension"),
        ({"sizes": None}, "sizes"),
        ({"sizes": "2 10 12 4", "dimension": "4", "space directions": "none (2,0,0) (0,2.5,0) (0,0,3)"}, "2 values"),
        ({"encoding": "zip"}, "encoding"),
        ({"encoding": None}, "encoding"),
        ({"endian": None}, "endian"),
        ({"endian": "middle"}, "endian"),
        ({"encoding": "gzip"}, "damaged or truncated"),
        ({"encoding": "bzip2"}, "damaged or truncated"),
        ({"encoding": "hex"}, "hexadecimal"),
        ({"encoding": "text"}, "truncated|not numbers"),
        ({"byte skip": "-2"}, "skip"),
        ({"byte skip": "99999"}, "truncated"),
        ({"byte skip": "8", "encoding": "gzip"}, "skip"),
        ({"line skip": "-1"}, "skip"),
        ({"spaceorigin": "(0,0,0)"}, "stands there twice"),
        ({"xspace origin": "(0,0,0)"}, "no field of NRRD"),
        ({"data file": "LIST"}, "several files"),
        ({"data file": "slice%03d.raw"}, "several files"),
    ],
)
def test_damaged_headers_are_refused(tmp_path, fields, words):
    with pytest.raises(XrcoreError, match=words) as error:
        read_hu(write_nrrd(tmp_path / "ct.nrrd", fields, RAW + RAW))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("kind", "data", "words"),
    [
        ("short", b"\x80\xff" * 2000 + b" 1" * 2000, "not numbers as text"),
        ("short", TEXT.replace(b" ", b" x", 1), "not numbers as text"),
        ("short", b" 0.5" * VOXELS.size, "of the type"),
        ("uchar", b" 300" * VOXELS.size, "of the type"),
        ("short", b" nan" * VOXELS.size, "of the type"),
        ("float", b" inf" * VOXELS.size, "NaN or infinite"),
        ("float", TEXT[:-200], "truncated"),
    ],
)
def test_text_that_is_not_the_voxels_is_refused(tmp_path, kind, data, words):
    with pytest.raises(XrcoreError, match=words):
        read_hu(write_nrrd(tmp_path / "ct.nrrd", {"encoding": "text", "type": kind}, data))


def test_text_of_too_many_voxels_is_refused_unread(tmp_path):
    with pytest.raises(XrcoreError, match="as text"):
        read_hu(write_nrrd(tmp_path / "ct.nrrd", {"encoding": "text", "sizes": "1000 1000 1000"}, TEXT))


def test_a_header_without_end_is_refused(tmp_path):
    path = write_nrrd(tmp_path / "ct.nrrd")
    path.write_bytes(path.read_bytes().partition(b"\n\n")[0])
    with pytest.raises(XrcoreError, match="no empty line"):
        read_hu(path)
