"""CArmScene: surfaces, and where source and detector stand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from support.small_pelvis import CARM, OBLONG, POSE, size, volume

import xrcore as xr
from xrcore import CArm, Pose

pytest.importorskip("k3d", reason="the scene needs the extra 'notebooks'")

from xrcore.widgets import CArmScene, PoseState
from xrcore.widgets.scene import surface


def flipped(volume: xr.Volume) -> xr.Volume:
    """The same body on a grid that counts x and z the other way and is off the origin."""
    far = torch.tensor([*volume.density.shape[:0:-1]], dtype=torch.float64) - 1
    turn = torch.diag(torch.tensor([-1.0, 1.0, -1.0, 1.0], dtype=torch.float64))
    turn[0, 3], turn[2, 3] = far[0], far[2]
    return replace(volume, density=volume.density.flip(1, 3).contiguous(), world_from_voxel=volume.world_from_voxel @ turn)


def ball(at: tuple[float, float, float], radius: float) -> xr.Volume:
    """LPS [mm]; on voxels of different sizes."""
    matrix = torch.diag(torch.tensor([3.0, 4.0, 5.0, 1.0], dtype=torch.float64))
    matrix[:3, 3] = torch.tensor([-70.0, -90.0, -60.0])
    z, y, x = torch.meshgrid(torch.arange(36.0), torch.arange(45.0), torch.arange(60.0), indexing="ij")
    world = torch.stack([x * 3 - 70, y * 4 - 90, z * 5 - 60], -1)
    distance = (world - torch.tensor(at)).norm(dim=-1)
    return xr.Volume(density=((radius - distance) / 4 + 0.5).clamp(0, 1)[None], materials=("bone",), world_from_voxel=matrix)


@pytest.mark.parametrize("turn", [lambda volume: volume, flipped], ids=["straight", "flipped"])
def test_a_surface_lies_where_the_patient_is(turn: Callable[[xr.Volume], xr.Volume]):
    center = (20.0, -15.0, 33.0)
    thing = turn(ball(center, 25.0))
    vertices, triangles = surface(thing.density[0], thing)
    radii = np.linalg.norm(vertices - np.array(center), axis=1)
    assert len(vertices) > 100
    assert np.abs(radii - 25.0).max() < 1.5  # a fraction of a voxel
    assert triangles.max() < len(vertices)


def test_a_flipped_grid_makes_the_same_surface():
    straight, other = (surface(v.density.sum(0), v)[0] for v in (volume(), flipped(volume())))
    assert len(straight) == len(other)
    assert np.abs(np.sort(straight, 0) - np.sort(other, 0)).max() < 0.05


def inside_out(thing: xr.Volume) -> bool:
    vertices, triangles = surface(thing.density[0], thing)
    a, b, c = (vertices[triangles[:, i].astype(int)].astype(float) for i in range(3))
    return float((np.cross(b - a, c - a) * (a - vertices.mean(0))).sum()) < 0


def test_triangles_face_outwards_on_any_grid():
    thing = ball((20.0, -15.0, 33.0), 25.0)
    mirrored = replace(thing, density=thing.density.flip(3).contiguous(), world_from_voxel=_mirrored(thing))
    assert inside_out(thing) == inside_out(mirrored)


def _mirrored(volume: xr.Volume) -> Any:
    turn = torch.diag(torch.tensor([-1.0, 1.0, 1.0, 1.0], dtype=torch.float64))
    turn[0, 3] = volume.density.shape[3] - 1
    return volume.world_from_voxel @ turn


def test_nothing_has_no_surface():
    thing = volume()
    assert surface(torch.zeros(thing.shape), thing) is None
    CArmScene(replace(thing, density=torch.zeros_like(thing.density)), CARM).close()


def scene_things(scene: CArmScene) -> dict[str, Any]:
    return {thing.name: thing for thing in scene.plot.objects}


@pytest.mark.parametrize("carm", [CARM, OBLONG], ids=["centred", "oblong"])
def test_the_detector_stands_where_its_pixels_are(carm: CArm):
    scene = CArmScene(volume(), carm)
    detector = scene_things(scene)["detector"]
    corners = torch.from_numpy(np.array(detector.vertices, dtype=np.float64))
    rows, cols = carm.shape
    # outer corners, upper left first and clockwise, as the image is shown
    outer = torch.tensor([(-0.5, -0.5), (-0.5, cols - 0.5), (rows - 0.5, cols - 0.5), (rows - 0.5, -0.5)], dtype=torch.float64)
    torch.testing.assert_close(carm.project(corners), outer, atol=1e-4, rtol=0)
    torch.testing.assert_close(corners[:, 2], torch.full((4,), carm.source_to_detector, dtype=torch.float64))
    # and the picture the right way up: k3d counts its v down the picture, as seen in a browser
    assert np.array(detector.uvs).tolist() == [[0, 0], [1, 0], [1, 1], [0, 1]]
    scene.close()


def test_all_that_moves_moves_with_the_camera(state: PoseState):
    scene = CArmScene(state=state)
    patient = {name: thing for name, thing in scene_things(scene).items() if name not in ("detector", "source", "beam")}
    rest = {name: np.array(thing.model_matrix) for name, thing in patient.items() if hasattr(thing, "model_matrix")}
    texture = scene_things(scene)["detector"].texture
    for pose in (Pose.zero(), POSE):
        state.pose = pose
        scene.throttle.drawn = scene.throttle.requested  # the page has drawn
        wanted = pose.world_from_camera(CARM, volume().isocenter)[0].numpy()
        for name in ("detector", "source", "beam"):
            np.testing.assert_allclose(np.array(scene_things(scene)[name].model_matrix), wanted, atol=1e-4)
    assert scene_things(scene)["detector"].texture != texture
    assert size(scene_things(scene)["detector"].texture)
    for name, matrix in rest.items():
        assert np.array_equal(np.array(patient[name].model_matrix), matrix)
    scene.close()


def test_a_new_patient_and_a_new_carm_replace_the_old(state: PoseState):
    scene = CArmScene(state=state)
    names = sorted(f"{thing.name} {thing.type}" for thing in scene.plot.objects)
    bone = np.array(scene_things(scene)["bone"].vertices)
    state.volume = volume(5)
    state.carm = OBLONG
    assert sorted(f"{thing.name} {thing.type}" for thing in scene.plot.objects) == names
    assert not np.array_equal(np.array(scene_things(scene)["bone"].vertices), bone)
    scene.close()
    before = len(scene.plot.objects)
    matrix = np.array(scene_things(scene)["source"].model_matrix)
    state.volume, state.pose = volume(), POSE
    assert len(scene.plot.objects) == before
    assert np.array_equal(np.array(scene_things(scene)["source"].model_matrix), matrix)


def test_a_closed_scene_draws_no_more(state: PoseState):

    async def main() -> bool:
        scene = CArmScene(state=state)
        state.set(ry=5.0)
        state.set(ry=10.0)  # due, once the page has drawn the one before
        scene.throttle.drawn = scene.throttle.requested
        matrix = np.array(scene_things(scene)["source"].model_matrix)
        scene.close()
        await asyncio.sleep(0.05)
        return np.array_equal(np.array(scene_things(scene)["source"].model_matrix), matrix)

    assert asyncio.run(main())
