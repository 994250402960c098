"""The benchmark runs, its files are whole, and its peers project what we project."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import pytest
import torch
from harness import case, peer_nanodrr, peer_rtk, run
from harness.run import ABSENT
from harness.timing import interleaved
from torch.testing import assert_close

from xrcore._util import machine
from xrcore._util.errors import XrcoreError
from xrcore.ct import Volume
from xrcore.geometry import CArm, Pose
from xrcore.renderer import reference

CARM = CArm(source_to_detector=1259.65, source_to_isocenter=742.5, shape=(30, 36), pixel_spacing=(12.0, 11.0), principal_point=(12.0, 20.0))
POSES = [Pose(), Pose(ry=90), Pose(rx=8, ry=-20, rz=30, tx=10, ty=-20, tz=30)]


@pytest.fixture(scope="module")
def volume() -> Volume:
    """The phantom, turned, with one axis reversed."""
    phantom = case.one_material(case.body(8.0))
    matrix = Pose(rx=20, ry=-15, rz=40).matrix()[0] @ phantom.world_from_voxel
    flipped = matrix.clone()
    flipped[:3, 3] += matrix[:3, 1] * (phantom.shape[1] - 1)
    flipped[:3, 1] *= -1
    return replace(phantom, density=phantom.density.flip(2), world_from_voxel=flipped)


def test_quick_run_measures_and_writes(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(peer_rtk, "installed", lambda: None)
    monkeypatch.setattr(peer_nanodrr, "installed", lambda: None)
    results = run(peers=True, quick=True, out=tmp_path / "bench")
    printed = capsys.readouterr().out
    assert printed.count(ABSENT) == 3
    assert "| image and Jacobian |" in printed
    rows = results["rows"]
    assert all(row["median_ms"] > 0 for row in rows.values() if "median_ms" in row)
    whole = rows["registration from the zero pose"]
    assert whole["trusted"]
    assert whole["mtre_mm"] < 5
    assert rows["peak memory of a registration"]["peak_mb"] > rows["peak memory of a registration"]["imports_mb"] > 50
    assert sorted(p.name for p in (tmp_path / "bench").iterdir()) == ["scaling.png", "speed.csv", "speed.json"]
    assert json.loads((tmp_path / "bench" / "speed.json").read_text()) == results
    with (tmp_path / "bench" / "speed.csv").open() as file:
        table = list(csv.DictReader(file))
    assert {row["varied"] for row in table} == {"", "pixels", "voxels", "threads", "batch"}
    assert all(float(row["min_ms"]) <= float(row["median_ms"]) <= float(row["max_ms"]) for row in table)
    assert (tmp_path / "bench" / "scaling.png").read_bytes().startswith(b"\x89PNG")


def test_a_folder_that_cannot_be_written_is_found_out_first(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(XrcoreError, match="file"):
        run(quick=True, out=tmp_path / "file")


def test_repeats_are_interleaved():
    calls = []
    timings = interleaved({name: lambda name=name: calls.append(name) for name in "abc"}, 3)
    # a warm-up, and three rounds in which what takes no time is done five times
    assert "".join(calls) == "abc" + 3 * ("a" * 5 + "b" * 5 + "c" * 5)
    assert [len(t.seconds) for t in timings.values()] == [15, 15, 15]
    interleaved({"d": lambda: calls.append("d")}, 1, warm=False)
    assert calls[48:] == ["d"] * 5


def test_resampled_keeps_box_isocentre_and_mass():
    body = case.body(8.0)
    cube = case.resampled(body, 64)
    assert cube.shape == (64, 64, 64)
    assert cube.extent == pytest.approx(body.extent)
    assert_close(cube.isocenter, body.isocenter)
    corner = torch.tensor([-0.5, -0.5, -0.5, 1.0], dtype=torch.float64)
    assert_close(cube.world_from_voxel @ corner, body.world_from_voxel @ corner)
    mass = [float(v.density.sum()) * abs(float(torch.linalg.det(v.world_from_voxel[:3, :3]))) for v in (body, cube)]
    assert mass[1] == pytest.approx(mass[0], rel=0.01)


def test_machine_is_described():
    described = machine.describe_machine()
    assert described["cores"] >= 1
    assert described["packages"]["torch"] in machine.machine_text(described)
    assert "too long" in machine.machine_text(described | {"load": 100.0})
    assert "too long" not in machine.machine_text(described | {"load": 0.0})


@pytest.mark.skipif(not peer_rtk.installed(), reason="itk-rtk is not installed")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("pose", POSES)
def test_rtk_projects_what_the_reference_projects(volume, pose):
    ours = reference.area_density(volume, CARM, pose)[0, ..., 0]
    project = peer_rtk.projector(volume, CARM, pose, pad=2)
    theirs = torch.from_numpy(project().copy())
    assert theirs.max() > 10
    assert torch.linalg.norm(theirs - ours) < 1e-5 * torch.linalg.norm(ours)
    assert torch.equal(torch.from_numpy(project().copy()), theirs)  # a second run does not add to the first


@pytest.mark.skipif(not peer_nanodrr.installed(), reason="nanodrr is not installed")
def test_nanodrr_projects_nearly_what_the_reference_projects(volume):
    # it samples every few millimetres along the ray: another integrator, so a few parts in a thousand on 8 mm voxels
    pose = Pose.cat(POSES)
    ours = reference.area_density(volume, CARM, pose)[..., 0]
    theirs = peer_nanodrr.projector(volume, CARM)(pose)
    assert torch.linalg.norm(theirs - ours) < 0.01 * torch.linalg.norm(ours)
