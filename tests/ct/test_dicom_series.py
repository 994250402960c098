"""CT series as scanners and archives leave them: copies, padding, one file for all, no preamble, and damage that must not be silent."""

from __future__ import annotations

import os
import shutil
import threading
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_files import BALL, ORIGIN, SHAPE, STEP, ball_at, compressed, ct_series, enhanced_ct, group, hounsfield, outside, saved, with_tags
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian, JPEGLSLossless, RLELossless

from xrcore._util.errors import XrcoreError
from xrcore.ct import read_ct, read_hu
from xrcore.ct.dicom_tags import MOST_READS, read_dataset


def refused(path: Path, words: str) -> str:
    with pytest.raises(XrcoreError, match=words) as error:
        read_hu(path)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_made_series_is_read(tmp_path):
    found = read_hu(ct_series(tmp_path / "ct"))
    assert np.array_equal(found.hu, hounsfield())
    assert np.allclose(ball_at(found.hu, found.world_from_voxel), ORIGIN + STEP * BALL)
    assert found.notes == ()


# what scanners write beyond their circle


@pytest.mark.parametrize(
    ("value", "stored", "remarked"),
    [
        (-2000, {"signed": True}, False),
        (63536, {}, False),  # -2000 without a sign
        (4095, {"bits": 12}, True),  # what metal saturates to
        (32767, {"signed": True}, False),
        (0, {"signed": True, "intercept": 0}, True),  # what water has
    ],
)
@pytest.mark.parametrize("vr", ["US", "SS"])
def test_padding_is_air_whatever_its_value_and_type(tmp_path, value, stored, remarked, vr):
    if (vr == "SS" and value > 32767) or (vr == "US" and value < 0):
        value += -65536 if vr == "SS" else 65536  # the same two bytes

    def pad(data, k):
        values = np.frombuffer(data.PixelData, "<u2").reshape(SHAPE[1:]).copy()
        values[outside()[k]] = value % 65536
        data.PixelData = values.tobytes()
        data.add_new(0x00280120, vr, value)

    hu = hounsfield()
    if value == 0:
        hu[2, 6, 6] = 0  # inside the body, where 0 is a value as any other
    path = ct_series(tmp_path / "ct", hu, edit=pad, **stored)
    found = read_hu(path)
    assert np.array_equal(found.hu, np.where(outside(), -1000, hu))
    assert any("PixelPaddingValue" in note for note in found.notes) == remarked
    assert float(read_ct(path, spacing=None).density[:, :, 0, 0].sum()) == 0


def test_a_range_of_padding(tmp_path):
    def pad(data, k):
        values = np.frombuffer(data.PixelData, "<i2").reshape(SHAPE[1:]).copy()
        values[outside()[k]] = np.arange(outside()[k].sum()) % 10 - 20010
        data.PixelData = values.tobytes()
        data.add_new(0x00280120, "SS", -20010)
        data.add_new(0x00280121, "SS", -20000)

    assert np.array_equal(read_hu(ct_series(tmp_path / "ct", edit=pad, signed=True)).hu, np.where(outside(), -1000, hounsfield()))


# copies


@pytest.mark.parametrize("renamed", [False, True])
def test_copies_of_slices_are_left_out(tmp_path, renamed):
    folder = ct_series(tmp_path / "ct")
    for k in (3, 4):
        copy = Path(shutil.copy(folder / f"IM{k:04d}.dcm", folder / f"IM{k:04d} (1).dcm"))
        if renamed:  # sent twice: the same pixels under another identifier
            data = pydicom.dcmread(copy)
            data.SOPInstanceUID = "1.2.3.4"
            data.save_as(copy)
    found = read_hu(folder)
    assert np.array_equal(found.hu, hounsfield())
    assert (
        found.notes == ("2 slices are copies of others and were left out, such as IM0003.dcm",) or "2 slices are copies" in found.notes[0]
    )


def test_other_pixels_at_the_same_place_are_refused(tmp_path):
    folder = ct_series(tmp_path / "ct")
    data = pydicom.dcmread(folder / "IM0003.dcm")
    data.PixelData = data.PixelData[::-1]
    data.save_as(folder / "again.dcm")
    refused(folder, "two slices at 23 mm; the series mixes several reconstructions or times")


# one file for all slices


def test_an_enhanced_file_holds_its_frames_in_any_order(tmp_path):
    path = enhanced_ct(tmp_path / "ct" / "e.dcm", np.random.default_rng(0).permutation(SHAPE[0]))
    for where in (path, path.parent):
        found = read_hu(where)
        assert np.array_equal(found.hu, hounsfield())
        assert np.allclose(ball_at(found.hu, found.world_from_voxel), ORIGIN + STEP * BALL)
        assert found.notes == ()


def test_compressed_frames_of_an_enhanced_file(tmp_path):
    path = enhanced_ct(tmp_path / "e.dcm", np.random.default_rng(0).permutation(SHAPE[0]))
    data = pydicom.dcmread(path)
    data.compress(RLELossless)
    saved(path, data)
    assert np.array_equal(read_hu(path).hu, hounsfield())


def test_an_enhanced_file_with_a_slope_for_each_frame(tmp_path):
    path = enhanced_ct(tmp_path / "e.dcm", np.arange(SHAPE[0]), PixelValueTransformationSequence=group())
    data = pydicom.dcmread(path)
    for k, item in enumerate(data.PerFrameFunctionalGroupsSequence):
        item.PixelValueTransformationSequence = group(RescaleSlope=1, RescaleIntercept=-1024 + k)
    found = read_hu(saved(path, data))
    assert np.array_equal(found.hu, hounsfield() + np.arange(SHAPE[0])[:, None, None])


def test_damaged_enhanced_files_are_refused(tmp_path):
    data = pydicom.dcmread(enhanced_ct(tmp_path / "e.dcm", np.arange(SHAPE[0])))
    data.NumberOfFrames = 7
    refused(saved(tmp_path / "f.dcm", data), "8 functional groups for 7 frames")
    del data.PerFrameFunctionalGroupsSequence, data.SharedFunctionalGroupsSequence
    data.NumberOfFrames = 2**31 - 1
    refused(saved(tmp_path / "g" / "g.dcm", data).parent, "one slice|its place is unknown")


# files without preamble, and files that are none


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, "1.2.840.10008.1.2.1", ExplicitVRBigEndian])
def test_files_without_preamble_are_read(tmp_path, syntax):
    folder = ct_series(tmp_path / "ct", name="{:d}.10.img")
    for path in folder.iterdir():
        data = pydicom.dcmread(path)
        if syntax == ExplicitVRBigEndian:
            data["PixelData"].VR, data.PixelData = "OW", data.pixel_array.astype(">u2").tobytes()
        implicit, little = syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian
        pydicom.dcmwrite(path, pydicom.Dataset(data), implicit_vr=implicit, little_endian=little)
        assert path.read_bytes()[128:132] != b"DICM"
    found = read_hu(folder)
    assert np.array_equal(found.hu, hounsfield())
    assert np.array_equal(read_hu(folder / "3.10.img").hu, hounsfield())


@pytest.mark.parametrize("name", ["IM{:04d}.dcm", "IM{:04d}", "1.2.840.{:d}", "{:d}.10.img"])
@pytest.mark.parametrize("damage", ["mark", "text", "empty", "pipe", "link"])
def test_an_end_slice_does_not_vanish(tmp_path, name, damage):
    folder = ct_series(tmp_path / "ct", name=name)
    last = folder / name.format(SHAPE[0] - 1)
    data = bytearray(last.read_bytes())
    data[128:132] = b"DICK"
    last.unlink()
    if damage in ("pipe", "link"):
        os.mkfifo(last) if damage == "pipe" else last.symlink_to(folder / "nowhere")
    else:
        last.write_bytes({"mark": bytes(data), "text": b"not a slice " * 50, "empty": b""}[damage])
    assert last.name in refused(folder, "not a DICOM file|cannot be opened")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_slice_without_permission_does_not_vanish(tmp_path):
    folder = ct_series(tmp_path / "ct", name="IM{:04d}")
    (folder / "IM0007").chmod(0)
    refused(folder, "IM0007: cannot be opened")


def test_what_else_lies_beside_the_slices(tmp_path):
    folder = ct_series(tmp_path / "ct")
    (folder / "report.txt").write_text("no slice, and none would take it for one")
    assert read_hu(folder).notes == ()
    (folder / "VERSION").write_text("3")
    assert "passed over: VERSION" in read_hu(folder).notes[0]
    assert read_hu(folder / "IM0000.dcm").notes == read_hu(folder).notes


@pytest.mark.parametrize("keyword", ["Rows", "Columns"])
def test_a_slice_that_lost_its_size_does_not_vanish(tmp_path, keyword):
    folder = ct_series(tmp_path / "ct")
    data = pydicom.dcmread(folder / "IM0007.dcm")
    delattr(data, keyword)
    data.save_as(folder / "IM0007.dcm")
    refused(folder, "IM0007.dcm: a CT file without rows and columns")


def test_reports_in_the_folder_are_no_slices(tmp_path):
    folder = ct_series(tmp_path / "ct")
    data = pydicom.dcmread(folder / "IM0000.dcm")
    for keyword in ("Rows", "Columns", "PixelData"):
        delattr(data, keyword)
    data.SOPClassUID, data.Modality = "1.2.840.10008.5.1.4.1.1.88.67", "SR"  # a radiation dose report
    saved(folder / "dose.dcm", data)
    assert np.array_equal(read_hu(folder).hu, hounsfield())


# pixels and the header that describes them


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"Columns": 9}, "does not fit its pixels"),
        ({"Rows": 13}, "does not fit its pixels"),
        ({"Rows": 15}, "truncated"),
        ({"NumberOfFrames": 2**24}, "truncated"),
        ({"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}, "does not fit its pixels"),
        ({"ModalityLUTSequence": group()}, "ModalityLUTSequence"),
    ],
)
def test_headers_that_do_not_fit_their_pixels(tmp_path, tags, words):
    refused(ct_series(tmp_path / "ct", edit=lambda data, k: with_tags(data, **tags)), words)


def test_a_few_bytes_behind_the_pixels_are_padding(tmp_path):
    found = read_hu(ct_series(tmp_path / "ct", edit=lambda data, k: setattr(data, "PixelData", data.PixelData + b"\0" * 20)))
    assert np.array_equal(found.hu, hounsfield())


@pytest.mark.parametrize("kind", ["JPEG", "JPEG2000"])
@pytest.mark.parametrize("signed", [False, True])
def test_compressed_slices_are_those_stored(tmp_path, kind, signed):
    def squeeze(data, k):
        compressed(data, hounsfield()[k] + (0 if signed else 1024), kind, tmp_path)

    found = read_hu(ct_series(tmp_path / "ct", edit=squeeze, signed=signed, bits=12, intercept=0 if signed else -1024))
    assert np.array_equal(found.hu, hounsfield())


@pytest.mark.parametrize("kind", ["JPEG", "JPEG2000"])
def test_compressed_pixels_of_another_size_are_refused(tmp_path, kind):
    def squeeze(data, k):
        compressed(data, hounsfield()[k].T + 1024, kind, tmp_path)

    refused(ct_series(tmp_path / "ct", edit=squeeze), "14 x 12, the compressed image is 12 x 14")


def test_compressed_frames_that_are_not_as_many_as_the_header_says(tmp_path):
    data = pydicom.dcmread(ct_series(tmp_path / "ct") / "IM0000.dcm")
    data.compress(RLELossless)
    data.PixelData = pydicom.encaps.encapsulate(2 * list(pydicom.encaps.generate_frames(data.PixelData, number_of_frames=1)))
    saved(tmp_path / "ct" / "IM0000.dcm", data)
    refused(tmp_path / "ct", "does not fit its pixels: 1 frames, the file holds 2")
    data.PixelData = b"\xfe\xff\x00\xe0\x00\x00\x00\x00\xfe\xff\x00\xe0\xff\xff\xff\x7f" + b"\0" * 100
    saved(tmp_path / "ct" / "IM0000.dcm", data)
    refused(tmp_path / "ct", "cannot be unpacked|damaged")


def test_streams_that_no_decoder_knows(tmp_path):
    data = pydicom.dcmread(ct_series(tmp_path / "ct") / "IM0000.dcm")
    data.file_meta.TransferSyntaxUID = JPEGLSLossless
    data.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8\xff\xff\xff\xe0\x00\x04ab" + bytes(90)])
    data["PixelData"].VR = "OB"
    data["PixelData"].is_undefined_length = True
    saved(tmp_path / "ct" / "IM0000.dcm", data)
    refused(tmp_path / "ct", "cannot be unpacked")


def test_pixels_compressed_by_nobody_knows_what(tmp_path):
    data = pydicom.dcmread(ct_series(tmp_path / "ct") / "IM0000.dcm")
    data.compress(RLELossless)
    whole = saved(tmp_path / "whole.dcm", data).read_bytes()
    start = whole.index(b"\x08\x00\x16\x00UI")
    (tmp_path / "ct" / "IM0000.dcm").write_bytes(whole[start:])
    refused(tmp_path / "ct", "TransferSyntaxUID .* does not say how")


def test_colours_by_palette_are_refused(tmp_path):
    refused(ct_series(tmp_path / "ct", edit=lambda data, k: setattr(data, "PhotometricInterpretation", "PALETTE COLOR")), "PALETTE COLOR")


def test_values_that_may_not_be_hu_are_remarked(tmp_path):
    found = read_hu(ct_series(tmp_path / "ct", edit=lambda data, k: setattr(data, "RescaleType", "OD")))
    assert found.notes == ("RescaleType (0028,1054) is OD, taken for HU",)
    found = read_hu(ct_series(tmp_path / "bare", intercept=0, signed=True, edit=lambda data, k: delattr(data, "RescaleIntercept")))
    assert found.notes == ("no RescaleIntercept (0028,1052): stored values are taken for HU",)


# files that never end


def test_endless_empty_elements_are_refused(tmp_path):
    (tmp_path / "a.dcm").write_bytes(bytes(128) + b"DICM" + bytes(10 * MOST_READS))
    refused(tmp_path / "a.dcm", "more than 500000 reads")


def test_a_sparse_file_of_a_terabyte_is_refused(tmp_path):
    path = tmp_path / "a.dcm"
    path.write_bytes(bytes(128) + b"DICM")
    os.truncate(path, 2**40)
    refused(path, "larger than 2 GiB")


def test_deflated_files(tmp_path):
    folder = ct_series(tmp_path / "ct")
    for path in folder.iterdir():
        data = pydicom.dcmread(path)
        data.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
        saved(path, data)
    assert np.array_equal(read_hu(folder).hu, hounsfield())
    path = folder / "IM0003.dcm"
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    refused(folder, "IM0003.dcm: cannot be read as DICOM")
    start = 144 + pydicom.filereader.read_file_meta_info(path).FileMetaInformationGroupLength
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    path.write_bytes(whole[:start] + squeeze.compress(bytes(10 * MOST_READS)) + squeeze.flush())
    refused(folder, "reads")


def test_a_sequence_too_long_to_be_true(tmp_path):
    path = ct_series(tmp_path / "ct") / "IM0003.dcm"
    whole = path.read_bytes()
    at = whole.index(b"\x28\x00\x02\x00")
    length = 2**25 + 8
    path.write_bytes(whole[:at] + b"\x20\x00\x00\x92SQ\0\0" + length.to_bytes(4, "little") + bytes(length) + whole[at:])
    with pytest.raises(XrcoreError, match="bytes"):
        read_dataset(path)


def test_reading_waits_for_no_pipe(tmp_path):
    folder = ct_series(tmp_path / "ct")
    os.mkfifo(folder / "pipe")
    done = threading.Thread(target=lambda: read_hu(folder), daemon=True)
    done.start()
    done.join(30)
    assert not done.is_alive()
    refused(folder / "pipe", "not a file")


# real data


def test_a_real_series_without_preamble(shared_data):
    path = shared_data / "xray" / "rando_head_mv" / "ct"
    if not path.is_dir():
        pytest.skip(f"real data not found: {path.name!r} of the head phantom")
    found = read_hu(path)
    assert found.hu.shape == (141, 512, 512)
    assert found.spacing == pytest.approx((0.9375, 0.9375, 2.5))
    assert np.allclose(found.world_from_voxel[:3, :3], np.diag([0.9375, 0.9375, 2.5]))  # head first, supine
    assert found.notes == ()
    # the couch lies behind the patient, y > 163 mm: a line as wide as the field, where there is air in front of it
    row = round((163 - found.world_from_voxel[1, 3]) / 0.9375)
    assert (found.hu[:, row:] > -500).mean() > 0.01
    assert (found.hu[:, row - 8 : row] > -500).mean() < 0.01
