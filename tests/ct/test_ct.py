"""Reading CTs: geometry, resampling, materials, labels, and one-line errors."""

from __future__ import annotations

import gzip
import shutil
import struct
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
import torch
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, RLELossless
from scipy.spatial.transform import Rotation
from support.mutants.ct_samples import enhanced

from xrcore._util.errors import XrcoreError
from xrcore._util.hashes import fingerprint
from xrcore.ct import HuImage, read_ct, read_hu, volume_from_hu
from xrcore.ct.image_files import geometry
from xrcore.ct.materials import densities, density_of
from xrcore.ct.reading import ct_files
from xrcore.ct.resampling import isotropic_grid, resample_spline

FORMATS = (".nii", ".nii.gz", ".nrrd", ".mha", ".mhd")
DIRECTIONS = {
    "identity": np.eye(3),
    "flipped": np.diag([-1.0, -1.0, 1.0]),
    "left-handed": np.diag([1.0, -1.0, 1.0]),
    "permuted": np.eye(3)[[2, 0, 1]],
    "oblique": Rotation.from_euler("xyz", [10, -25, 40], degrees=True).as_matrix(),
}


def ct_image(array, spacing=(2.0, 2.0, 3.0), origin=(-20.0, 5.0, 100.0), direction=None) -> sitk.Image:
    image = sitk.GetImageFromArray(np.asarray(array))
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    image.SetDirection(np.asarray(DIRECTIONS["identity"] if direction is None else direction, dtype=float).ravel().tolist())
    return image


def body(seed=0, shape=(8, 12, 10)) -> np.ndarray:
    return np.random.default_rng(seed).integers(-1000, 1500, shape).astype(np.int16)


def saved(path: Path, array=None, **kwargs) -> Path:
    sitk.WriteImage(ct_image(body() if array is None else array, **kwargs), str(path))
    return path


def identity(spacing=1.0) -> np.ndarray:
    return np.diag([spacing, spacing, spacing, 1.0])


def only_line(error: pytest.ExceptionInfo) -> str:
    message = str(error.value)
    assert "\n" not in message
    return message


# geometry


@pytest.mark.parametrize("suffix", [*FORMATS, "zipped.mha", "zipped.nrrd"])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_files_agree_with_simpleitk(tmp_path, suffix, direction):
    image = ct_image(body(), direction=DIRECTIONS[direction])
    path = tmp_path / f"ct{suffix if suffix.startswith('.') else '_' + suffix}"
    sitk.WriteImage(image, str(path), "zipped" in suffix)
    hu = read_hu(path)
    assert np.array_equal(hu.hu, sitk.GetArrayFromImage(image))
    assert np.allclose(hu.world_from_voxel, geometry(image), atol=1e-4)  # NIfTI keeps single precision
    for index in ((0, 0, 0), (9, 11, 7)):
        assert np.allclose((hu.world_from_voxel @ [*index, 1])[:3], image.TransformIndexToPhysicalPoint(index), atol=1e-3)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_bright_ball_stays_where_it_is(tmp_path, suffix, direction):
    spacing, shape, centre = (1.5, 2.0, 3.0), (22, 30, 36), np.array([17.3, 13.9, 10.2])
    z, y, x = np.indices(shape)
    steps = (np.stack([x, y, z], -1) - centre) * spacing
    hu = -1000 + 2400 * np.exp(-(steps**2).sum(-1) / (2 * 6.0**2))
    image = ct_image(hu.astype(np.float32), spacing, direction=DIRECTIONS[direction])
    path = tmp_path / f"ball{suffix}"
    sitk.WriteImage(image, str(path))
    volume = read_ct(path, spacing=2.5)
    mass = volume.density.sum(0).double()
    index = torch.nonzero(mass).double()
    weights = mass[mass > 0]
    mean = (index * weights[:, None]).sum(0) / weights.sum()
    found = (volume.world_from_voxel @ torch.cat([mean.flip(0), torch.ones(1)]).double())[:3]
    assert np.allclose(found, image.TransformContinuousIndexToPhysicalPoint(centre.tolist()), atol=0.05)


@pytest.mark.parametrize("spacing", [None, 1.3, 2.0, 3.7])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_isocentre_is_the_centre_of_the_original_extent(direction, spacing):
    image = ct_image(body(), direction=DIRECTIONS[direction])
    volume = volume_from_hu(sitk.GetArrayFromImage(image), geometry(image), spacing=spacing)
    centre = image.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in image.GetSize()])
    assert np.allclose(volume.isocenter, centre, atol=1e-9)
    z, y, x = volume.shape
    middle = torch.tensor([(x - 1) / 2, (y - 1) / 2, (z - 1) / 2, 1.0], dtype=torch.float64)
    assert np.allclose((volume.world_from_voxel @ middle)[:3], centre, atol=1e-9)


def test_native_grid_is_kept():
    hu, matrix = body(), np.diag([2.0, 2.0, 3.0, 1.0])
    volume = volume_from_hu(hu, matrix, spacing=None, air="separate")
    assert volume.shape == hu.shape
    assert volume.spacing == (2.0, 2.0, 3.0)
    expected = np.where(hu <= -950, 0, density_of(hu.astype(np.float32)))
    assert np.allclose(volume.density.sum(0), expected, atol=1e-6)


def test_size_is_rounded_and_at_least_what_fits():
    shape, matrix = isotropic_grid((10, 7, 33), np.diag([1.0, 2.0, 3.0, 1.0]), 2.0)
    assert shape == (15, 7, 16)  # 30, 14 and 33 mm
    assert np.allclose(np.linalg.norm(matrix[:3, :3], axis=0), 2.0)


# resampling


@pytest.mark.parametrize("direction", ["identity", "oblique"])
@pytest.mark.parametrize("spacing", [0.9, 2.0, 4.1])
def test_spline_is_simpleitks_cubic_spline(direction, spacing):
    hu = np.random.default_rng(3).normal(0, 500, (14, 90, 11)).astype(np.float32)
    image = ct_image(hu, (1.7, 0.8, 2.5), direction=DIRECTIONS[direction])
    shape, matrix = isotropic_grid(hu.shape, geometry(image), spacing)
    direct = (matrix[:3, :3] / spacing).ravel().tolist()
    theirs = sitk.Resample(image, shape[::-1], sitk.Transform(), sitk.sitkBSpline, matrix[:3, 3].tolist(), (spacing,) * 3, direct, -1e6)
    theirs = np.clip(sitk.GetArrayFromImage(theirs), hu.min(), hu.max())
    ours = resample_spline(hu, shape, [s / spacing for s in (2.5, 0.8, 1.7)])
    assert np.abs(ours - theirs).max() < 0.05


def test_spline_does_not_overshoot():
    hu = np.full((12, 12, 12), -1000, dtype=np.float32)
    hu[4:8, 4:8, 4:8] = 3071
    ours = resample_spline(hu, (17, 17, 17), [17 / 12] * 3)
    assert ours.min() == -1000
    assert ours.max() == 3071


def test_spline_on_the_same_grid_changes_nothing():
    hu = body().astype(np.float32)
    assert np.allclose(resample_spline(hu, hu.shape, (1.0, 1.0, 1.0)), hu, atol=1e-2)


def test_padding_below_air_does_not_ring():
    hu = np.full((12, 12, 12), 0, dtype=np.float32)
    hu[:, :, :3] = -3024
    padded = volume_from_hu(hu, identity(3.0), spacing=2.0)
    air = volume_from_hu(np.maximum(hu, -1000), identity(3.0), spacing=2.0)
    assert torch.equal(padded.density, air.density)


# materials


def test_density_follows_the_papers_formula():
    hu = np.array([-1200, -1000, -500, 0, 100, 1000, 3071], dtype=np.float32)
    expected = [0, 0, 0.515, 1.03, 1.08886, 1.6186, 2.8376]
    assert np.allclose(density_of(hu), expected, atol=1e-4)


def test_thresholds_are_the_papers():
    hu = np.array([[[-801, -800, -799, 350, 351, 2500, 2501]]], dtype=np.float32)
    names, density = densities(hu, air="separate")
    assert names == ("soft", "bone", "metal", "air")
    members = [[names[i] for i in np.flatnonzero(density[:, 0, 0, k])] for k in range(7)]
    assert members == [["air"], ["air"], ["soft"], ["soft"], ["bone"], ["bone"], ["metal"]]


def test_metal_is_a_material_only_where_there_is_some():
    hu = np.array([[[-1000, 0, 2600]]], dtype=np.float32)
    assert densities(hu)[0] == ("soft", "bone", "metal")
    assert densities(hu, metal="iron")[0] == ("soft", "bone", "iron")
    assert densities(hu, metal_above=2600)[0] == ("soft", "bone")
    assert densities(hu, metal_above=None)[0] == ("soft", "bone")


def test_air_as_soft_tissue_attenuates_like_air():
    xraydb = pytest.importorskip("xraydb")
    air = {"C": 0.000124, "N": 0.755268, "O": 0.231781, "Ar": 0.012827}  # NIST, dry
    soft = {"H": 0.102, "C": 0.143, "N": 0.034, "O": 0.708, "Na": 0.002, "P": 0.003, "S": 0.003, "Cl": 0.002, "K": 0.003}  # ICRU-44
    energies = np.array([30e3, 50e3, 90e3])
    of_air, of_soft = (sum(w * xraydb.mu_elam(e, energies) for e, w in m.items()) for m in (air, soft))
    hu = np.full((1, 1, 1), -850, dtype=np.float32)
    separate = densities(hu, air="separate")[1][2, 0, 0, 0] * of_air
    equivalent = densities(hu, air="equivalent")[1][0, 0, 0, 0] * of_soft
    assert np.allclose(equivalent / separate, 1, atol=0.015)
    assert not densities(hu, air="none")[1].any()


def test_air_around_the_patient_is_exactly_empty():
    hu = np.array([[[-1000, -960, -950, -949, -900]]], dtype=np.float32)
    assert ((densities(hu)[1].sum(0) > 0) == [[[False, False, False, True, True]]]).all()
    assert (densities(hu, empty_below=-970)[1].sum(0) > 0)[0, 0, 1]


def test_background_leaves_bone_and_no_shell():
    hu = np.zeros((1, 1, 6), dtype=np.float32)
    hu[0, 0] = [-150, 0, 15, 185, 350, 900]
    density = densities(hu, background=0)[1].sum(0)[0, 0]
    assert not density[:3].any()
    assert density[3] == pytest.approx(0.5 * density_of(hu[0, 0, 3:4])[0])  # half way between 20 and 350
    assert np.allclose(density[4:], density_of(hu[0, 0, 4:]))


def test_bone_only_ct_warns_and_background_empties_it(tmp_path, caplog):
    hu = np.zeros((12, 12, 12), dtype=np.float32)
    hu[4:8, 4:8, 4:8] = 1200
    path = saved(tmp_path / "bone.nrrd", hu, spacing=(2.0, 2.0, 2.0))
    full = read_ct(path)
    assert caplog.messages == list(full.notes)
    assert caplog.records[0].levelname == "WARNING"
    assert "background=" in full.coarser(4.0).notes[0]
    caplog.clear()
    bone = read_ct(path, background=0)
    assert bone.notes == ()
    assert caplog.messages == []
    assert (full.density.sum(0) > 0).all()
    assert torch.equal(bone.density.sum(0) > 0, torch.from_numpy(hu > 0))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"spacing": 50.0}, "coarser than the CT"),
        ({"spacing": 1e-3}, "more than"),
        ({"keep": [1]}, "labels="),
        ({"labels": np.zeros((2, 2, 2))}, "labels"),
    ],
)
def test_options_that_do_not_fit_the_ct_are_refused(options, words):
    with pytest.raises(XrcoreError, match=words) as error:
        volume_from_hu(body(), np.diag([2.0, 2.0, 3.0, 1.0]), **options)
    only_line(error)


def test_an_array_needs_its_matrix_and_a_hu_image_has_one():
    with pytest.raises(XrcoreError, match="world_from_voxel"):
        volume_from_hu(body())
    with pytest.raises(XrcoreError, match="has its own"):
        volume_from_hu(HuImage(hu=body(), world_from_voxel=identity(2.0)), identity())


# labels


def label_world(volume, image: sitk.Image, value: int) -> None:
    """Every voxel of the volume is kept exactly where the label map has the value."""
    array = sitk.GetArrayFromImage(image)
    kept = volume.density.sum(0) > 0
    for index in np.ndindex(*volume.shape):
        world = (volume.world_from_voxel @ torch.tensor([*index[::-1], 1.0], dtype=torch.float64))[:3].tolist()
        at = image.TransformPhysicalPointToIndex(world)
        inside = all(0 <= a < n for a, n in zip(at, image.GetSize(), strict=True))
        assert bool(kept[index]) == (inside and array[at[::-1]] == value)


@pytest.mark.parametrize("as_file", [True, False])
def test_labels_keep_what_they_mark_on_any_grid(tmp_path, as_file):
    ct = ct_image(np.full((8, 9, 10), 40, dtype=np.int16) + np.eye(10, dtype=np.int16)[:9] * 200, direction=DIRECTIONS["flipped"])
    centre = ct.TransformContinuousIndexToPhysicalPoint((4.5, 4, 3.5))
    labels = np.random.default_rng(1).integers(0, 4, (6, 7, 8)).astype(np.uint8)
    labels = ct_image(labels, (2.3, 1.9, 2.1), [c - 5.03 for c in centre], DIRECTIONS["oblique"])
    given = tmp_path / "labels.nii.gz" if as_file else labels
    if as_file:
        sitk.WriteImage(labels, str(given))
    volume = volume_from_hu(sitk.GetArrayFromImage(ct), geometry(ct), spacing=2.0, labels=given, keep=[2])
    assert (volume.density > 0).any()
    label_world(volume, labels, 2)
    assert np.allclose(volume.isocenter, centre)


def test_labels_default_to_everything_but_zero_and_take_an_array():
    hu = np.full((6, 6, 6), 100.0) + np.arange(6) * 30
    labels = np.zeros((6, 6, 6), dtype=int)
    labels[1], labels[3] = 4, 7
    volume = volume_from_hu(hu, identity(2.0), spacing=None, labels=labels)
    assert torch.equal(volume.density.sum(0) > 0, torch.from_numpy(labels > 0))


def test_labels_reach_half_a_voxel_beyond_their_last_centre():
    hu = np.full((6, 6, 6), 100.0) + np.arange(6) * 30
    volume = volume_from_hu(hu, identity(2.0), spacing=1.0, labels=np.ones((6, 6, 6)))
    assert (volume.density.sum(0) > 0).all()


def test_labels_that_keep_nothing_say_so():
    hu, matrix = body(), np.diag([2.0, 2.0, 3.0, 1.0])
    labels = np.ones(hu.shape, dtype=np.uint8)
    with pytest.raises(XrcoreError, match="label 5 does not occur; the map holds 1"):
        volume_from_hu(hu, matrix, labels=labels, keep=[5])
    with pytest.raises(XrcoreError, match="other than 0"):
        volume_from_hu(hu, matrix, labels=labels * 0)
    with pytest.raises(XrcoreError, match="outside"):
        volume_from_hu(hu, matrix, labels=ct_image(labels, origin=(5000.0, 0.0, 0.0)))


# values and files that are not a CT


@pytest.mark.parametrize(
    ("hu", "matrix", "words"),
    [
        (np.full((4, 4, 4), 7.0), identity(5.0), "every voxel is 7"),
        (np.where(np.eye(4)[None] > 0, np.nan, np.ones((4, 4, 4))), identity(5.0), "NaN"),
        (np.where(np.eye(4)[None] > 0, np.inf, np.ones((4, 4, 4))), identity(5.0), "infinite"),
        (np.random.default_rng(0).random((4, 4, 4)), identity(5.0), "not HU"),
        (np.random.default_rng(0).random((4, 4, 4)) * 1e9, identity(5.0), "not HU"),
        (body(shape=(1, 12, 10)), identity(5.0), "single slice"),
        (body()[0], identity(5.0), "2D"),
        (body(), identity(0.002), "units"),
        (body(), identity(2000.0), "units"),
        (body(), np.zeros((4, 4)), "world_from_voxel"),
        (body(), np.eye(3), "world_from_voxel"),
    ],
)
def test_arrays_that_are_not_a_ct(hu, matrix, words):
    with pytest.raises(XrcoreError, match=words):
        HuImage(hu=hu, world_from_voxel=matrix)


def test_absent_empty_and_foreign_files(tmp_path):
    (tmp_path / "empty.nii.gz").touch()
    (tmp_path / "text.nii").write_text("not an image" * 100)
    (tmp_path / "text.nrrd").write_text("not an image" * 100)
    (tmp_path / "text.mha").write_text("not an image" * 100)
    (tmp_path / "text.dcm").write_text("not an image" * 100)
    (tmp_path / "ct.jpg").write_bytes(b"\xff\xd8\xff" * 10)
    (tmp_path / "ct.tif").write_bytes(b"II*\0" * 10)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "readme.txt").write_text("no DICOM here")
    for name, words in {
        "nowhere.nii.gz": "no such file",
        "empty.nii.gz": "empty",
        "text.nii": "not a NIfTI",
        "text.nrrd": "not a NRRD",
        "text.mha": "not a MetaImage",
        "text.dcm": "not a CT format",
        "ct.jpg": "not a CT format",
        "ct.tif": "voxel size",
        "folder": "no DICOM image",
        "a\0b.nii": "cannot be opened|no such file",
    }.items():
        with pytest.raises(XrcoreError, match=words) as error:
            read_ct(tmp_path / name)
        assert name in only_line(error)


@pytest.mark.parametrize("suffix", [*FORMATS[:4], "z.mha", "z.nrrd"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.95, 0.9998])
def test_truncated_files_are_not_filled_with_garbage(tmp_path, suffix, share, capfd):
    path = tmp_path / f"ct{suffix if suffix.startswith('.') else suffix[1:]}"
    sitk.WriteImage(ct_image(body(shape=(16, 20, 20))), str(path), suffix.startswith("z"))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(XrcoreError, match=path.name) as error:
        read_ct(path)
    only_line(error)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize(("size", "words"), [(900, "truncated: its header promises"), (30000, "claims 30000 x 30000 x 30000 voxels")])
def test_headers_with_huge_sizes_allocate_nothing(tmp_path, suffix, size, words):
    path = saved(tmp_path / f"ct{suffix}")
    data = gzip.decompress(path.read_bytes()) if suffix == ".nii.gz" else path.read_bytes()
    data = data.replace(b"10 12 8", f"{size} {size} {size}".encode())
    data = data.replace(struct.pack("<4h", 3, 10, 12, 8), struct.pack("<4h", 3, size, size, size))
    path.write_bytes(gzip.compress(data) if suffix == ".nii.gz" else data)
    with pytest.raises(XrcoreError, match=words):
        read_ct(path)


def test_four_dimensions_and_vectors_are_refused(tmp_path):
    stack = sitk.JoinSeries([ct_image(body()), ct_image(body(1))])
    vector = sitk.Compose(ct_image(body()), ct_image(body(1)))
    single = sitk.JoinSeries([ct_image(body())])
    for suffix in (".nii.gz", ".nrrd", ".mha"):
        sitk.WriteImage(stack, str(tmp_path / f"4d{suffix}"))
        sitk.WriteImage(vector, str(tmp_path / f"vector{suffix}"))
        sitk.WriteImage(single, str(tmp_path / f"one{suffix}"))
        with pytest.raises(XrcoreError, match="4D"):
            read_ct(tmp_path / f"4d{suffix}")
        with pytest.raises(XrcoreError, match=r"each voxel has 2 values|[45]D"):
            read_ct(tmp_path / f"vector{suffix}")
        assert np.array_equal(read_hu(tmp_path / f"one{suffix}").hu, body())


def test_nifti_scaling_and_byte_order(tmp_path):
    path = saved(tmp_path / "ct.nii")
    data = bytearray(path.read_bytes())
    struct.pack_into("<2f", data, 112, 0.5, -100.0)
    path.write_bytes(data)
    assert np.allclose(read_hu(path).hu, body() * 0.5 - 100)
    assert np.allclose(read_hu(path).hu, sitk.GetArrayFromImage(sitk.ReadImage(str(path))))


def test_sheared_axes_are_refused(tmp_path):
    path = saved(tmp_path / "ct.nrrd")
    path.write_bytes(path.read_bytes().replace(b"(0,0,3)", b"(1,0,3)"))
    with pytest.raises(XrcoreError, match="perpendicular") as error:
        read_ct(path)
    only_line(error)


# DICOM


def write_series(
    folder: Path, positions=(0.0, 3.0, 6.0, 9.0), uid="1.2.3", description="axial", modality="CT", tilt=0.0, shifts=(), hu=None, **tags
) -> np.ndarray:
    """Slices written in shuffled file order; returns the HU (z, y, x)."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(len(uid))
    hu = rng.integers(-1000, 1500, (len(positions), 6, 5)).astype(float) if hu is None else hu
    hu = np.round((hu + 1024) / 0.5) * 0.5 - 1024
    for k, name in enumerate(rng.permutation(len(positions))):
        data = Dataset()
        data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, f"{uid}.{k + 1}"
        data.SeriesInstanceUID, data.StudyInstanceUID = uid, "1.2"
        data.SeriesDescription, data.Modality = description, modality
        data.ImagePositionPatient = [-10.0, 20.0 + tilt * k + (shifts[k] if shifts else 0.0), positions[k]]
        data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        data.PixelSpacing = [1.5, 2.0]  # of rows, of columns
        data.Rows, data.Columns = hu.shape[1:]
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 0
        data.RescaleSlope, data.RescaleIntercept = 0.5, -1024
        data.PixelData = np.round((hu[k] + 1024) / 0.5).astype("<u2").tobytes()
        for keyword, value in tags.items():
            setattr(data, keyword, value)
        data.file_meta = FileMetaDataset()
        data.file_meta.MediaStorageSOPClassUID, data.file_meta.MediaStorageSOPInstanceUID = CTImageStorage, data.SOPInstanceUID
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.save_as(folder / f"{uid}_{name}.dcm", enforce_file_format=True)
    return hu


def test_dicom_folder_is_ordered_by_position_and_rescaled(tmp_path):
    hu = write_series(tmp_path / "ct")
    (tmp_path / "ct" / "._1.dcm").write_text("what macOS leaves on foreign discs")
    (tmp_path / "ct" / "report.txt").write_text("not a slice")
    found = read_hu(tmp_path / "ct")
    assert np.allclose(found.hu, hu)
    expected = np.diag([2.0, 1.5, 3.0, 1.0])
    expected[:3, 3] = -10, 20, 0
    assert np.allclose(found.world_from_voxel, expected)


def test_positions_in_the_header_may_be_rounded(tmp_path):
    exact = 0.625 * np.arange(17)
    write_series(tmp_path / "ct", positions=np.round(exact, 2), shifts=tuple(0.01 * (-1) ** np.arange(17)))
    assert np.allclose(read_hu(tmp_path / "ct").spacing, (2.0, 1.5, 0.625))


def test_dicom_agrees_with_gdcm(tmp_path):
    write_series(tmp_path / "ct", ImageOrientationPatient=[0.8, 0.6, 0, -0.6, 0.8, 0])
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(tmp_path / "ct"))
    image = sitk.ReadImage(names, sitk.sitkFloat32)
    found = read_hu(tmp_path / "ct")
    assert np.allclose(found.hu, sitk.GetArrayFromImage(image))
    assert np.allclose(found.world_from_voxel, geometry(image))


def test_reversed_slices_and_feet_first_keep_world_points(tmp_path):
    hu = write_series(tmp_path / "ct", positions=(9.0, 6.0, 3.0, 0.0), ImageOrientationPatient=[-1, 0, 0, 0, 1, 0])
    found = read_hu(tmp_path / "ct")  # the normal points down: the slice at 9 mm comes first
    assert np.allclose(found.hu, hu)
    assert np.allclose(found.world_from_voxel @ [1, 2, 3, 1], [-12, 23, 0, 1])


@pytest.mark.parametrize("keyword", ["RescaleSlope", "RescaleIntercept"])
def test_a_slice_that_lacks_slope_or_intercept_is_noted(tmp_path, keyword):
    write_series(tmp_path / "ct")
    assert not read_hu(tmp_path / "ct").notes
    path = next((tmp_path / "ct").iterdir())
    data = pydicom.dcmread(path)
    delattr(data, keyword)
    data.save_as(path)
    assert any(keyword in note for note in read_hu(tmp_path / "ct").notes)


@pytest.mark.parametrize("damage", ["not a sequence", "of half a number"])
def test_damage_within_functional_groups_is_told_in_one_line(tmp_path, damage):
    path = enhanced(tmp_path / "enhanced.dcm")
    read_hu(path)
    content = path.read_bytes()
    tag, kind = ("00522992", b"UT") if damage == "not a sequence" else ("28005310", b"FD")  # of the groups; RescaleSlope
    at = content.index(bytes.fromhex(tag)) + 4
    content = content[:at] + kind + content[at + 2 :]
    path.write_bytes(content)
    with pytest.raises(XrcoreError, match="cannot be read as DICOM; damaged") as error:
        read_hu(path)
    only_line(error)


def test_every_slice_has_its_own_slope(tmp_path):
    write_series(tmp_path / "ct", hu=np.full((4, 6, 5), 100.0) + np.arange(5) * 100)
    paths = sorted((tmp_path / "ct").iterdir())
    data = pydicom.dcmread(paths[0])
    data.RescaleSlope, height = 0.25, float(data.ImagePositionPatient[2])
    data.save_as(paths[0])
    found = read_hu(tmp_path / "ct").hu
    assert found[int(height / 3), 0, 4] == pytest.approx((500 + 1024) / 2 - 1024)
    assert np.delete(found, int(height / 3), 0)[:, 0, 4] == pytest.approx(500)


def test_compressed_slices(tmp_path):
    hu = write_series(tmp_path / "ct")
    for path in (tmp_path / "ct").iterdir():
        data = pydicom.dcmread(path)
        data.compress(RLELossless)
        data.save_as(path)
    assert np.allclose(read_hu(tmp_path / "ct").hu, hu)


def test_signed_twelve_bits_with_rubbish_above(tmp_path):
    write_series(tmp_path / "ct")
    for path in (tmp_path / "ct").iterdir():
        data = pydicom.dcmread(path)
        data.BitsStored, data.HighBit, data.PixelRepresentation = 12, 11, 1
        data.RescaleSlope, data.RescaleIntercept = 1, 0
        data.PixelData = (np.arange(-15, 15, dtype="<i2") * 40 & 0x0FFF | 0x5000).astype("<i2").tobytes()
        data.save_as(path)
    assert np.array_equal(read_hu(tmp_path / "ct").hu[0].ravel(), np.arange(-15, 15) * 40)


def test_one_file_stands_for_its_series(tmp_path):
    hu = write_series(tmp_path / "ct")
    write_series(tmp_path / "ct", uid="1.2.34", description="other")
    assert np.allclose(read_hu(next((tmp_path / "ct").glob("1.2.3_*.dcm"))).hu, hu)
    (tmp_path / "alone").mkdir()
    alone = Path(shutil.copy(next((tmp_path / "ct").glob("1.2.3_*.dcm")), tmp_path / "alone"))
    with pytest.raises(XrcoreError, match="single DICOM slice"):
        read_hu(alone)


def test_the_hash_of_one_slice_covers_its_series(tmp_path):
    write_series(tmp_path / "ct")
    write_series(tmp_path / "ct", uid="1.2.34", description="other")
    own = sorted((tmp_path / "ct").glob("1.2.3_*.dcm"))
    assert ct_files(own[0]) == own
    before = fingerprint(own[0], ct_files(own[0]))
    next((tmp_path / "ct").glob("1.2.34_*.dcm")).unlink()
    assert fingerprint(own[0], ct_files(own[0])) == before
    data = pydicom.dcmread(own[-1])
    data.RescaleSlope = 0.25
    data.save_as(own[-1])
    assert fingerprint(own[0], ct_files(own[0]))["sha256"] != before["sha256"]


def test_a_series_is_not_chosen_where_there_is_none(tmp_path):
    path = saved(tmp_path / "ct.nii.gz")
    with pytest.raises(XrcoreError, match="not DICOM, so there is no series to choose"):
        read_ct(path, series="1.2.3")
    with pytest.raises(XrcoreError, match="series must be"):
        read_ct(path, series=5)


def test_several_series_are_named_and_chosen(tmp_path):
    first = write_series(tmp_path / "ct")
    second = write_series(tmp_path / "ct", uid="1.2.34", description="bone kernel", positions=(0.0, 1.0, 2.0, 3.0, 4.0))
    with pytest.raises(XrcoreError) as error:
        read_ct(tmp_path / "ct")
    message = only_line(error)
    assert "1.2.3 (axial, CT, 4 slices)" in message
    assert "1.2.34 (bone kernel, CT, 5 slices)" in message
    assert np.allclose(read_hu(tmp_path / "ct", series="1.2.3").hu, first)
    assert np.allclose(read_hu(tmp_path / "ct", series="bone kernel").hu, second)
    with pytest.raises(XrcoreError, match=r"no series named 'lung'.*1\.2\.34"):
        read_ct(tmp_path / "ct", series="lung")


def test_scouts_and_other_modalities_are_passed_over(tmp_path):
    hu = write_series(tmp_path / "ct")
    write_series(tmp_path / "ct", uid="1.2.35", positions=(0.0,), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    write_series(tmp_path / "ct", uid="1.2.36", modality="MR")
    assert np.allclose(read_hu(tmp_path / "ct").hu, hu)


def make_damage(folder: Path, name: str) -> None:
    path = next(p for p in sorted(folder.iterdir()))
    if name == "cut":
        path.write_bytes(path.read_bytes()[:-20])
    elif name == "text":
        path.write_text("not DICOM at all")
    else:
        data = pydicom.dcmread(path)
        delattr(data, name)
        data.save_as(path)


@pytest.mark.parametrize(
    ("series", "damage", "words"),
    [
        ({"modality": "MR"}, None, "modality 'MR', not CT"),
        ({"positions": (0.0, 3.0, 9.0, 12.0)}, None, "missing or unevenly spaced: steps of 3 to 6 mm"),
        ({"positions": (0.0, 3.0, 6.0, 9.0, 12.25, 15.5, 18.75)}, None, "unevenly spaced: steps of 3 to 3.25 mm"),  # 0.375 mm in all
        ({"positions": (0.0, 3.0, 3.0, 6.0)}, None, "two slices at 3 mm"),
        ({"positions": (0.0,)}, None, "one slice"),
        ({"tilt": 1.0}, None, "tilted"),
        ({"shifts": (0.0, 1.0, 0.0, 0.0)}, None, "shifted sideways by up to 1 mm"),
        ({"NumberOfFrames": 2, "Rows": 3, "ImagePositionPatient": None}, None, "its place is unknown"),
        ({"RescaleSlope": 0}, None, "RescaleSlope"),
        ({"PixelSpacing": [0, 1]}, None, "PixelSpacing"),
        ({"SamplesPerPixel": 3}, None, "colour"),
        ({"Rows": 60000, "Columns": 60000}, None, "claims"),
        ({}, "ImagePositionPatient", "no ImagePositionPatient \\(0020,0032\\)"),
        ({}, "cut", "truncated"),
        ({}, "text", "not a DICOM file"),
    ],
)
def test_series_that_are_not_a_ct(tmp_path, series, damage, words):
    write_series(tmp_path / "ct", **series)
    if damage is not None:
        make_damage(tmp_path / "ct", damage)
    with pytest.raises(XrcoreError, match=words) as error:
        read_ct(tmp_path / "ct")
    assert str(tmp_path / "ct") in only_line(error)


# real data


def test_real_dicom_series(shared_data):
    hu = read_hu(shared_data / "ct" / "cort_abdomen_dicom")
    assert hu.hu.shape == (168, 217, 217)
    assert hu.spacing == pytest.approx((3, 3, 2.5))
    assert hu.notes == ()
    one = pydicom.dcmread(shared_data / "ct" / "cort_abdomen_dicom" / "ct_slice_1.dcm")
    k = round((float(one.ImagePositionPatient[2]) - hu.world_from_voxel[2, 3]) / 2.5)
    assert np.allclose(hu.hu[k], one.pixel_array * float(one.RescaleSlope) + float(one.RescaleIntercept), atol=1e-3)


def test_real_bone_only_ct(shared_data):
    path = shared_data / "ct" / "rayemb_pelvis_bone.nii.gz"
    assert "background=" in read_hu(path).notes[0]
    volume = read_ct(path, spacing=3.0, background=0)
    assert 0.01 < float((volume.density.sum(0) > 0).float().mean()) < 0.04
    grams = volume.density.sum((1, 2, 3)) * 3**3 / 1000
    # no shell of water: the bone weighs more than what is left of soft tissue
    assert grams[volume.materials.index("soft")] < grams[volume.materials.index("bone")]


def test_real_implant_and_flipped_direction(shared_data):
    path = shared_data / "ct" / "totalsegmentator_pelvis_implant.nii.gz"
    volume = read_ct(path, spacing=3.0)
    assert volume.materials == ("soft", "bone", "metal")
    image = sitk.ReadImage(str(path))
    centre = image.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in image.GetSize()])
    assert np.allclose(volume.isocenter, centre, atol=1e-3)
    points = torch.nonzero(volume.material("metal")).flip(-1).double() @ volume.world_from_voxel[:3, :3].T + volume.world_from_voxel[:3, 3]
    brightest = [image[image.TransformPhysicalPointToIndex(p.tolist())] for p in points]
    assert np.mean(brightest) > 2000
