"""NIfTI: the geometry that the standard says, by either form, and what is doubtful or damaged."""

from __future__ import annotations

import gzip

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial.transform import Rotation
from support.volume_headers import LPS, RAS, SHAPE, SPACING, VOXELS, write_nifti

from xrcore import XrcoreError
from xrcore.ct import read_hu
from xrcore.ct.image_files import geometry

TURNED = RAS.copy()
TURNED[:3, :3] = Rotation.from_euler("xyz", [10, -25, 40], degrees=True).as_matrix() @ RAS[:3, :3]
MIRRORED = RAS @ np.diag([-1.0, 1, 1, 1])
LPS_FROM_RAS = np.diag([-1.0, -1, 1, 1])


@pytest.mark.parametrize("second", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("sform", "qform"), [(1, 1), (1, 0), (0, 1), (2, 1)])
@pytest.mark.parametrize("affine", [RAS, TURNED, MIRRORED], ids=["straight", "turned", "mirrored"])
def test_either_form_of_either_version_is_what_nibabel_reads(tmp_path, second, order, sform, qform, affine):
    path = write_nifti(tmp_path / "ct.nii", second=second, order=order, sform=sform, qform=qform, affine=affine)
    found = read_hu(path)
    assert np.array_equal(found.hu, VOXELS)
    assert np.allclose(found.world_from_voxel, LPS_FROM_RAS @ nibabel.load(path).affine, atol=1e-4)
    assert np.allclose(found.world_from_voxel, LPS_FROM_RAS @ affine, atol=1e-4)
    assert found.notes == ()


@pytest.mark.parametrize(("sform", "qform"), [(1, 1), (1, 0), (0, 1)])
def test_and_what_itk_reads(tmp_path, sform, qform):
    path = write_nifti(tmp_path / "ct.nii", sform=sform, qform=qform, affine=TURNED)
    assert np.allclose(read_hu(path).world_from_voxel, geometry(sitk.ReadImage(str(path))), atol=1e-3)


@pytest.mark.parametrize("name", ["ct.nii", "ct.nii.gz"])
def test_compression_is_told_by_the_content(tmp_path, name):
    other = "ct.nii.gz" if name == "ct.nii" else "ct.nii"
    content = write_nifti(tmp_path / other).read_bytes()
    (tmp_path / name).write_bytes(content)
    assert np.array_equal(read_hu(tmp_path / name).hu, VOXELS)


@pytest.mark.parametrize("pixdim", [(1, 1, 1), (2.06, 2.575, 3.09), (2, 2.5, 5), (0, 0, 0), (-2, 2.5, 3)])
def test_a_voxel_size_that_contradicts_the_only_form_does_not_count(tmp_path, pixdim):
    found = read_hu(write_nifti(tmp_path / "ct.nii", qform=0, pixdim=(1, *pixdim, 0, 0, 0, 0)))
    assert np.allclose(found.world_from_voxel, LPS, atol=1e-4)
    assert "by pixdim and 2 x 2.5 x 3 mm by the sform" in found.notes[0]


def test_without_orientation_it_is_told(tmp_path):
    found = read_hu(write_nifti(tmp_path / "ct.nii.gz", qform=0, sform=0))
    assert np.allclose(found.world_from_voxel, np.diag([*SPACING, 1]))
    (note,) = found.notes
    assert "orientation is unknown" in note
    assert "mirrored" in note


@pytest.mark.parametrize(
    ("change", "taken"),
    [
        ({"srow_x": (-2, 0, 0, 60)}, "sform"),
        ({"srow_x": (2, 0, 0, 20)}, "sform"),  # mirrored
        ({"pixdim": (1, 2.1, 2.5, 3, 0, 0, 0, 0)}, "sform"),
        ({"qoffset_z": 0}, "sform"),
        ({"srow_x": (-2.4, 0, 0, 20), "sform_code": 4}, "qform"),  # of a template, stretched
        ({"srow_x": (-2, 0.4, 0, 20)}, "qform"),  # sheared
    ],
)
def test_forms_that_disagree_are_told(tmp_path, change, taken):
    found = read_hu(write_nifti(tmp_path / "ct.nii", **change))
    assert f"the {taken} is taken" in found.notes[0]
    assert "disagree, by up to" in found.notes[0]
    if taken == "qform":
        assert np.allclose(found.world_from_voxel, LPS, atol=1e-4)
    else:
        nifti = nibabel.load(tmp_path / "ct.nii")
        assert np.allclose(found.world_from_voxel, LPS_FROM_RAS @ nifti.affine, atol=1e-4)


@pytest.mark.parametrize(("code", "scale"), [(1, 1000), (3, 0.001)])
def test_other_units_are_converted_and_told(tmp_path, code, scale):
    affine = np.diag([1 / scale, 1 / scale, 1 / scale, 1]) @ RAS
    path = write_nifti(tmp_path / "ct.nii", qform=0, affine=affine, pixdim=(1, *(s / scale for s in SPACING), 0, 0, 0, 0), xyzt_units=code)
    found = read_hu(path)
    assert np.allclose(found.world_from_voxel, LPS, atol=1e-3)
    assert "converted to mm" in found.notes[0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"xyzt_units": 5}, "unit of its lengths"),
        ({"quatern_b": 3}, "qform is damaged"),
        ({"scl_slope": np.nan}, "scl_slope"),
        ({"more": b"x"}, "holds 1 bytes more"),
        ({"dim": (3, 10, 12, 7, 1, 1, 1, 1)}, "holds 240 bytes more"),
    ],
)
@pytest.mark.parametrize("name", ["ct.nii", "ct.nii.gz"])
def test_what_is_doubtful_is_told(tmp_path, change, words, name):
    found = read_hu(write_nifti(tmp_path / name, **change))
    assert any(words in note for note in found.notes)
    assert np.array_equal(found.hu, VOXELS[: len(found.hu)])
    assert np.allclose(found.world_from_voxel, LPS, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"vox_offset": 351}, "voxels at byte 351; 352 is the first"),
        ({"vox_offset": 352.5}, "voxels at byte"),
        ({"vox_offset": np.nan}, "voxels at byte"),
        ({"vox_offset": 2**20}, "truncated"),
        ({"second": True, "vox_offset": 352}, "544 is the first"),
        ({"sizeof_hdr": 347}, "not a NIfTI"),
        ({"magic": b"ni1"}, "single-file"),
        ({"datatype": 3}, "voxels of type 3"),
        ({"datatype": 32, "bitpix": 64}, "complex64 are not read"),
        ({"datatype": 1536, "bitpix": 128}, "are not read|damaged"),
        ({"datatype": 128, "bitpix": 24}, "colour"),
        ({"bitpix": 8}, "8 bits a voxel"),
        ({"dim": (8, 10, 12, 8, 1, 1, 1, 1)}, "8 dimensions|not a NIfTI"),
        ({"dim": (3, 10, 0, 8, 1, 1, 1, 1)}, "size 10 x 0 x 8"),
        ({"dim": (2, 120, 8, 1, 1, 1, 1, 1)}, "2D"),
        ({"scl_slope": 2, "scl_inter": np.inf}, "scl_inter"),
        ({"scl_slope": 1e30, "scl_inter": 1e38}, "not HU|infinite"),
        ({"sform": 0, "quatern_b": 3}, "no rotation"),
        ({"sform": 0, "quatern_b": 1e38}, "no rotation"),
        ({"sform": 0, "pixdim": (0.5, *SPACING, 0, 0, 0, 0)}, "no rotation"),
        ({"sform": 0, "pixdim": (1, -2, 2.5, 3, 0, 0, 0, 0)}, "voxel size is not positive"),
        ({"sform": 0, "qform": 0, "pixdim": (1, np.nan, 2.5, 3, 0, 0, 0, 0)}, "not finite"),
        ({"qform": 0, "srow_y": (np.inf, 0, 0, 0)}, "not finite"),
        ({"qform": 0, "srow_y": (0, 0, 0, 0)}, "perpendicular|zero"),
        ({"qform": 0, "srow_x": (-2, 0.4, 0, 20)}, "sheared"),
    ],
)
def test_damaged_headers_are_refused(tmp_path, change, words, recwarn):
    with pytest.raises(XrcoreError, match=words):
        read_hu(write_nifti(tmp_path / "ct.nii", **change))
    assert list(recwarn) == []


def test_a_broken_checksum_is_refused(tmp_path):
    path = write_nifti(tmp_path / "ct.nii.gz")
    path.write_bytes(path.read_bytes()[:-8] + bytes(8))
    with pytest.raises(XrcoreError, match="damaged or truncated"):
        read_hu(path)


def test_a_file_that_unpacks_without_end_is_read_no_further_than_needed(tmp_path):
    path = write_nifti(tmp_path / "ct.nii.gz")
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + bytes(1 << 26)))
    found = read_hu(path)
    assert found.hu.shape == SHAPE
    assert "many bytes more" in found.notes[0]
