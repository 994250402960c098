"""What 3D Slicer opens, read back by SimpleITK and a mesh reader: the rays go through the right points."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk
import torch
import trimesh
from support.registrations import CARM, ISOCENTER, POSE, by_formula, gradient_xray, registered

import xrcore as xr
from xrcore.drawing import write_slicer
from xrcore.drawing.markups import read_landmarks, read_lines
from xrcore.registration.placement import placement_of

PLACES = ISOCENTER + np.array([[30.0, 10.0, -20.0], [-25.0, 40.0, 15.0]])
SCAN = xr.SlotScan(source_to_detector=1000.0, source_to_isocenter=500.0, shape=(40, 30), pixel_spacing=(2.0, 4.0))


@pytest.fixture(scope="module", params=[CARM, SCAN], ids=["C-arm", "slot scan"])
def scene(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scene")
    xray = gradient_xray(request.param)
    write_slicer(folder, xray, placement_of(registered(xray), request.param), dict(zip("ab", PLACES, strict=True)))
    return folder, xray


def test_landmarks_of_an_earlier_scene_do_not_stay(tmp_path):
    xray = gradient_xray(CARM)
    for points in ({"a": PLACES[0]}, None):
        written = write_slicer(tmp_path, xray, placement_of(registered(xray), CARM), points)
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted(written)


def test_the_slice_is_the_x_ray_where_the_transform_has_its_pixels(scene):
    folder, xray = scene
    image = sitk.ReadImage(str(folder / "xray.nrrd"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image)[0], xray.image)
    np.testing.assert_allclose(np.linalg.det(np.array(image.GetDirection()).reshape(3, 3)), 1)
    camera = sitk.ReadTransform(str(folder / "camera_from_ct.tfm"))
    for col, row in ((0, 0), (7, 11), (29, 39)):
        place = torch.tensor(camera.TransformPoint(image.TransformContinuousIndexToPhysicalPoint((col, row, 0))))
        np.testing.assert_allclose(xray.carm.project(place[None])[0], [row, col], atol=1e-6)
        assert place[2] == pytest.approx(xray.carm.source_to_detector)


def test_the_principal_ray_leaves_the_source_and_meets_the_principal_point(scene):
    folder, xray = scene
    image = sitk.ReadImage(str(folder / "xray.nrrd"))
    (ray,) = read_lines(folder / "camera.mrk.json")
    index = image.TransformPhysicalPointToContinuousIndex(ray.points[1].tolist())
    np.testing.assert_allclose(index, [*xray.carm.center[::-1], 0], atol=1e-6)
    assert np.linalg.norm(ray.points[1] - ray.points[0]) == pytest.approx(xray.carm.source_to_detector)
    fiducials = read_landmarks(folder / "camera.mrk.json")
    np.testing.assert_allclose(fiducials["source"], ray.points[0])
    np.testing.assert_allclose(fiducials["isocentre"], ISOCENTER)


def test_rays_through_landmarks_meet_the_slice_where_they_are_drawn(scene):
    folder, xray = scene
    image = sitk.ReadImage(str(folder / "xray.nrrd"))
    _, down, normal = np.array(image.GetDirection()).reshape(3, 3).T
    expected = list(xr.draw(xray, registered(xray), points=PLACES).points.values())
    if xray.carm is CARM:
        np.testing.assert_allclose(expected, by_formula(PLACES, POSE.numbers[0].numpy()), atol=1e-6)
    for place, (row, col) in zip(read_landmarks(folder / "landmarks.mrk.json").values(), expected, strict=True):
        source = read_landmarks(folder / "camera.mrk.json")["source"]
        source = source + (down @ (place - source)) * down * (xray.carm is SCAN)  # which moves along
        along = place - source
        met = source + along * (normal @ (np.array(image.GetOrigin()) - source)) / (normal @ along)
        index = image.TransformPhysicalPointToContinuousIndex(met.tolist())
        np.testing.assert_allclose(index, [col, row, 0], atol=1e-6)


def test_the_beam_reaches_from_the_source_to_the_corners_of_the_slice(scene):
    folder, _ = scene
    image = sitk.ReadImage(str(folder / "xray.nrrd"))
    beam = trimesh.load_mesh(folder / "camera.ply")
    (cols, rows, _), edges = image.GetSize(), []
    for col in (-0.5, cols - 0.5):
        edges += [image.TransformContinuousIndexToPhysicalPoint((col, row, 0)) for row in (-0.5, rows - 0.5)]
    for corner in edges:
        assert np.linalg.norm(beam.vertices - corner, axis=1).min() < 1e-3
    assert b"SPACE=LPS" in (folder / "camera.ply").read_bytes()


def test_markups_say_their_axes_and_unit(scene):
    for name in ("camera.mrk.json", "landmarks.mrk.json"):
        for markup in json.loads((scene[0] / name).read_text())["markups"]:
            assert (markup["coordinateSystem"], markup["coordinateUnits"]) == ("LPS", "mm")


def test_the_command_writes_them(run, scene, tmp_path):
    matrix = torch.diag(torch.tensor([8.0, 8.0, 8.0, 1.0], dtype=torch.float64))
    volume = xr.Volume(density=torch.ones(1, 8, 8, 8), materials=("soft",), world_from_voxel=matrix, isocenter=torch.from_numpy(ISOCENTER))
    xr.registration.write_registration(tmp_path / "result", registered(), volume)
    xr.write_xray(tmp_path / "xray.dcm", gradient_xray())
    done = run("draw", tmp_path / "xray.dcm", tmp_path / "result", "--slicer", tmp_path / "scene")
    assert done.code == 0, done.err
    assert {path.name for path in (tmp_path / "scene").iterdir()} == {"xray.nrrd", "camera.ply", "camera.mrk.json", "camera_from_ct.tfm"}
    assert run("draw", tmp_path / "xray.dcm", tmp_path / "result").code == 2
