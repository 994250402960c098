"""DeepFluoro's HDF5: a small file of its exact layout, written here, and geometry that must agree with its own projections."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import h5py
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from scipy.spatial.transform import Rotation

import xrcore as xr
from companion.datasets.deepfluoro import BONES, read_deepfluoro
from xrcore import XrcoreError
from xrcore.geometry import rigid

ROWS, COLS, STEP, FOCAL = 90, 100, 3.0, -340.0  # pixels, mm, pixels: 1020 mm from source to detector
K = np.array([[FOCAL, 0, 52.0], [0, FOCAL, 41.5], [0, 0, 1]])
NAMES = ("ASIS-l", "ASIS-r", "FH-l", "FH-r", "MOF-l")
SHAPE = (40, 50, 60)  # z, y, x
ORIGIN = np.array([-118.0, -98.0, -900.0])
SPACING = np.array([4.0, 4.0, 4.0])
CENTER = ORIGIN + SPACING * (np.array(SHAPE[::-1]) - 1) / 2


def transform(angles: tuple[float, float, float], translation: tuple[float, float, float]) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    matrix[:3, 3] = translation
    return matrix


EXTRINSIC = transform((5, -8, 12), (20, -30, 15))


def volume_from_camera_world(turned: bool, k: int) -> np.ndarray:
    """A view as in the data: the source behind the patient, the detector in front, seen from the detector, patient up (or down)."""
    # camera axes in LPS as columns: x to the patient's left, y down, z to the source, which is posterior
    axes = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
    around = Rotation.from_euler("xyz", (4 * k, -6 * k, 3 + 180 * turned), degrees=True).as_matrix()
    volume_from_camera = np.eye(4)
    volume_from_camera[:3, :3] = axes @ around
    volume_from_camera[:3, 3] = CENTER + axes @ around @ (10 * k, -5.0, 740.0)  # the source is the camera's origin
    return volume_from_camera @ EXTRINSIC


def project(points: np.ndarray, volume_from_world: np.ndarray) -> np.ndarray:
    """As the authors' example does: intrinsic * extrinsic * inverse(cam-to-pelvis-vol), divided by z. (n, 2) columns and rows."""
    camera = (EXTRINSIC @ np.linalg.inv(volume_from_world) @ np.c_[points, np.ones(len(points))].T)[:3]
    assert (camera[2] < 0).all()
    u, v, w = K @ camera
    return np.stack([u / w, v / w], 1)


def image_group(parent: h5py.Group, name: str, pixels: np.ndarray, spacing: np.ndarray, origin: np.ndarray) -> None:
    group = parent.create_group(name)
    group["dir-mat"] = np.eye(len(spacing))
    group["origin"] = origin[:, None]
    group["spacing"] = spacing[:, None]
    group.create_dataset("pixels", data=pixels, compression="gzip")


@pytest.fixture(scope="module")
def points() -> np.ndarray:
    return CENTER + np.random.default_rng(1).uniform(-70, 70, (len(NAMES), 3))


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory, points: np.ndarray) -> Path:
    """Two specimens, of which the first has an upright projection "000" and a turned one "001"."""
    path = tmp_path_factory.mktemp("deepfluoro") / "full.h5"
    random = np.random.default_rng(0)
    hu = random.uniform(-1000, 1500, SHAPE).astype(np.float32)
    with h5py.File(path, "w") as file:
        parameters = file.create_group("proj-params")
        for name, value in {
            "extrinsic": EXTRINSIC,
            "intrinsic": K,
            "num-cols": COLS,
            "num-rows": ROWS,
            "pixel-col-spacing": STEP,
            "pixel-row-spacing": STEP,
        }.items():
            parameters[name] = value
        for specimen in ("17-1905", "17-1882"):
            group = file.create_group(specimen)
            image_group(group, "vol", hu, SPACING, ORIGIN)
            image_group(group, "vol-seg/image", (hu > 400).astype(np.uint8) * 5, SPACING, ORIGIN)
            group["vol-seg/labels-def/5"] = "left-femur"
            for name, point in zip(NAMES, points, strict=True):
                group[f"vol-landmarks/{name}"] = point[:, None]
            for k, turned in enumerate((False, True)):
                view = group.create_group(f"projections/{k:03d}")
                pose = volume_from_camera_world(turned, k)
                image_group(view, "image", random.uniform(100, 60000, (ROWS, COLS)).astype(np.float32), np.full(2, STEP), np.zeros(2))
                for name, pixel in zip(NAMES, project(points, pose), strict=True):
                    view[f"gt-landmarks/{name}"] = pixel[:, None]
                for bone in BONES:
                    view[f"gt-poses/cam-to-{bone}-vol"] = pose
                view["gt-poses/left-femur-good-fov"] = 1
                view["gt-poses/right-femur-good-fov"] = 0
                view["rot-180-for-up"] = int(turned)
    return path


def test_specimens_come_in_the_papers_order(full):
    assert [(s.name, s.projections) for s in read_deepfluoro(full)] == [("17-1882", ("000", "001")), ("17-1905", ("000", "001"))]


@pytest.mark.parametrize("upright", [True, False])
@pytest.mark.parametrize("name", ["000", "001"])
def test_landmarks_project_where_the_file_says(full, name, upright):
    specimen = read_deepfluoro(full)[0]
    view = specimen.projection(name, upright=upright, source_to_isocenter=700.0, border=0)
    landmarks = specimen.landmarks()
    camera = rigid.apply(view.truth.camera_from_world(view.xray.carm, view.isocenter), torch.stack(list(landmarks.values())))[0]
    assert (camera[:, 2] > 0).all()
    found = view.xray.carm.project(camera)
    torch.testing.assert_close(found, torch.tensor([view.landmarks[key] for key in landmarks], dtype=torch.float64), atol=1e-6, rtol=0)


def test_pixels_keep_their_landmarks(full):
    # a pixel under a landmark in the file is under it in what is returned, mirrored, and turned or not
    specimen = read_deepfluoro(full)[0]
    with h5py.File(full) as file:
        for name, upright in (("000", True), ("001", True), ("001", False)):
            raw = file[f"17-1882/projections/{name}/image/pixels"][()]
            view = specimen.projection(name, upright=upright, border=0)
            image = view.xray.image.double()
            for key, (row, col) in view.landmarks.items():
                u, v = file[f"17-1882/projections/{name}/gt-landmarks/{key}"][()].ravel()
                if key in view.visible:
                    assert abs(image[round(row), round(col)] + np.log(raw[round(v), round(u)] / np.percentile(raw, 99.9))) < 1e-4


@pytest.mark.parametrize("name", ["000", "001"])
def test_an_upright_view_has_the_head_up_and_the_source_behind(full, name):
    view = read_deepfluoro(full)[0].projection(name, border=0)
    pose = view.truth.world_from_camera(view.xray.carm, view.isocenter)[0]
    assert pose[2, 1] < -0.9  # image rows run to the feet
    assert pose[1, 2] < -0.9  # from the posterior source forwards
    assert pose[0, 0] < -0.9  # seen from behind the patient: his left is on the image's left
    assert abs(float(view.xray.carm.source_to_detector) - 1020) < 1e-9
    turned = read_deepfluoro(full)[0].projection("001", upright=False, border=0)
    assert turned.truth.world_from_camera(turned.xray.carm, turned.isocenter)[0, 2, 1] > 0.9


def test_the_truth_is_not_the_start(full):
    view = read_deepfluoro(full)[0].projection("000", border=7)
    assert view.xray.pose is None
    assert int(view.xray.mask.sum()) == (ROWS - 14) * (COLS - 14)
    assert view.good


def test_femurs_say_whether_they_are_in_view(full):
    specimen = read_deepfluoro(full)[0]
    assert specimen.projection("000", bone="left-femur", border=0).good
    assert not specimen.projection("000", bone="right-femur", border=0).good


def test_half_a_voxel_moves_the_source_by_half_a_millimetre(full):
    specimen = read_deepfluoro(full)[0]
    a, b = (specimen.projection("000", border=0, half_voxel=half) for half in (False, True))
    source = [v.truth.world_from_camera(v.xray.carm, v.isocenter)[0, :3, 3] for v in (a, b)]
    torch.testing.assert_close(source[1] - source[0], torch.full((3,), -0.5, dtype=torch.float64))


def test_the_ct_is_what_read_ct_makes_of_it(full, tmp_path):
    specimen = read_deepfluoro(full)[0]
    hu = specimen.hu()
    image = sitk.GetImageFromArray(hu.hu)
    image.SetSpacing(SPACING.tolist())
    image.SetOrigin(ORIGIN.tolist())
    sitk.WriteImage(image, str(tmp_path / "ct.nii.gz"))
    ours, theirs = specimen.volume(5.0), xr.read_ct(tmp_path / "ct.nii.gz", 5.0)
    assert ours.materials == theirs.materials
    torch.testing.assert_close(ours.density, theirs.density)
    torch.testing.assert_close(ours.world_from_voxel, theirs.world_from_voxel, atol=1e-4, rtol=0)
    torch.testing.assert_close(ours.isocenter, specimen.projection("000", border=0).isocenter)
    torch.testing.assert_close(ours.isocenter, torch.tensor(CENTER))


def test_labels_choose_bones(full):
    specimen = read_deepfluoro(full)[0]
    image, meaning = specimen.labels()
    assert meaning == {5: "left-femur"}
    kept = specimen.volume(4.0, labels=image, keep=[5]).density.sum()
    assert 0 < kept < specimen.volume(4.0).density.sum()


def test_a_drawn_ct_is_found_where_its_landmark_is(full, tmp_path):
    """One dense voxel in the CT: its image is centred where the file's own projection puts it."""
    copy = tmp_path / "ball.h5"
    copy.write_bytes(full.read_bytes())
    index = np.array([22, 20, 33])  # z, y, x
    with h5py.File(copy, "r+") as file:
        hu = np.full(SHAPE, -1000, dtype=np.float32)
        hu[tuple(slice(i - 1, i + 2) for i in index)] = 1500
        file["17-1882/vol/pixels"][...] = hu
    specimen = read_deepfluoro(copy)[0]
    volume = specimen.volume(None)
    for name, turned, k in (("000", False, 0), ("001", True, 1)):
        u, v = project((ORIGIN + SPACING * index[::-1])[None], volume_from_camera_world(turned, k))[0]
        view = specimen.projection(name, upright=False, border=0)
        image = xr.render(volume, view.xray.carm, view.truth)[0]
        weight = image.double() - image.double().min()
        rows, cols = torch.meshgrid(torch.arange(ROWS), torch.arange(COLS), indexing="ij")
        assert abs(float((rows * weight).sum() / weight.sum()) - v) < 0.2
        assert abs(float((cols * weight).sum() / weight.sum()) - (COLS - 1 - u)) < 0.2


# what is wrong is said


def change(full: Path, tmp_path: Path, part: str, value: object) -> Path:
    copy = tmp_path / "changed.h5"
    copy.write_bytes(full.read_bytes())
    with h5py.File(copy, "r+") as file:
        del file[part]
        if value is not None:
            file[part] = value
    return copy


@pytest.mark.parametrize(
    ("part", "value", "said"),
    [
        ("proj-params", None, "it has no proj-params"),
        ("proj-params/intrinsic", None, "it has no dataset 'proj-params/intrinsic'"),
        ("proj-params/intrinsic", -K, "must have negative focal lengths"),
        ("proj-params/pixel-row-spacing", 2.0, "two distances from source to detector"),
        ("proj-params/extrinsic", np.diag([1.0, 1.0, -1.0, 1.0]), "extrinsic is not a rigid transform"),
        ("proj-params/num-rows", 7, "but proj-params say"),
        ("17-1882/projections/000/gt-poses/cam-to-pelvis-vol", np.ones((4, 4)), "is not a rigid transform"),
        ("17-1882/projections/000/gt-landmarks/FH-l", np.ones(3), "is not 2 numbers"),
        ("17-1882/projections/000/image/pixels", np.zeros((ROWS, COLS)), "no pixel is brighter than 0"),
        ("17-1882/vol/spacing", np.zeros(3), "is not that of a 3D image"),
        ("17-1882/vol", 3, "it has no group '17-1882/vol'"),
    ],
)
def test_a_wrong_file_is_one_line(full, tmp_path, part, value, said):
    with pytest.raises(XrcoreError) as error:
        read_deepfluoro(change(full, tmp_path, part, value))[0].projection("000", border=0)
    assert said in str(error.value)
    assert "changed.h5" in str(error.value)
    assert "\n" not in str(error.value)


def test_bad_requests_are_one_line(full, tmp_path):
    specimen = read_deepfluoro(full)[0]
    with pytest.raises(XrcoreError, match="has no projection '7'; it has 000 to 001"):
        specimen.projection("7")
    with pytest.raises(XrcoreError, match="bone must be one of pelvis"):
        specimen.projection("000", bone="skull")
    with pytest.raises(XrcoreError, match="a border wider than the image"):
        specimen.projection("000")
    (tmp_path / "text.h5").write_text("text")
    with pytest.raises(XrcoreError, match="not an HDF5 file"):
        read_deepfluoro(tmp_path / "text.h5")
    with pytest.raises(XrcoreError, match=r"none\.h5"):
        read_deepfluoro(tmp_path / "none.h5")


def test_damage_ends_in_an_error_a_user_can_read(full, tmp_path):
    content = bytearray(full.read_bytes())
    random = np.random.default_rng(0)
    for trial in range(30):
        damaged = bytearray(content)
        for place in random.integers(0, len(content), 40):
            damaged[place] ^= 0xFF
        if trial % 3 == 0:
            damaged = damaged[: len(content) * 2 // 3]
        path = tmp_path / "damaged.h5"
        path.write_bytes(damaged)
        with suppress(XrcoreError):  # anything else fails the test
            read_deepfluoro(path)[0].projection("000", border=0)


# pre-processed files


def test_a_small_file_is_told_from_the_full_one(tmp_path):
    path = tmp_path / "small.h5"
    with h5py.File(path, "w") as file:
        file["land-names/num-lands"] = 0
    with pytest.raises(XrcoreError, match="pre-processed files, which hold neither CTs nor poses"):
        read_deepfluoro(path)
