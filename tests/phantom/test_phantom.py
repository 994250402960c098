"""The procedural pelvis: the same by seed, different between seeds, and an anatomy that holds."""

from __future__ import annotations

import numpy as np
import pytest

from xrcore.phantom import pelvis, pelvis_hu, pelvis_labels, pelvis_landmarks
from xrcore.phantom.hip import CAVITY_RADIUS, HEAD_RADIUS
from xrcore.phantom.shapes import Field, sample

COARSE = 4.0  # [mm]
SIDES = ("left", "right")


@pytest.fixture(scope="module")
def coarse():
    return {seed: pelvis_hu(seed, COARSE) for seed in range(3)}


@pytest.fixture(scope="module", params=[0, 5])
def fine(request):
    """HU and landmarks of one patient, fine enough to see a joint space."""
    hu, world_from_voxel = pelvis_hu(request.param, 1.5)
    return hu, world_from_voxel, pelvis_landmarks(request.param)


def at(ct, point):
    """HU at the voxel nearest to a world point [mm]."""
    hu, world_from_voxel, *_ = ct
    i, j, k = np.rint(np.linalg.solve(world_from_voxel, [*point, 1.0]))[:3].astype(int)
    return int(hu[k, j, i])


def profile(ct, start, direction, distances):
    direction = np.asarray(direction, float) / np.linalg.norm(direction)
    return np.array([at(ct, start + d * direction) for d in distances])


# the same and different


def test_the_same_seed_is_the_same_patient():
    first, again = pelvis_hu(1, 6.0), pelvis_hu(1, 6.0)
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])


def test_seeds_are_different_patients(coarse):
    assert len({hu.shape for hu, _ in coarse.values()} | {int((hu > 350).sum()) for hu, _ in coarse.values()}) > 3
    crest = [np.linalg.norm(p["iliac crest left"] - p["iliac crest right"]) for p in map(pelvis_landmarks, range(8))]
    assert np.std(crest) > 3  # [mm]
    assert 235 < min(crest) < max(crest) < 310


def test_the_patient_does_not_depend_on_spacing():
    (coarse, a), (fine, b) = pelvis_hu(2, 4.0), pelvis_hu(2, 2.0)
    z, y, x = np.indices(coarse.shape)
    world = np.stack([x, y, z], -1) @ a[:3, :3].T + a[:3, 3]
    axes = [(b[i, 3] + b[i, i] * np.arange(fine.shape[2 - i])).astype(np.float32) for i in range(3)]
    resampled = sample(fine.astype(np.float32), axes, [world[0, 0, :, 0], world[0, :, 0, 1], world[:, 0, 0, 2]])
    inside = (coarse > -900) & (resampled > -900)
    assert np.corrcoef(coarse[inside], resampled[inside])[0, 1] > 0.93
    assert abs((coarse > -500).sum() * 64 / ((fine > -500).sum() * 8) - 1) < 0.01


def test_the_body_stands_in_air_near_the_origin(coarse):
    for hu, world_from_voxel in coarse.values():
        assert (hu[:, [0, -1], :] == -1000).all()
        assert (hu[:, :, [0, -1]] == -1000).all()
        body = np.argwhere(hu > -500).mean(0)[::-1]
        assert np.linalg.norm(world_from_voxel[:3, :3] @ body + world_from_voxel[:3, 3]) < 15
        extent = COARSE * np.array(hu.shape[::-1])
        assert (np.abs(extent - [370, 235, 300]) < [45, 25, 4]).all()


# materials


def test_hounsfield_units_are_those_of_tissue(coarse):
    for hu, _ in coarse.values():
        assert hu.dtype == np.int16
        assert hu.min() == -1000
        assert 1000 < hu.max() < 2000  # compact bone, no metal
        share = {
            "fat": ((hu > -130) & (hu < -60)).sum(),
            "muscle": ((hu > 20) & (hu < 90)).sum(),
            "gas": ((hu > -1000) & (hu < -850)).sum(),
        }
        body = (hu > -500).sum()
        assert 0.15 < share["fat"] / body < 0.5
        assert 0.3 < share["muscle"] / body < 0.7
        assert share["gas"] > 0


def test_an_implant_adds_metal_to_the_same_patient(coarse):
    hu, _ = pelvis_hu(0, COARSE, implant=True)
    metal = hu > 3000
    assert 50e3 < metal.sum() * COARSE**3 < 200e3  # [mm3]
    sides = np.argwhere(metal)[:, 2] > hu.shape[2] / 2
    assert sides.all() or not sides.any()
    away = slice(0, hu.shape[2] // 2) if sides.all() else slice(hu.shape[2] // 2, None)
    np.testing.assert_array_equal(hu[..., away], coarse[0][0][..., away])


def test_volume_has_the_materials():
    plain, with_metal = pelvis(0, COARSE), pelvis(0, COARSE, implant=True)
    assert plain.materials == ("soft", "bone")
    assert with_metal.materials == ("soft", "bone", "metal")
    assert plain.spacing == pytest.approx((COARSE,) * 3)
    assert plain.isocenter.abs().max() < 1e-9
    cell = COARSE**3 / 1e6  # [kg per g/cm3]
    assert 10 < plain.material("soft").sum() * cell < 25
    assert 0.5 < plain.material("bone").sum() * cell < 2.5
    assert with_metal.material("metal").max() == pytest.approx(4.56, abs=0.1)  # titanium


# anatomy


def test_left_and_right_are_alike_but_not_the_same(coarse):
    for seed, (hu, _) in coarse.items():
        right, left = (int((half > 350).sum()) for half in np.array_split(hu, [hu.shape[2] // 2], axis=2))
        assert abs(left / right - 1) < 0.12
        points = pelvis_landmarks(seed)
        mirrored = points["hip center left"] * [-1, 1, 1] - points["hip center right"]
        assert 0.1 < np.linalg.norm(mirrored) < 15


def test_femoral_head_lies_in_the_acetabulum(fine):
    """Upwards and inwards from the hip centre: the head's bone, its shell, the joint space, then the pelvis."""
    steps = np.arange(0, 36, 0.5)
    for side, sign in zip(SIDES, (1, -1), strict=True):
        for direction in ([0, 0, 1], [-sign * 0.5, 0, 1], [-sign * 0.4, 0.5, 1]):
            line = profile(fine, fine[2][f"hip center {side}"], direction, steps)
            head = line[steps < HEAD_RADIUS - 3]
            gap = line[(steps > HEAD_RADIUS - 1) & (steps < CAVITY_RADIUS + 1)].min()
            shell = line[(steps > HEAD_RADIUS - 4) & (steps < HEAD_RADIUS + 1)].max()
            socket = line[(steps > CAVITY_RADIUS) & (steps < CAVITY_RADIUS + 6)].max()
            assert head.mean() > 150
            assert shell > 400
            assert socket > 400
            assert gap < 350


def test_obturator_foramen_is_open_from_front_to_back(fine):
    hu, world_from_voxel, points = fine
    for side in SIDES:
        i, _, k = np.rint(np.linalg.solve(world_from_voxel, [*points[f"obturator foramen {side}"], 1.0]))[:3].astype(int)
        assert hu[k, :, i].max() < 300
        # and bounded by bone above, below, inside and outside
        bone = (hu > 350).any(1)
        assert all(edge.any() for edge in (bone[k:, i], bone[:k, i], bone[k, i:], bone[k, :i]))


def test_bones_are_where_the_landmarks_say(fine):
    points = fine[2]
    hu, world_from_voxel, _ = fine
    index = np.argwhere(hu > 300)[:, ::-1]
    bone = index @ world_from_voxel[:3, :3].T + world_from_voxel[:3, 3]
    for name, point in points.items():
        distance = np.linalg.norm(bone - point, axis=1).min()
        assert (distance > 8) == name.startswith("obturator"), f"{name}: bone at {distance:.1f} mm"


def test_labels_cover_the_bone_of_the_same_grid_left_and_right():
    hu, world_from_voxel = pelvis_hu(0, 5.0)
    labels, grid, values = pelvis_labels(0, 5.0)
    np.testing.assert_array_equal(grid, world_from_voxel)
    assert labels.shape == hu.shape
    assert (labels[hu > 400] > 0).mean() > 0.85  # of voxels at a surface the shell has a share
    assert hu[labels > 0].mean() > 150
    assert set(np.unique(labels)) == {0, *values.values()}
    for name, value in values.items():
        x = (np.argwhere(labels == value)[:, 2] * 5.0 + grid[0, 3]).mean()
        assert {"left": x > 20, "right": x < -20}.get(name.split()[0], abs(x) < 15), name


def test_pelvis_has_a_symphysis_and_a_canal(fine):
    """Soft tissue between the pubic bones, and down the middle of the sacral endplate's disc."""
    points = fine[2]
    left, right = points["pubic tubercle left"], points["pubic tubercle right"]
    line = np.array([at(fine, right + t * (left - right)) for t in np.linspace(0, 1, 60)])
    assert line[15:45].min() < 250
    disc = at(fine, points["sacral endplate"] + [0, -2.5, 5.0])
    assert disc < 150


def test_bone_has_a_shell_and_the_shaft_a_canal():
    hu, _ = pelvis_hu(0, 1.5)
    bottom = hu[3]
    half = bottom[:, : bottom.shape[1] // 2]
    shaft = half > 900
    assert shaft.sum() * 1.5**2 > 150  # [mm2] of compact bone
    y, x = np.rint(np.argwhere(shaft).mean(0)).astype(int)
    assert half[y, x] < 150


# shapes


def test_a_curve_between_two_points_is_a_capsule():
    field = Field([-20, -20, -20], [20, 20, 20])
    field.curve([(-8, 0, 0, 5), (8, 0, 0, 5)])
    x, y, z = field.coordinates()
    exact = np.sqrt(np.maximum(np.abs(x) - 8, 0) ** 2 + y**2 + z**2) - 5
    near = np.abs(exact) < 4
    np.testing.assert_allclose(field.distance[near], exact[near], atol=1e-3)


def test_a_flat_plate_has_its_thickness():
    field = Field([-30, -30, -30], [30, 30, 30])
    field.plate([[(-16, -16, 0, 3), (-16, 16, 0, 3)], [(16, -16, 0, 3), (16, 16, 0, 3)]])
    x, y, z = field.coordinates()
    over = np.broadcast_to((np.abs(x) < 14) & (np.abs(y) < 14) & (np.abs(z) < 8), field.distance.shape)
    np.testing.assert_allclose(field.distance[over], np.broadcast_to(np.abs(z) - 3, over.shape)[over], atol=1e-3)


def test_sampling_is_exact_for_linear_fields():
    axes = [np.arange(n, dtype=np.float32) * 2 for n in (4, 5, 6)]
    values = 1 + 2 * axes[0][None, None, :] - 3 * axes[1][None, :, None] + 0.5 * axes[2][:, None, None]
    wanted = [np.array([0.3, 5.9]), np.array([1.0, 7.7]), np.array([0.0, 9.1])]
    expected = 1 + 2 * wanted[0][None, None, :] - 3 * wanted[1][None, :, None] + 0.5 * wanted[2][:, None, None]
    np.testing.assert_allclose(sample(values.astype(np.float32), axes, wanted), expected, rtol=1e-5)
