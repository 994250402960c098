"""Projected labels are what sampling, rendering and a closed form say."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_dilation, distance_transform_edt
from support.registrations import CARM, ISOCENTER, POSE, by_formula, gradient_xray, registered

import xrcore as xr

SMALL = xr.CArm(source_to_detector=300.0, source_to_isocenter=200.0, shape=(20, 24), pixel_spacing=(3.1, 2.6), principal_point=(8.3, 13.1))
FLIPPED = ((-1.0, 0, 0, 0, 1, 0, 0, 0, -1), (0.0, 1, 0, 0, 0, 1, 1, 0, 0), (1.0, 0, 0, 0, -0.8, 0.6, 0, 0.6, 0.8))


def label_image(array: np.ndarray, spacing=(4.0, 5.0, 6.0), direction=FLIPPED[0], centre=ISOCENTER) -> sitk.Image:
    """Its centre at a point."""
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    image.SetDirection(direction)
    middle = np.array(image.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in image.GetSize()]))
    image.SetOrigin((np.asarray(centre) - middle).tolist())
    return image


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_thickness_is_that_of_samples_along_the_rays(seed):
    random = np.random.default_rng(seed)
    array = random.integers(0, 3, (4, 5, 6)).astype(np.uint8)
    array[0, 0, :2] = 1, 2
    image = label_image(array, direction=FLIPPED[seed % 3])
    pose = xr.Pose(random.uniform([-180, -180, -180, -9, -9, -9], [180, 180, 180, 9, 9, 9]))
    result = registered(gradient_xray(SMALL), pose=pose)
    found = xr.project_labels(image, SMALL, result).thickness

    world_from_camera = pose.world_from_camera(SMALL, torch.from_numpy(ISOCENTER))[0].numpy()
    rows, cols = np.indices(SMALL.shape)
    x, y = (cols - SMALL.center[1]) * SMALL.spacing[1] / 300, (rows - SMALL.center[0]) * SMALL.spacing[0] / 300
    rays = np.stack([x, y, np.ones_like(x)], -1) @ world_from_camera[:3, :3].T
    step = 0.02
    depths = np.arange(165, 235, step)
    direction = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    inverse = np.linalg.inv(direction)
    start, along = inverse @ (world_from_camera[:3, 3] - image.GetOrigin()), rays @ inverse.T
    sampled = np.zeros((2, *SMALL.shape))
    for row in range(SMALL.shape[0]):
        index = np.rint(start + along[row][:, None] * depths[:, None]).astype(int)
        inside = ((index >= 0) & (index < array.shape[::-1])).all(-1)
        kept = np.where(inside[..., None], index, 0)
        value = np.where(inside, array[kept[..., 2], kept[..., 1], kept[..., 0]], 0)
        for label in (1, 2):
            sampled[label - 1, row] = (value == label).sum(1) * step * np.linalg.norm(rays[row], axis=1)
    np.testing.assert_allclose(found, sampled, atol=12 * step)  # a step is lost or won at each face
    assert not ((sampled > 0) & (found == 0)).any()


def test_a_label_is_outlined_where_a_rendered_volume_of_it_ends():
    z, y, x = np.indices((20, 24, 28))
    array = (((z - 9.5) / 8) ** 2 + ((y - 11.5) / 7) ** 2 + ((x - 13.5) / 12) ** 2 < 1).astype(np.uint8)
    image, fine = label_image(array, (2.0, 2.0, 2.5), FLIPPED[2]), 3
    matrix = torch.eye(4, dtype=torch.float64)
    axes = torch.tensor(image.GetDirection(), dtype=torch.float64).reshape(3, 3) * torch.tensor(image.GetSpacing())
    matrix[:3, :3] = axes / fine
    matrix[:3, 3] = torch.tensor(image.GetOrigin()) - axes @ torch.full((3,), (fine - 1) / 2 / fine, dtype=torch.float64)
    density = torch.from_numpy(np.kron(array, np.ones((fine,) * 3, np.float32)))[None]
    solid = xr.Volume(density=density, materials=("bone",), world_from_voxel=matrix, isocenter=torch.from_numpy(ISOCENTER))
    rendered = xr.render(solid, CARM, POSE)[0].numpy() > 0

    drawn = xr.draw(gradient_xray(), registered(), labels=image)
    mask = drawn.labels.masks[0]
    assert 100 < mask.sum() < mask.size / 2
    assert not (mask & ~rendered).any()
    assert not (rendered & ~binary_dilation(mask)).any()
    (outline,) = drawn.figure.axes[0].collections
    vertices = np.concatenate([path.vertices for path in outline.get_paths()])
    to_edge = np.maximum(distance_transform_edt(rendered), distance_transform_edt(~rendered))
    assert len(vertices) > 20
    assert to_edge[tuple(np.rint(vertices[:, ::-1]).astype(int).T)].max() < 1.5


def test_a_voxel_of_a_flipped_map_is_where_its_point_is_drawn(tmp_path):
    array = np.zeros((5, 6, 7), np.int16)
    array[1, 4, 2], array[3, 1, 5] = 7, -3
    for direction in FLIPPED:
        image = label_image(array, (6.0, 6.0, 6.0), direction)
        sitk.WriteImage(image, tmp_path / "labels.nrrd")
        places = [image.TransformIndexToPhysicalPoint(index) for index in ((5, 1, 3), (2, 4, 1))]
        drawn = xr.draw(gradient_xray(), registered(), labels=tmp_path / "labels.nrrd", points=np.array(places))
        assert drawn.labels.values == (-3, 7)
        for mask, (row, col) in zip(drawn.labels.masks, by_formula(np.array(places), POSE.numbers[0].numpy()), strict=True):
            middle = np.argwhere(mask).mean(0)
            np.testing.assert_allclose(middle, [row, col], atol=0.75)


def test_a_slot_scan_projects_in_parallel_along_the_scan():
    scan = xr.SlotScan(source_to_detector=1000.0, source_to_isocenter=500.0, shape=(40, 40), pixel_spacing=(2.0, 4.0))
    block = label_image(np.ones((10, 4, 4), np.uint8), (10.0, 10.0, 4.0), FLIPPED[0])  # 40 x 40 x 40 mm
    mask = xr.project_labels(block, scan, registered(gradient_xray(scan), pose=xr.Pose())).masks[0]
    rows, cols = np.argwhere(mask).T
    assert np.ptp(rows) + 1 == 40 / 2
    assert np.ptp(cols) + 1 == pytest.approx(40 * 1000 / 480 / 4, abs=1)


@pytest.mark.parametrize("deep", [40.0, 0.5])
def test_oblique_rays_run_further_through_a_slab_and_a_thin_one_is_seen(deep):
    slab = label_image(np.ones((4, 1, 4), np.uint8), (200.0, deep, 200.0))  # across the rays of a front view
    found = xr.project_labels(slab, CARM, registered(pose=xr.Pose()))
    rows, cols = np.indices(CARM.shape)
    y, x = ((at - c) * step / CARM.source_to_detector for at, c, step in zip((rows, cols), CARM.center, CARM.spacing, strict=True))
    lengths = np.sqrt(1 + x**2 + y**2)
    assert lengths.max() > 1.01
    np.testing.assert_allclose(found.thickness[0], deep * lengths, rtol=1e-5)
    assert found.masks.all()


def test_names_come_from_a_segmentation_file(tmp_path):
    image = label_image(np.arange(27, dtype=np.uint8).reshape(3, 3, 3) % 3)
    for key, value in {"Segment0_Name": "left femur", "Segment0_LabelValue": "2", "Segment1_LabelValue": "1"}.items():
        image.SetMetaData(key, value)
    sitk.WriteImage(image, tmp_path / "bones.seg.nrrd")
    assert xr.project_labels(tmp_path / "bones.seg.nrrd", CARM, registered()).names == ("label 1", "left femur")
    assert xr.project_labels(tmp_path / "bones.seg.nrrd", CARM, registered(), keep=[2]).names == ("left femur",)
    with pytest.raises(xr.XrcoreError, match="label 9 does not occur"):
        xr.project_labels(tmp_path / "bones.seg.nrrd", CARM, registered(), keep=[9])


def test_a_map_elsewhere_is_refused():
    far = label_image(np.ones((3, 3, 3), np.uint8), centre=ISOCENTER + np.array([0, 0, 5000]))
    with pytest.raises(xr.XrcoreError, match="patient space of the registered CT"):
        xr.project_labels(far, CARM, registered())
