"""The files of a registration belong together, and what was mixed is refused."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch

import xrcore as xr
from xrcore._util.hashes import file_sha256
from xrcore.registration.registration_files import FILES, read_pose, write_registration

CARM = xr.CArm(source_to_detector=1259.65, source_to_isocenter=742.5, shape=(64, 64), pixel_spacing=6.75)


@pytest.fixture(scope="module")
def volume() -> xr.Volume:
    return xr.phantom.pelvis(seed=3, spacing=8.0)


@pytest.fixture(scope="module")
def results(volume, tmp_path_factory) -> tuple[Path, Path]:
    """Two folders with a registration each."""
    folders = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("other")
    for folder, pose in zip(folders, (xr.Pose(ry=-5, tx=6), xr.Pose(rx=4)), strict=True):
        xray = xr.Xray(image=xr.render(volume, CARM, pose)[0], carm=CARM)
        write_registration(folder, xr.register(xray, volume), volume)
    return folders


@pytest.fixture
def copied(results, tmp_path) -> Path:
    return Path(shutil.copytree(results[0], tmp_path / "result"))


def test_the_record_names_the_hashes_of_the_files_beside_it(results):
    for folder in results:
        record = json.loads((folder / "registration.json").read_text())
        assert record["files"] == {name: file_sha256(folder / name) for name in FILES[1:]}


def test_a_record_reads_beside_its_own_files_or_alone(copied, volume):
    path = copied / "registration.json"
    pose = read_pose(str(path), CARM, volume.isocenter)
    for name in FILES[1:]:
        (copied / name).unlink()
        assert torch.equal(read_pose(str(path), CARM, volume.isocenter).numbers, pose.numbers)


@pytest.mark.parametrize("name", FILES[1:])
def test_files_of_another_registration_are_refused(results, copied, volume, name):
    shutil.copy(results[1] / name, copied / name)
    with pytest.raises(xr.XrcoreError, match=f"{name}: not the file that was written with registration.json"):
        read_pose(str(copied / "registration.json"), CARM, volume.isocenter)


@pytest.mark.parametrize("files", [[], {"overlay.png": 1}, {"../other": "0" * 64}, {"/etc/passwd": "0" * 64}, "overlay.png"])
def test_a_damaged_list_of_files_is_refused(copied, volume, files):
    path = copied / "registration.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"files": files}))
    with pytest.raises(xr.XrcoreError, match="files must name camera_from_ct"):
        read_pose(str(path), CARM, volume.isocenter)


def same(one: xr.Registration, other: xr.Registration) -> bool:
    """Whether all values agree but for the DRR, tensors to the last bit; of the X-rays, those inside their masks."""
    plain = [f.name for f in fields(one) if f.name not in ("pose", "initial", "history", "covariance", "views", "isocenter", "drr")]
    numbers = [[r.pose.numbers, r.initial.numbers, r.isocenter, *(step.pose.numbers for step in r.history)] for r in (one, other)]
    covariances = [torch.zeros(0) if r.covariance is None else r.covariance for r in (one, other)]
    return (
        all(getattr(one, name) == getattr(other, name) for name in plain)
        and all(map(torch.equal, *numbers))
        and torch.equal(*covariances)
        and all(v.carm == w.carm and torch.equal(v.camera_from_rig, w.camera_from_rig) for v, w in zip(one.views, other.views, strict=True))
        and all(torch.equal(v.xray.mask, w.xray.mask) for v, w in zip(one.views, other.views, strict=True))
        and all(torch.equal(v.xray.image[v.xray.mask], w.xray.image[v.xray.mask]) for v, w in zip(one.views, other.views, strict=True))
    )


@pytest.fixture(scope="module")
def masked(volume) -> xr.Registration:
    """Of an X-ray with a mask, one step from a start; with nothing left at what it is where nobody says anything."""
    image = xr.render(volume, CARM, xr.Pose(ry=-5, tx=6))[0]
    mask = torch.ones(CARM.shape, dtype=torch.bool)
    mask[:9] = False
    said = {
        "inverted": True,
        "attempts": 3,
        "confidence": 0.25,
        "reasons": ("blurred", "small"),
        "notes": ("a", "b"),
        "stages": {"search": 0.5},
    }
    return replace(xr.refine(xr.Xray(image=image, mask=mask, carm=CARM), volume, xr.Pose(ry=-4)), **said)


def test_a_saved_result_loads_as_it_was(masked, tmp_path, volume):
    masked.save(tmp_path / "a", volume)
    loaded = xr.Registration.load(tmp_path / "a")
    assert same(loaded, masked)
    loaded.save(tmp_path / "b")  # without the volume
    assert same(xr.Registration.load(tmp_path / "b"), masked)
    assert torch.equal(read_pose(str(tmp_path / "b" / "registration.json"), CARM, volume.isocenter).numbers, masked.pose.numbers)


def test_what_is_not_finite_comes_back(masked, tmp_path):
    unseen = torch.diag(torch.tensor([1.0, 1, 1, 1, 1, torch.inf], dtype=torch.float64))
    evidence = xr.Evidence(agreement=0.9, displacement=0.1, likeness=0.9, blocks=60.0, deviation=math.inf, view=2)
    blind = replace(masked, covariance=unseen, evidence=evidence)
    blind.save(tmp_path / "blind")
    assert same(xr.Registration.load(tmp_path / "blind"), blind)
    bare = replace(masked, covariance=None)
    bare.save(tmp_path / "bare")
    assert same(xr.Registration.load(tmp_path / "bare"), bare)


def test_several_views_load_with_their_places_in_the_rig(masked, tmp_path):
    turned = torch.tensor([[0.0, 0, -1, 0], [0, 1, 0, 0], [1, 0, 0, 1000], [0, 0, 0, 1]], dtype=torch.float64)
    (first,) = masked.views
    both = replace(masked, views=(first, xr.View(xray=first.xray.negative(), camera_from_rig=turned)))
    both.save(tmp_path / "both")
    loaded = xr.Registration.load(tmp_path / "both")
    assert same(loaded, both)
    assert torch.equal(loaded.poses()[1].numbers, both.poses()[1].numbers)
    (tmp_path / "both" / "overlay_two.png").write_bytes(b"mine")
    masked.save(tmp_path / "both")  # of one view: the second one's files are of another registration
    assert {path.name for path in (tmp_path / "both").iterdir()} == {*FILES, "overlay_two.png"}


def test_a_result_whose_image_has_a_graph_is_saved(masked, tmp_path):
    (view,) = masked.views
    made = replace(view.xray, image=view.xray.image.clone().requires_grad_() * 1)
    replace(masked, views=(replace(view, xray=made),)).save(tmp_path / "graph")
    assert same(xr.Registration.load(tmp_path / "graph"), masked)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ({"views": None}, "names no X-rays"),
        ({"files": {}}, None),  # nothing to compare with
        ({"stop_reason": "tired"}, "damaged .*tired"),
        ({"history": [{"level": 0}]}, "damaged"),
        ({"evidence": {"agreement": 1.0}}, "damaged"),
        ({"covariance": [[1.0]]}, "damaged"),
        ({"isocenter": "far"}, "damaged"),
        ({"pose": {"rx": 0}}, "damaged"),
        ({"seconds": None}, "damaged"),
        ({"isocenter": [0.0, 0.0]}, "damaged"),
        ({"isocenter": [50.0, 0.0, 0.0]}, "do not give the camera_from_world of view 1"),
        ({"pose": dict.fromkeys(("rx", "ry", "rz", "tx", "ty", "tz"), 3.0)}, "do not give the camera_from_world of view 1"),
        ({"confidence": 7}, "damaged .*confidence"),
        ({"stages": []}, "damaged"),
    ],
)
def test_a_damaged_record_is_refused_in_one_line(copied, damage, said):
    path = copied / "registration.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | damage))
    if said is None:
        assert xr.Registration.load(copied).trusted
        return
    with pytest.raises(xr.XrcoreError, match=said) as refused:
        xr.Registration.load(copied)
    assert "\n" not in str(refused.value)


def test_a_missing_or_exchanged_xray_is_refused(copied, masked, tmp_path):
    masked.save(tmp_path / "other")
    shutil.copy(tmp_path / "other" / "registered_xray.tif", copied)
    with pytest.raises(xr.XrcoreError, match=r"registered_xray\.tif: not the file that was written with"):
        xr.Registration.load(copied)
    (copied / "registered_xray.tif").unlink()
    with pytest.raises(xr.XrcoreError, match=r"registered_xray\.tif: (?!.*damaged)"):
        xr.Registration.load(copied)


def test_what_is_no_path_is_refused():
    for load in (xr.Registration.load, xr.Track.load):
        with pytest.raises(xr.XrcoreError, match="path must be a path"):
            load(None)  # type: ignore[arg-type]
