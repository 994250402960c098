"""Meshes at the command line: an implant registered in two views, and a screw drawn into a CT."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image
from support.ct_files import write_pelvis

import xrcore as xr
from xrcore.xray import write_xray

CARM = xr.CArm(source_to_detector=1260, source_to_isocenter=742.5, shape=(256, 256), pixel_spacing=1.6875)
POSES = (xr.Pose(rx=4, ry=-6, rz=3, tx=12, ty=-9, tz=6), xr.Pose(rx=2, ry=70, rz=1, tx=-3, ty=5, tz=-8))


@pytest.fixture(scope="module")
def implant(tmp_path_factory):
    """A plate with a stem to one side, small in two X-rays of soft tissue that it lacks."""
    folder = tmp_path_factory.mktemp("implant")
    plate = trimesh.creation.box(extents=(60, 12, 40))
    stem = trimesh.creation.cylinder(radius=7, height=55)
    stem.apply_translation((14, 3, -35))
    lug = trimesh.creation.box(extents=(14, 26, 14))
    lug.apply_translation((-20, 12, 10))
    trimesh.util.concatenate([plate, stem, lug]).export(folder / "implant.stl")
    volume = xr.read_mesh(folder / "implant.stl", "cobalt-chrome", 1.0)
    draw = np.random.default_rng(0)
    cols = np.indices(CARM.shape)[1]
    for number, pose in enumerate(POSES, 1):
        tissue = 2 + np.cos(cols / 60 + number) + 0.02 * draw.normal(size=CARM.shape)
        image = xr.render(volume, CARM, pose)[0] + torch.from_numpy(tissue.astype(np.float32))
        write_xray(folder / f"x{number}.dcm", image, CARM, pose)
    return folder


def test_an_implant_is_found_in_two_views(run, implant, tmp_path):
    words = ("register", implant / "implant.stl", implant / "x1.dcm", implant / "x2.dcm", "--rig", "angles")
    done = run(*words, "--material", "cobalt-chrome", "--spacing", "1", "--initial", "1,-3,1,8,-6,2", "--out", tmp_path / "out")
    assert done.code == 0, done.out
    record = json.loads((tmp_path / "out" / "registration.json").read_text())
    off = np.abs(np.array(list(record["pose"].values())) - POSES[0].numbers[0].numpy())
    assert off[:3].max() < 0.5
    assert off[3:].max() < 0.5
    assert record["options"]["material"] == "cobalt-chrome"


def test_a_mesh_takes_no_mesh_into_it(run, implant, tmp_path):
    for command in ("render", "simulate"):
        done = run(command, implant / "implant.stl", "--mesh", implant / "implant.stl", "--out", tmp_path / "x.png")
        assert done.code == 2
        assert "--mesh is for a CT" in done.err
    assert not list(tmp_path.iterdir())


def test_a_screw_is_drawn_into_a_ct(run, tmp_path, small_ct):
    rod = trimesh.creation.cylinder(radius=6, height=80)
    rod.export(tmp_path / "screw.stl")
    pictures = []
    for name, more in (("without", ()), ("with", ("--mesh", tmp_path / "screw.stl", "--material", "steel"))):
        done = run("render", small_ct, "--spacing", "4", *more, "--out", tmp_path / f"{name}.tif")
        assert done.code == 0, done.err
        pictures.append(np.asarray(Image.open(tmp_path / f"{name}.tif")))
    difference = pictures[1] - pictures[0]
    assert difference.max() > 1
    assert (difference > 0.3).mean() < 0.1


@pytest.mark.parametrize(
    ("more", "said"),
    [(("--labels", "x.nii.gz"), "is for a CT"), (("--body",), "--body is for a CT"), (("--material", "gold"), "material must be one of")],
)
def test_options_that_do_not_fit_are_refused(run, implant, tmp_path, more, said):
    (tmp_path / "x.nii.gz").write_bytes(b"not looked into")
    more = [tmp_path / word if word == "x.nii.gz" else word for word in more]
    done = run("render", implant / "implant.stl", *more, "--out", tmp_path / "out.png")
    assert done.code == 2
    assert said in done.err


def test_a_ct_has_no_material(run, small_ct, tmp_path):
    done = run("render", small_ct, "--material", "steel", "--out", tmp_path / "out.png")
    assert done.code == 2
    assert "--material is for a mesh" in done.err


@pytest.fixture(scope="module")
def small_ct(tmp_path_factory):
    return write_pelvis(tmp_path_factory.mktemp("ct") / "ct.nii.gz", 0, 8.0)
