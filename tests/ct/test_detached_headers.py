"""Headers whose voxels are in another file: found under any name, hashed with it, and missed in one line."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from support.volume_headers import VOXELS, write_metaimage, write_nifti, write_nrrd

from xrcore import XrcoreError
from xrcore._util.hashes import fingerprint
from xrcore.ct import read_hu
from xrcore.ct.reading import ct_files

NAME = "Hüfte.raw"
NFC, NFD = (unicodedata.normalize(form, NAME) for form in ("NFC", "NFD"))


@pytest.mark.parametrize("suffix", [".mhd", ".nhdr"])
def test_names_beyond_ascii_that_itk_writes(tmp_path, suffix):
    sitk.WriteImage(sitk.GetImageFromArray(VOXELS), str(tmp_path / f"Hüfte{suffix}"))
    assert np.array_equal(read_hu(tmp_path / f"Hüfte{suffix}").hu, VOXELS)


@pytest.mark.parametrize("write", [write_metaimage, write_nrrd])
@pytest.mark.parametrize(
    ("named", "stored"),
    [
        (NFC.encode(), NFC.encode()),
        (NFC.encode("latin-1"), NFC.encode("latin-1")),
        (NFC.encode("latin-1"), NFC.encode()),
        (NFC.encode(), NFD.encode()),  # as macOS stores it
        (NFD.encode(), NFC.encode()),
    ],
)
def test_the_name_in_the_header_and_on_the_disk_may_be_encoded_differently(tmp_path, write, named, stored):
    metaimage = write is write_metaimage
    path = write(tmp_path / ("ct.mhd" if metaimage else "ct.nhdr"), {"ElementDataFile" if metaimage else "data file": "voxels.raw"})
    path.write_bytes(path.read_bytes().replace(b"voxels.raw", named))
    os.rename(tmp_path / "voxels.raw", os.path.join(os.fsencode(tmp_path), stored))
    assert np.array_equal(read_hu(path).hu, VOXELS)


@pytest.mark.parametrize("entry", ["absent.raw", "a\0b.raw", ".", "pipe", "x" * 300, "é" * 600])
def test_a_data_file_that_cannot_be_read(tmp_path, entry):
    os.mkfifo(tmp_path / "pipe")
    path = write_metaimage(tmp_path / "ct.mhd", {"ElementDataFile": "voxels.raw"})
    path.write_bytes(path.read_bytes().replace(b"voxels.raw", entry.encode()))
    with pytest.raises(XrcoreError, match="its data file") as error:
        read_hu(path)
    assert str(error.value).count(str(tmp_path)) == 1
    assert len(str(error.value)) < len(str(path)) + 250
    assert "\0" not in str(error.value)


@pytest.mark.parametrize("write", [write_metaimage, write_nrrd])
def test_the_hash_covers_the_voxels(tmp_path, write):
    metaimage = write is write_metaimage
    fields = {"ElementDataFile" if metaimage else "data file": "voxels.raw"}
    path = write(tmp_path / ("ct.mhd" if metaimage else "ct.nhdr"), fields)
    before = fingerprint(path, ct_files(path))
    assert before["files"] == 2
    voxels = bytearray((tmp_path / "voxels.raw").read_bytes())
    voxels[100] ^= 1
    (tmp_path / "voxels.raw").write_bytes(voxels)
    after = fingerprint(path, ct_files(path))
    assert after["sha256"] != before["sha256"]


def test_a_file_that_is_whole_is_its_own_only_part(tmp_path):
    for path in (write_metaimage(tmp_path / "a.mha"), write_nrrd(tmp_path / "a.nrrd"), write_nifti(tmp_path / "a.nii")):
        assert ct_files(path) == [path]
        assert "files" not in fingerprint(path, ct_files(path))
    assert ct_files(tmp_path) == [tmp_path]
    with pytest.raises(XrcoreError, match="no such file"):
        ct_files(Path(tmp_path, "absent.mhd"))
