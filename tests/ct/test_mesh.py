"""Meshes: what lies inside, whatever the file, holes, orientation or handedness; and bodies placed into a CT."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import trimesh
from torch.testing import assert_close

import xrcore as xr
from xrcore.beam import MATERIALS
from xrcore.ct.mesh import DENSITIES
from xrcore.ct.voxelise import coverage


def ball(radius: float = 20.0, middle: tuple[float, float, float] = (3.0, -7.0, 11.0)) -> trimesh.Trimesh:
    made = trimesh.creation.icosphere(4, radius=radius)
    made.apply_translation(middle)
    return made


def mass(volume: xr.Volume, name: str | None = None) -> float:
    """[g]"""
    density = volume.density.sum(0) if name is None else volume.material(name)
    return float(density.double().sum() * np.prod(volume.spacing) / 1000)


def middle(volume: xr.Volume) -> torch.Tensor:
    """Centre of mass in the world."""
    weight = volume.density.sum(0).double()
    z, y, x = torch.meshgrid(*[torch.arange(n, dtype=torch.float64) for n in volume.shape], indexing="ij")
    index = torch.stack([(weight * part).sum() / weight.sum() for part in (x, y, z)] + [torch.tensor(1.0, dtype=torch.float64)])
    return (volume.world_from_voxel @ index)[:3]


@pytest.mark.parametrize("suffix", ["stl", "ply", "obj"])
@pytest.mark.parametrize("spacing", [0.7, 2.0])
def test_a_ball_has_its_mass_at_its_place(tmp_path, suffix, spacing):
    ball().export(tmp_path / f"ball.{suffix}")
    volume = xr.read_mesh(tmp_path / f"ball.{suffix}", "steel", spacing)
    assert volume.materials == ("steel",)
    assert mass(volume) == pytest.approx(8.0 * ball().volume / 1000, rel=2e-3)
    assert_close(middle(volume), torch.tensor([3.0, -7.0, 11.0], dtype=torch.float64), atol=0.02, rtol=0)
    assert_close(volume.isocenter, torch.tensor([3.0, -7.0, 11.0], dtype=torch.float64), atol=1e-4, rtol=0)
    assert volume.notes == ()
    assert 0 <= float(volume.density.min()) <= float(volume.density.max()) <= 8.0


def test_voxels_of_a_box_hold_the_share_inside(tmp_path):
    box = trimesh.creation.box(extents=(4.0, 3.0, 2.5))
    inside = coverage(box.triangles + np.array([4.0, 4.0, 4.0]), (9, 9, 9))
    shares = [
        np.clip(np.minimum(np.arange(9) + 0.5, 4 + size / 2) - np.maximum(np.arange(9) - 0.5, 4 - size / 2), 0, 1) for size in (4, 3, 2.5)
    ]
    wanted = shares[2][:, None, None] * shares[1][:, None] * shares[0]
    # lines lie a quarter of a voxel apart: exact along one axis, to an eighth across
    assert np.abs(inside - wanted).max() < 0.15
    assert inside.sum() == pytest.approx(30.0, rel=0.06)


def test_bodies_that_overlap_count_once(tmp_path):
    both = trimesh.util.concatenate([ball(), ball(middle=(13.0, -7.0, 11.0))])
    both.export(tmp_path / "two.stl")
    lens = 2 * np.pi / 3 * (20 - 5) ** 2 * (2 * 20 + 5)  # two caps of height 15
    wanted = 2 * 4 / 3 * np.pi * 20**3 - lens
    assert mass(xr.read_mesh(tmp_path / "two.stl", "water", 1.0)) == pytest.approx(wanted / 1000, rel=0.01)


def test_a_hole_is_filled_across_and_told(tmp_path, caplog):
    whole = ball()
    trimesh.Trimesh(whole.vertices, np.delete(whole.faces, [5, 6, 40], axis=0), process=False).export(tmp_path / "hole.stl")
    volume = xr.read_mesh(tmp_path / "hole.stl", "water", 1.0)
    assert mass(volume) == pytest.approx(ball().volume / 1000, rel=0.01)
    assert "not closed" in volume.notes[0]
    assert volume.notes[0].startswith(str(tmp_path / "hole.stl"))
    assert caplog.messages == list(volume.notes)
    noted = replace(xr.read_mesh(tmp_path / "hole.stl", "water", 4.0), notes=("of the CT",))
    caplog.clear()
    assert xr.place_mesh(noted, tmp_path / "hole.stl", "water").notes == ("of the CT", *caplog.messages)
    assert "not closed" in caplog.messages[0]


def test_normals_may_point_inwards_and_axes_be_ras(tmp_path):
    turned = ball()
    turned.invert()
    turned.export(tmp_path / "in.stl")
    volume = xr.read_mesh(tmp_path / "in.stl", spacing=1.0, frame="ras")
    assert mass(volume) == pytest.approx(4.43 * ball().volume / 1000, rel=2e-3)
    assert_close(middle(volume), torch.tensor([-3.0, 7.0, 11.0], dtype=torch.float64), atol=0.02, rtol=0)


def test_a_hole_far_from_the_origin_turns_nothing_inside_out(tmp_path):
    holed = ball(middle=(0.0, 0.0, 0.0))
    holed.update_faces(holed.triangles_center[:, 2] < 18)
    for z in (-600.0, 600.0):
        holed.copy().apply_translation((0.0, 0.0, z)).export(tmp_path / "hole.stl")
        assert mass(xr.read_mesh(tmp_path / "hole.stl", "water", 2.0)) == pytest.approx(ball().volume / 1000, rel=0.03)


def test_triangles_and_bodies_that_are_inside_out_are_turned_and_told_of(tmp_path):
    def volume_of(faces_of: trimesh.Trimesh) -> xr.Volume:
        faces_of.export(tmp_path / "turned.ply")
        return xr.read_mesh(tmp_path / "turned.ply", "water", 2.0)

    faces = ball().faces.copy()
    some = np.random.default_rng(0).random(len(faces)) < 0.3
    faces[some] = faces[some, ::-1]
    mixed = volume_of(trimesh.Trimesh(ball().vertices, faces, process=False))
    assert mass(mixed) == pytest.approx(ball().volume / 1000, rel=0.01)
    assert f"{some.sum()} of {len(faces)}" in mixed.notes[0]

    other = ball(middle=(60.0, 0.0, 0.0))
    other.invert()
    two = volume_of(trimesh.util.concatenate([ball(), other]))
    assert mass(two) == pytest.approx(2 * ball().volume / 1000, rel=0.01)
    assert f"{len(faces)} of {2 * len(faces)}" in two.notes[0]

    cavity = ball(radius=10.0)
    cavity.invert()
    hollow = trimesh.util.concatenate([ball(), cavity])
    for each in (hollow, trimesh.Trimesh(hollow.vertices, hollow.faces[:, ::-1])):
        shell = volume_of(each)
        assert mass(shell) == pytest.approx(7 / 8 * ball().volume / 1000, rel=0.01)
        assert shell.notes == ()


def test_every_material_of_a_mesh_is_one_that_a_beam_knows():
    assert set(DENSITIES) <= set(MATERIALS)


def test_a_file_in_metres_is_remarked_on(tmp_path):
    small = ball()
    small.apply_scale(0.001)
    small.export(tmp_path / "small.stl")
    assert "is its unit another than mm" in xr.read_mesh(tmp_path / "small.stl", spacing=0.001).notes[-1]


BAD = {
    "text": (b"hello", "bad.stl", "bad.stl"),
    "empty": (b"", "bad.ply", "bad.ply"),
    "cut off": (
        b"ply\nformat binary_little_endian 1.0\nelement vertex 900\nproperty float x\nend_header\nabc",
        "bad.ply",
        "not a PLY file",
    ),
    "another suffix": (b"solid\n", "bad.vtk", r"expected \.stl"),
    "not finite": (b"v nan 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nf 1 2 3\nf 1 2 4\nf 1 3 4\nf 2 3 4\n", "bad.obj", "bad.obj"),
    "a sheet": (b"v 0 0 0\nv 9 0 0\nv 0 9 0\nv 9 9 1\nv 5 5 5\nf 1 2 3\nf 2 3 4\nf 1 2 5\nf 2 4 5\n", "bad.obj", "open"),
}


@pytest.mark.parametrize(("content", "name", "said"), BAD.values(), ids=BAD)
def test_what_is_no_closed_surface_is_refused_in_one_line(tmp_path, content, name, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(xr.XrcoreError, match=said) as caught:
        xr.read_mesh(tmp_path / name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("changes", [{"material": "gold"}, {"spacing": 0}, {"density": -1}, {"frame": "xyz"}])
def test_parameters_that_make_no_sense_are_refused(tmp_path, changes):
    ball().export(tmp_path / "ball.stl")
    with pytest.raises(xr.XrcoreError, match=next(iter(changes))):
        xr.read_mesh(tmp_path / "ball.stl", **changes)


def test_too_many_voxels_are_refused(tmp_path):
    ball(radius=400.0).export(tmp_path / "ball.stl")
    with pytest.raises(xr.XrcoreError, match="too many voxels"):
        xr.read_mesh(tmp_path / "ball.stl", spacing=0.2)


@pytest.mark.parametrize("flipped", [False, True])
def test_a_mesh_in_a_ct_takes_the_place_of_what_was_there(tmp_path, flipped):
    ball(radius=15.0, middle=(5.0, 2.0, -4.0)).export(tmp_path / "ball.stl")
    ct = xr.Volume(density=torch.ones(1, 60, 60, 60), materials=("soft",), world_from_voxel=torch.eye(4) - torch.diag(torch.zeros(4)))
    matrix = torch.diag(torch.tensor([1.0, -1.0 if flipped else 1.0, 1.0, 1.0], dtype=torch.float64))
    matrix[:3, 3] = torch.tensor([-30.0, 30.0 if flipped else -30.0, -30.0])
    ct = replace(ct, world_from_voxel=matrix, isocenter=None)
    placed = xr.place_mesh(ct, tmp_path / "ball.stl", "cobalt-chrome")
    size = ball(radius=15.0).volume / 1000
    assert placed.materials == ("soft", "cobalt-chrome")
    assert mass(placed, "cobalt-chrome") == pytest.approx(8.3 * size, rel=0.01)
    assert mass(placed, "soft") == pytest.approx(60**3 / 1000 - size, rel=0.001)
    assert_close(
        middle(replace(placed, density=placed.density[1:], materials=("cobalt-chrome",))),
        torch.tensor([5.0, 2.0, -4.0], dtype=torch.float64),
        atol=0.05,
        rtol=0,
    )
    moved = torch.eye(4, dtype=torch.float64)
    moved[0, 3] = 8.0
    again = xr.place_mesh(ct, tmp_path / "ball.stl", "cobalt-chrome", world_from_mesh=moved)
    assert_close(
        middle(replace(again, density=again.density[1:], materials=("cobalt-chrome",)))[0],
        torch.tensor(13.0, dtype=torch.float64),
        atol=0.05,
        rtol=0,
    )


@pytest.mark.parametrize("matrix", [torch.diag(torch.tensor([3.0, 1, 1, 1])), torch.eye(3), "here"])
def test_a_mesh_is_placed_by_a_rigid_transform_alone(tmp_path, matrix):
    ball().export(tmp_path / "ball.stl")
    with pytest.raises(xr.XrcoreError, match="place_mesh: world_from_mesh must be a rigid 4x4 matrix"):
        xr.place_mesh(xr.phantom.pelvis(0, 8.0), tmp_path / "ball.stl", world_from_mesh=matrix)


def test_a_mesh_outside_the_ct_is_refused(tmp_path):
    ball(middle=(900.0, 0.0, 0.0)).export(tmp_path / "ball.stl")
    with pytest.raises(xr.XrcoreError, match="lies outside the CT"):
        xr.place_mesh(xr.phantom.pelvis(0, 8.0), tmp_path / "ball.stl")
