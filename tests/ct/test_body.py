"""body= cuts the table away and keeps the patient; crop= reads a box."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import torch

import xrcore as xr
from xrcore import XrcoreError
from xrcore.ct import HuImage, volume_from_hu
from xrcore.phantom import pelvis_hu

SPACING = 4.0


@pytest.fixture(scope="module")
def patient() -> tuple[np.ndarray, np.ndarray]:
    """HU and world_from_voxel, with air on all sides."""
    hu, matrix = pelvis_hu(0, SPACING)
    padded = np.pad(hu, ((0, 0), (4, 24), (12, 12)), constant_values=-1000)
    matrix = matrix.copy()
    matrix[:3, 3] -= matrix[:3, :3] @ [12, 4, 0]
    return padded.astype(np.float32), matrix


def with_table(hu: np.ndarray, gap: int) -> tuple[np.ndarray, np.ndarray]:
    """A couch of foam in a shell with a metal rail, `gap` voxels behind the back; and where it is."""
    back = int(np.flatnonzero((hu > -400).any((0, 2))).max())
    top = back + 1 + gap
    table = np.full_like(hu, np.nan)
    table[:, top : top + 10, 4:-4] = -930
    table[:, [top, top + 9], 4:-4] = 60
    table[:, top : top + 10, [4, -5]] = 60
    table[:, top + 4 : top + 6, 6:8] = 2900
    there = ~np.isnan(table)
    return np.where(there, table, hu), there


@pytest.mark.parametrize("gap", [0, 1, 3])
def test_the_table_goes_and_the_patient_stays(patient, gap):
    hu, matrix = patient
    scene, there = with_table(hu, gap)
    alone = volume_from_hu(hu, matrix, spacing=None)
    cut = volume_from_hu(scene, matrix, spacing=None, body=True)
    assert cut.materials == alone.materials  # the rail's metal has gone
    assert torch.equal(cut.isocenter, alone.isocenter)
    assert cut.notes == ()
    mass, whole = cut.density.sum(0), alone.density.sum(0)
    assert torch.equal(cut.material("bone"), alone.material("bone"))
    lost = (whole - mass).clamp(min=0).sum() / whole.sum()
    assert lost < 1e-3
    near = np.zeros_like(there)  # where the table touches the skin, a voxel or two of its shell stay
    near[:, : int(np.flatnonzero(there.any((0, 2))).min()) + 2] = True
    assert not mass[torch.from_numpy(there & ~near)].any()
    table = torch.from_numpy(there)
    assert mass[table].sum() < 0.1 * volume_from_hu(scene, matrix, spacing=None).density.sum(0)[table].sum()


@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_air_inside_the_body_is_kept_whatever_the_axes_are(axes):
    hu = np.full((12, 40, 40), -1000.0, np.float32)
    hu[:, 5:35, 5:35] = 40
    hu[:, 12:28, 12:28] = -800  # a lung that the ends of the CT leave open
    hu[:, 37:39, 5:35] = 30  # a board
    matrix = np.diag([3.0, 3.0, 3.0, 1.0])
    turned = matrix[:, [2 - a for a in reversed(axes)] + [3]]
    volume = volume_from_hu(hu.transpose(axes), turned, spacing=None, body=True, air="separate")
    expected = volume_from_hu(np.where(np.arange(40)[:, None] > 35, -1000, hu).transpose(axes), turned, spacing=None, air="separate")
    assert torch.equal(volume.density, expected.density)


def test_another_limb_is_told():
    hu = np.full((20, 30, 60), -1000.0, np.float32)
    hu[:, 5:25, 5:25] = hu[:, 5:25, 33:50] = 40
    hu[:, 12:18, 12:18] = 900
    volume = volume_from_hu(hu, np.diag([3.0, 3.0, 3.0, 1.0]), spacing=None, body=True)
    assert not volume.density[..., 33:].any()
    assert "another body" in volume.notes[0]


@pytest.mark.parametrize(("options", "words"), [({"body": True, "background": 0}, "background="), ({"body": 1}, "body must be")])
def test_body_needs_air(patient, options, words):
    with pytest.raises(XrcoreError, match=words):
        volume_from_hu(*patient, **options)


def test_a_ct_without_a_body_says_so():
    hu = np.full((20, 20, 20), -1000.0)
    hu[10] = 500
    with pytest.raises(XrcoreError, match="found no body"):
        volume_from_hu(hu, np.diag([2.0, 2.0, 2.0, 1.0]), body=True)


# a box


def test_a_box_is_read_as_if_the_file_held_no_more(patient):
    hu, matrix = patient
    low, high = np.array([10, 6, 5]), np.array([40, 30, 25])  # x, y, z
    box = np.stack([(matrix @ [*low, 1])[:3], (matrix @ [*high, 1])[:3]], 1)
    part = hu[low[2] : high[2] + 1, low[1] : high[1] + 1, low[0] : high[0] + 1]
    moved = matrix.copy()
    moved[:3, 3] = (matrix @ [*low, 1])[:3]
    cropped = volume_from_hu(hu, matrix, spacing=2.0, crop=box.ravel().tolist())
    alone = volume_from_hu(part, moved, spacing=2.0)
    assert torch.equal(cropped.density, alone.density)
    assert torch.allclose(cropped.world_from_voxel, alone.world_from_voxel)
    assert np.allclose(cropped.isocenter, box.mean(1))


def test_labels_of_the_whole_ct_go_with_a_box(patient):
    hu, matrix = patient
    image = HuImage(hu=hu, world_from_voxel=matrix)
    x, y, z = image.center
    labels = np.ones(hu.shape, np.uint8)
    labels[:, :, : hu.shape[2] // 2] = 0
    volume = volume_from_hu(image, spacing=None, labels=labels, crop=(x - 50, x + 50, y - 50, y + 50, z - 50, z + 50))
    kept = (volume.density.sum(0) > 0).any(0).any(0)
    assert not kept[: len(kept) // 2 - 1].any()
    assert kept[len(kept) // 2 + 1 :].all()
    assert volume.notes == ()


def test_a_box_on_turned_axes_holds_all_of_it():
    turn = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]])
    matrix = np.eye(4)
    matrix[:3, :3] = 2 * turn
    hu = np.random.default_rng(0).uniform(-1000, 1000, (20, 40, 40)).astype(np.float32)
    image = HuImage(hu=hu, world_from_voxel=matrix)
    box = (0, 20, 30, 50, 10, 30)
    found = image.cropped(box)
    index = np.argwhere(np.ones(hu.shape))[:, ::-1]
    world = index @ matrix[:3, :3].T
    inside = ((world >= box[::2]) & (world <= box[1::2])).all(1)
    back = np.linalg.inv(found.world_from_voxel)
    there = world[inside] @ back[:3, :3].T + back[:3, 3]
    assert (there > -1e-6).all()
    assert (there < np.array(found.hu.shape[::-1]) - 1 + 1e-6).all()
    at = np.round(there).astype(int)
    assert np.array_equal(found.hu[tuple(at.T[::-1])], hu[tuple(index[inside].T[::-1])])


@pytest.mark.parametrize("crop", [5, "abc", (1, 2, 3), (0, 1, 0, 1, 0, np.nan), (10, 0, 0, 10, 0, 10), (True, 2, 0, 2, 0, 2)])
def test_what_is_no_box_is_refused(patient, crop):
    with pytest.raises(XrcoreError, match="crop must be six numbers"):
        volume_from_hu(*patient, crop=crop)


def test_a_box_beside_the_ct_says_where_the_ct_is(patient):
    with pytest.raises(XrcoreError, match=r"crop leaves nothing of it; it reaches from -?\d"):
        volume_from_hu(*patient, crop=(5000, 6000, 0, 10, 0, 10))


# the commands


def test_register_render_and_train_take_both(run, patient, tmp_path):
    hu, matrix = patient
    scene, _ = with_table(hu, 1)
    for name, array in (("scene", scene), ("alone", hu)):
        image = sitk.GetImageFromArray(array.astype(np.int16))
        image.SetSpacing(matrix.diagonal()[:3].tolist())
        image.SetOrigin(matrix[:3, 3].tolist())
        sitk.WriteImage(image, str(tmp_path / f"{name}.nii.gz"))
    carm = xr.CArm(source_to_detector=1200, source_to_isocenter=700, shape=(48, 48), pixel_spacing=9.0)
    xr.write_carm(tmp_path / "carm.yaml", carm)
    x, y, z = HuImage(hu=hu, world_from_voxel=matrix).center.tolist()
    crop = ",".join(f"{v:g}" for v in (x - 150, x + 150, y - 100, y + 100, z - 90, z + 90))
    shared = ("--carm", tmp_path / "carm.yaml")
    pictures = {}
    for name, ct, options in (
        ("table", "scene", ()),
        ("cut", "scene", ("--body",)),
        ("alone", "alone", ()),
        ("box", "alone", ("--crop", crop)),
    ):
        out = tmp_path / f"{name}.tif"
        done = run("render", tmp_path / f"{ct}.nii.gz", "--pose", "0,90,0,0,0,0", *shared, "--spacing", SPACING, *options, "--out", out)
        assert done.code == 0, done.err
        pictures[name] = xr.read_xray(out, tmp_path / "carm.yaml").image
    off = {name: float((pictures[name] - pictures["alone"]).abs().max()) for name in pictures}
    assert off["cut"] < 0.05 * off["table"]
    assert off["box"] > 0.1
    done = run(
        *("register", tmp_path / "scene.nii.gz", tmp_path / "alone.tif", *shared, "--spacing", SPACING),
        *("--initial", "0,90,0,0,0,0", "--body", "--crop", crop, "--out", tmp_path / "result"),
    )
    assert done.code in (0, 3), done.err
    written = (tmp_path / "result" / "registration.json").read_text()
    assert '"body": true' in written
    assert f'"crop": "{crop}"' in written
    done = run("train", tmp_path / "scene.nii.gz", "--crop", "1,2,3", "--body", "--out", tmp_path / "model")
    assert done.code == 2
    assert "crop must be six numbers" in done.err
    assert "six numbers" in run("render", tmp_path / "scene.nii.gz", "--crop", "a", "--out", tmp_path / "no.png").err
