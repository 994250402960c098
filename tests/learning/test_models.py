"""Trained models: what they accept and refuse, and that their files survive damage, exchange and full disks."""

from __future__ import annotations

import errno
import functools
import hashlib
import json
import math
import os
import pickle
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load, save, save_file
from torch import Tensor
from torch.testing import assert_close

from xrcore import phantom
from xrcore._util.errors import XrcoreError
from xrcore.ct.volume import Volume
from xrcore.geometry import CArm, Pose
from xrcore.learning.methods import method_named
from xrcore.learning.methods.normalisation import normalise
from xrcore.learning.models import PoseRegressor
from xrcore.learning.models.identity import CtIdentity
from xrcore.learning.models.resampling import check_geometry, resample_xray
from xrcore.learning.models.tensors import read_json, read_tensors, remove_pair, write_pair
from xrcore.learning.training import profile
from xrcore.learning.training.stream import DrrStream
from xrcore.renderer import render
from xrcore.xray import Xray

CARM = CArm(source_to_detector=1259.65, source_to_isocenter=742.5, shape=(256, 256), pixel_spacing=1.6875)
SETTINGS = profile("smoke").changed(pixels=64, bottleneck=16, hidden=32, tokens=16)


@functools.cache
def patient(seed: int = 0, spacing: float = 8.0) -> Volume:
    return phantom.pelvis(seed, spacing)


def untrained(settings=SETTINGS, seed: int = 0, **training) -> PoseRegressor:
    torch.manual_seed(seed)
    network = method_named(settings.method)(settings).network()
    return PoseRegressor(network, settings, CARM, CtIdentity.of(patient()), training)


def xray(shape: tuple[int, int] = (256, 256), pose: Pose | None = None) -> Xray:
    carm = CARM.resized(shape)
    return Xray(image=render(patient(), carm, Pose(rx=5, ty=10) if pose is None else pose)[0], carm=carm)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    untrained(spread=[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).save(tmp_path / "model")
    return tmp_path / "model"


# what a network sees


def test_standardised_inside_the_mask():
    image = 3 + 2 * torch.rand(2, 16, 20, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(2, 16, 20, dtype=torch.bool)
    mask[0, 2:12, 3:18], mask[1, :, 5:9] = True, True
    seen = normalise(image, mask, "standard")
    assert seen.shape == (2, 1, 16, 20)
    for i in range(2):
        inside = seen[i, 0][mask[i]]
        assert float(inside.mean()) == pytest.approx(0, abs=1e-5)
        assert float(inside.var(correction=0)) == pytest.approx(1, abs=1e-4)
        assert not seen[i, 0][~mask[i]].any()
    # neither gain, offset nor what lies outside the mask counts
    assert_close(normalise(torch.where(mask, 40 * image - 100, 1e6), mask, "standard"), seen, rtol=1e-3, atol=1e-4)


def test_standardised_is_clipped_and_bears_flat_and_empty_images():
    image = torch.zeros(1, 30, 30)
    image[0, 3, 3] = 1e3
    everywhere = torch.ones(1, 30, 30, dtype=torch.bool)
    assert float(normalise(image, everywhere, "standard").max()) == 5.0
    for normalisation in ("standard", "min-max", "rank"):
        assert torch.isfinite(normalise(torch.full((1, 8, 8), 2.0), everywhere[:, :8, :8], normalisation)).all()
    assert not normalise(image, ~everywhere, "standard").any()


def test_min_max_is_the_papers_bone_dark():
    image = torch.linspace(2, 6, 48).reshape(1, 6, 8)
    mask = torch.ones(1, 6, 8, dtype=torch.bool)
    mask[0, 0] = False
    seen = normalise(image, mask, "min-max")[0, 0]
    assert float(seen[1, 0]) == pytest.approx(1.0)  # the least attenuation
    assert float(seen[-1, -1]) == pytest.approx(0.0)
    assert (seen[1:].flatten().diff() < 0).all()
    assert not seen[0].any()
    assert_close(normalise(5 * image + 3, mask, "min-max")[0, 0], seen)


def test_ranks_do_not_depend_on_the_curve():
    generator = torch.Generator().manual_seed(1)
    image, mask = torch.randn(2, 32, 32, generator=generator), torch.rand(2, 32, 32, generator=generator) < 0.7
    image[1, :10] = image[1].min()  # saturated
    seen = normalise(image, mask, "rank")[:, 0]
    assert float(seen[0][mask[0]].mean()) == pytest.approx(0, abs=0.1)
    assert float(seen[0][mask[0]].std()) == pytest.approx(1, abs=0.1)
    assert not seen[~mask].any()
    assert_close(normalise(torch.where(mask, image.exp(), 1e6), mask, "rank")[:, 0], seen)
    assert_close(normalise(-image, mask, "rank")[:, 0], -seen)
    assert not normalise(image, torch.zeros_like(mask), "rank").any()


def test_an_xray_of_more_pixels_is_averaged():
    fine = xray()
    image, mask = resample_xray(fine, CARM.resized((128, 128)))
    assert image.shape == mask.shape == (1, 128, 128)
    assert mask.all()
    assert_close(image[0], F.avg_pool2d(fine.image[None], 2)[0], rtol=1e-5, atol=1e-5)
    # of a detector that 64 does not divide too, to a pixel's share
    odd, _ = resample_xray(xray((200, 230)), CARM.resized((64, 64)))
    whole, _ = resample_xray(fine, CARM.resized((64, 64)))
    assert float((odd - whole).abs().mean()) < 0.02 * float(whole.max())


def test_an_xray_of_fewer_pixels_is_interpolated():
    image, mask = resample_xray(xray((48, 48)), CARM.resized((64, 64)))
    assert image.shape == (1, 64, 64)
    assert mask.all()
    assert float((image - resample_xray(xray(), CARM.resized((64, 64)))[0]).abs().mean()) < 0.05 * float(image.max())


def test_masked_pixels_do_not_count():
    fine = xray()
    mask = torch.ones(256, 256, dtype=torch.bool)
    mask[:, ::2] = False  # half of each pixel
    mask[:64] = False
    broken = torch.where(mask, fine.image, torch.nan)
    image, seen = resample_xray(replace(fine, image=broken, mask=mask), CARM.resized((128, 128)))
    assert_close(image[0, 32:], F.avg_pool2d(fine.image[None, :, 1::2], (2, 1))[0, 32:], rtol=1e-5, atol=1e-5)
    assert not seen[0, :32].any()
    assert seen[0, 32:].all()


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"source_to_detector": 1270.0}, "source_to_detector is 1270 mm, the model was trained for 1259.65 mm"),
        ({"source_to_isocenter": 730.0}, "source_to_isocenter"),
        ({"shape": (250, 256)}, "detector height"),
        ({"shape": (256, 270), "principal_point": (127.5, 127.5)}, "detector width"),
        ({"pixel_spacing": 1.5}, "detector height"),
        ({"principal_point": (127.5, 130.0)}, "principal_point"),
        ({"principal_point": (120.0, 127.5)}, "principal_point"),
    ],
)
def test_other_geometries_are_refused_by_name(changes, word):
    other = replace(CARM, **changes)
    with pytest.raises(XrcoreError, match=word):
        check_geometry(other, CARM)
    with pytest.raises(XrcoreError, match=word):
        untrained().check(carm=other)
    image = torch.rand(other.shape)
    with pytest.raises(XrcoreError, match=word):
        untrained().predict(Xray(image=image, carm=other))


@pytest.mark.parametrize("shape", [(256, 256), (128, 128), (1024, 1024), (100, 300)])
def test_the_same_detector_in_other_pixels_is_accepted(shape):
    off_centre = replace(CARM, principal_point=(100.0, 140.0))
    check_geometry(off_centre.resized(shape), off_centre)


# which CT


@pytest.mark.parametrize("spacing", [4.0, 6.0])
def test_the_same_ct_at_another_spacing_is_the_same(spacing):
    model = untrained()
    model.check(volume=patient(0, spacing))
    model.check(volume=patient(0, 4.0).coarser(spacing), carm=CARM.resized((90, 90)))


def shifted(volume: Volume, by: Tensor) -> Volume:
    matrix = volume.world_from_voxel.clone()
    matrix[:3, 3] += by
    return Volume(density=volume.density, materials=volume.materials, world_from_voxel=matrix)


def test_other_cts_are_refused():
    here = patient()
    others = {
        "extent": replace(here, density=F.pad(here.density, (0, 0, 0, 0, 0, 3))),
        "isocenter": shifted(here, torch.tensor([0.0, 0.0, 3.0])),
        "mass": replace(here, density=here.density.flip(-1).roll(3, 1)),
    }
    for word, volume in others.items():
        with pytest.raises(XrcoreError, match=f"not the CT that the model was trained for: its {word} is"):
            untrained().check(volume=volume)
    with pytest.raises(XrcoreError, match="not the CT"):
        untrained().check(volume=patient(1))
    with pytest.raises(XrcoreError, match="its isocenter is"):
        untrained().check(volume=replace(here, isocenter=here.isocenter + torch.tensor([5.0, 0.0, 0.0])))
    untrained().check(volume=shifted(here, torch.tensor([0.0, 1.0, 0.0])))


def test_another_patient_of_the_same_size_is_told_by_its_mass():
    # the other's mass in this one's frame
    other = F.interpolate(patient(1).density[None], size=patient().shape, mode="trilinear")[0]
    with pytest.raises(XrcoreError, match=r"its mass is spread otherwise|its centre of mass"):
        untrained().check(volume=replace(patient(), density=other))
    for axis in (1, 2, 3):
        with pytest.raises(XrcoreError, match=r"its mass is spread otherwise|its centre of mass"):
            untrained().check(volume=replace(patient(), density=patient().density.flip(axis)))


def test_other_materials_are_named():
    with pytest.raises(XrcoreError, match="it holds soft, metal, the model's CT soft, bone"):
        untrained().check(volume=replace(patient(), materials=("soft", "metal")))


def test_a_ct_changed_in_place_is_another():
    volume = replace(patient(), density=patient().density.clone())
    untrained().check(volume=volume)
    volume.density.copy_(volume.density.flip(1))
    with pytest.raises(XrcoreError, match="not the CT"):
        untrained().check(volume=volume)


def test_identity_goes_through_json():
    identity = CtIdentity.of(patient())
    assert CtIdentity.from_dict(json.loads(json.dumps(identity.to_dict()))) == identity
    assert identity.differs(identity) is None
    moved = replace(identity, isocenter=(1e3, 0.0, 0.0))
    assert "its isocenter is (1000, 0, 0) mm" in str(identity.differs(moved))


# saving and loading


@pytest.mark.parametrize("method", ["psss", "salehi"])
def test_an_xray_is_predicted_from_what_the_training_saw(method):
    # a C-arm of other pixels than the network's
    settings = SETTINGS.changed(acquired=False, method=method)
    model = untrained(settings)
    batch = DrrStream(patient(), CARM, settings).batch([(0, 0)])
    numbers, _ = model.predict_batch(batch.images, batch.masks)
    seen = Xray(image=batch.images[0], carm=CARM.resized((64, 64)))
    assert_close(model.predict(seen).numbers, numbers, rtol=1e-4, atol=1e-4)
    whole = xray(pose=Pose(batch.numbers.double()))
    assert whole.carm == CARM
    image, _ = resample_xray(whole, CARM.resized((64, 64)))
    assert_close(model.predict(whole).numbers, model.predict_batch(image, torch.ones_like(image, dtype=torch.bool))[0])


@pytest.mark.parametrize("method", ["psss", "salehi"])
def test_a_model_comes_back_as_it_was(tmp_path, method):
    model = untrained(SETTINGS.changed(method=method), images=128, spread=[1.0] * 6)
    model.save(tmp_path / "full", half=False)
    model.save(tmp_path / "half")
    full, half = PoseRegressor.load(tmp_path / "full"), PoseRegressor.load(tmp_path / "half")
    for name, value in model.network.state_dict().items():
        assert torch.equal(full.network.state_dict()[name], value)
    assert (full.settings, full.carm, full.ct, full.training) == (model.settings, model.carm, model.ct, model.training)
    assert full.spread == (1.0,) * 6
    pose = model.predict(xray())
    assert full.predict(xray()) == pose
    assert half.predict(xray()) != pose
    assert_close(half.predict(xray()).numbers, pose.numbers, rtol=1e-2, atol=0.05)
    sizes = [next((tmp_path / name).glob("*.safetensors")).stat().st_size for name in ("half", "full")]
    assert sizes[0] < 0.55 * sizes[1]
    assert "images seen" in repr(full)


def test_loading_leaves_torchs_generator_alone(saved):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    PoseRegressor.load(saved)
    assert torch.equal(torch.rand(3), expected)


def test_weights_too_large_for_half_precision_stay_whole(tmp_path):
    model = untrained()
    model.network.encoder.stem_norm.running_var[3] = 1e6
    model.save(tmp_path)
    loaded = PoseRegressor.load(tmp_path)
    assert float(loaded.network.encoder.stem_norm.running_var[3]) == 1e6


def test_prediction_and_where_the_network_looks():
    model = untrained()
    pose, looked = model.predict(xray((128, 128)), attention=True)
    # the fused attention and the one that shows its weights round differently
    assert_close(pose.numbers, model.predict(xray((128, 128))).numbers, rtol=1e-4, atol=1e-4)
    assert len(pose) == 1
    assert looked.shape == (8, 8)
    assert float(looked.sum()) == pytest.approx(1, abs=1e-5)
    assert (looked >= 0).all()
    with pytest.raises(XrcoreError, match="no attention"):
        untrained(SETTINGS.changed(attention=False)).predict(xray(), attention=True)


def test_a_broken_network_gives_no_pose():
    model = untrained()
    model.network.head[0].bias.data[:] = math.nan
    with pytest.raises(XrcoreError, match="the network gave NaN"):
        model.predict(xray())


_WIDEST = {"pixels": 2048, "bottleneck": 4096, "hidden": 4096, "decoder": 4096}


@pytest.mark.parametrize(
    ("method", "changes", "match"),
    [
        ("psss", {"pixels": 10**9}, "pixels must be a multiple of 8, 32 to 2048"),
        ("salehi", {"hidden": 10**15}, "hidden must be a whole number, 1 to 4096"),
        ("psss", _WIDEST, "a network of .* parameters"),
        ("grimm", _WIDEST, "a network of .* parameters"),
    ],
)
def test_descriptions_of_absurd_networks_are_refused_before_memory_is_taken(saved, method, changes, match):
    """Each would take at least 30 GB."""
    edit(saved, lambda record: record["settings"].update(method=method))
    edit(saved, lambda record: record["settings"]["architecture"].update(changes))
    refused(saved, match)


def test_a_device_that_is_not_there_is_refused(saved):
    with pytest.raises(XrcoreError, match="device cuda:99: not available here"):
        PoseRegressor.load(saved, device="cuda:99")
    with pytest.raises(XrcoreError, match="device 'warp': not one of auto, cpu, cuda"):
        PoseRegressor.load(saved, device="warp")


def tensors_of(folder: Path) -> Path:
    (path,) = folder.glob("model-*.safetensors")
    return path


def edit(folder: Path, change) -> None:
    path = folder / "model.json"
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


def exchange(folder: Path, content: bytes) -> None:
    """Other tensors, with the hash that belongs to them."""
    tensors_of(folder).write_bytes(content)
    edit(folder, lambda record: record["tensors"].update(sha256=hashlib.sha256(content).hexdigest()))


def refused(folder: Path, match: str) -> None:
    with pytest.raises(XrcoreError, match=match) as caught:
        PoseRegressor.load(folder)
    assert "\n" not in str(caught.value)


def test_missing_files_are_named(saved, tmp_path):
    refused(tmp_path / "nowhere", r"nowhere/model\.json: not found")
    (tmp_path / "file").write_text("")
    refused(tmp_path / "file", "not found; a model is a folder")
    tensors = tensors_of(saved)
    tensors.unlink()
    refused(saved, f"{tensors.name}: no such file")
    (saved / "model.json").unlink()
    refused(saved, "not found; a model is a folder that `xrcore train` wrote")
    (saved / "model.json").mkdir()
    refused(saved, "not a file")


def test_damaged_tensors_are_refused(saved):
    path = tensors_of(saved)
    whole = path.read_bytes()
    for broken in (whole[:-100], whole[:50], b"", whole[:1000] + bytes([whole[1000] ^ 1]) + whole[1001:]):
        path.write_bytes(broken)
        refused(saved, "its sha256 is not the one written beside it")
    exchange(saved, whole[:-100])
    refused(saved, "not a safetensors file")
    exchange(saved, whole)
    PoseRegressor.load(saved)


def test_no_pickle_is_ever_loaded(saved, tmp_path):
    trace = tmp_path / "ran"

    class Trap:
        def __reduce__(self):
            return (Path.write_text, (trace, "code from the file was run"))

    exchange(saved, pickle.dumps(Trap()))
    refused(saved, "not a safetensors file")
    torch.save({"weights": Trap()}, tmp_path / "pickled.pt")
    exchange(saved, (tmp_path / "pickled.pt").read_bytes())
    refused(saved, "not a safetensors file")
    assert not trace.exists()


def test_tensors_that_do_not_fit_are_named(saved):
    path = tensors_of(saved)
    good = load(path.read_bytes())
    with safe_open(path, "pt") as file:
        described = file.metadata()
    name = "head.0.weight"

    def without() -> dict[str, Tensor]:
        return {k: v for k, v in good.items() if k != name}

    for tensors, match in (
        (without(), f"lacks the tensor '{name}'"),
        (good | {"surplus": torch.zeros(1)}, "holds an unknown tensor 'surplus'"),
        (good | {name: good[name][:, :-1].contiguous()}, rf"tensor '{name}' has shape \(32, 15\), the network needs \(32, 16\)"),
        (good | {name: torch.full_like(good[name], math.nan)}, f"tensor '{name}' holds NaN"),
        (good | {name: torch.full_like(good[name], math.inf)}, f"tensor '{name}' holds NaN or infinite"),
        (good | {name: good[name].int()}, f"tensor '{name}' has the wrong type"),
        ({}, "lacks the tensor"),
    ):
        exchange(saved, save(tensors, described))
        refused(saved, match)


def test_tensors_outside_the_folder_are_refused(saved, tmp_path):
    outside = tmp_path / "x.safetensors"
    shutil.copy(tensors_of(saved), outside)
    (saved / "sub").mkdir()
    shutil.copy(outside, saved / "sub" / "x.safetensors")
    for name in ("../x.safetensors", str(outside), "sub/x.safetensors", "./sub/../../x.safetensors", "..", "."):
        edit(saved, lambda record, name=name: record["tensors"].update(file=name))
        refused(saved, "outside the folder|not a file|cannot be read")
    edit(saved, lambda record: record["tensors"].update(file="x\0y"))
    refused(saved, "cannot be opened")


@pytest.mark.parametrize("key", ["settings", "carm", "ct", "training", "versions", "tensors"])
def test_a_description_without_a_part_is_refused(saved, key):
    edit(saved, lambda record: record.pop(key))
    refused(saved, f"lacks '{key}'; the file is damaged")


def set_to(*path_and_value: Any):
    *path, value = path_and_value

    def change(record: dict[str, Any]) -> None:
        for name in path[:-1]:
            record = record[name]
        record[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (set_to("format", "xrcore-model/9"), "format 'xrcore-model/9' is unknown"),
        (lambda r: r.pop("format"), "format None is unknown"),
        (set_to("extra", 1), "holds an unknown 'extra'"),
        (set_to("settings", "colour", "red"), "no field 'colour'"),
        (set_to("settings", "architecture", "depth", 3), "no field 'depth'"),
        (set_to("settings", "architecture", "pixels", 100), "pixels"),
        (set_to("settings", "architecture", "pixels", 64.0), "pixels"),
        (set_to("settings", "architecture", "pixels", 96), "was changed after it was written"),
        (set_to("settings", "architecture", "hidden", 10**12), "hidden must be a whole number"),
        (set_to("settings", "architecture", "attention", False), "was changed after it was written"),
        (set_to("settings", "architecture", [1]), "damaged"),
        (set_to("settings", []), "damaged"),
        (set_to("settings", "method", "resnet"), "method"),
        (set_to("settings", "method", "salehi"), "was changed after it was written"),
        (set_to("settings", "rotation", [1.0, 2.0]), "rotation"),
        (set_to("settings", "rotation", None), "rotation"),
        (set_to("settings", "seed", -1), "seed"),
        (set_to("carm", []), "damaged"),
        (set_to("carm", "tilt", 3), "damaged"),
        (set_to("carm", "shape", [256]), "shape"),
        (set_to("carm", "source_to_detector", -1), "source_to_detector"),
        (set_to("ct", {}), "the description of the CT is broken"),
        (set_to("ct", "mass", [0.1]), "wrong lengths"),
        (set_to("ct", "mass", ["a"] * 512), "broken"),
        (set_to("ct", "isocenter", [1e999, 0, 0]), "not valid JSON"),
        (set_to("training", None), "damaged"),
        (set_to("training", "spread", [1, 2]), "damaged"),
        (set_to("training", "spread", "wide"), "damaged"),
        (set_to("training", "spread", [1, 2, 3, 4, 5, -6]), "damaged"),
        (set_to("tensors", None), "names no tensors"),
        (set_to("tensors", "file", 3), "names no tensors"),
        (set_to("tensors", "sha256", "0" * 64), "sha256"),
    ],
)
def test_damaged_descriptions_are_refused(saved, change, match):
    edit(saved, change)
    refused(saved, match)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "NaN", '"model"', "[" * 100_000, "\x00\x01"])
def test_files_that_are_no_description_are_refused(saved, text):
    (saved / "model.json").write_text(text)
    refused(saved, "not valid JSON|not a model's description")


def test_infinite_numbers_of_the_ct_are_refused(saved):
    # JSON has no infinity, but 1e999 would read as one, and no CT differs from it
    path = saved / "model.json"
    value = json.loads(path.read_text())["ct"]["mass"][0]
    path.write_text(path.read_text().replace(f"{value}", "1e999", 1))
    refused(saved, "not valid JSON .the number '1e999' is too large")
    with pytest.raises(XrcoreError, match="not finite"):
        CtIdentity.from_dict(CtIdentity.of(patient()).to_dict() | {"isocenter": (math.inf, 0.0, 0.0)})


def test_descriptions_too_large_and_not_text_are_refused(saved):
    (saved / "model.json").write_bytes(b"\xff\xfe\x00")
    refused(saved, "not valid JSON")
    (saved / "model.json").write_bytes(b" " * 10_000_001)
    refused(saved, "too large")


# files that appear whole or not at all


def pair(value: float) -> tuple[dict[str, Tensor], dict[str, Any]]:
    return {"a": torch.full((2000,), value)}, {"format": "thing/1", "value": value}


def read_pair(folder: Path) -> float:
    record = read_json(folder / "thing.json", "thing/1")
    tensors = read_tensors(folder, record)
    assert float(tensors["a"][0]) == record["value"]
    return record["value"]


def test_a_pair_replaces_the_one_before_and_nothing_else(tmp_path):
    mine = ("thing-old.safetensors", "thing-0123456789ab.json", "things.json", "notes.txt")
    for name in mine:
        (tmp_path / name).write_text("mine")
    for value in (1.0, 2.0, 2.0, 3.0):
        write_pair(tmp_path, "thing", *pair(value))
        assert read_pair(tmp_path) == value
        assert len(list(tmp_path.iterdir())) == len(mine) + 2
    remove_pair(tmp_path, "thing")
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(mine)


def full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("calls_before", [0, 1])
@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_full_disk_leaves_the_pair_before(tmp_path, monkeypatch, function, calls_before):
    write_pair(tmp_path, "thing", *pair(1.0))
    before = sorted(p.name for p in tmp_path.iterdir())
    working, calls = getattr(os, function), []

    def failing(*arguments: Any) -> Any:
        calls.append(arguments)
        return working(*arguments) if len(calls) <= calls_before else full_disk()

    monkeypatch.setattr(os, function, failing)
    for value in (2.0, 1.0):  # the same tensors again too: they are the old pair's
        calls.clear()
        with pytest.raises(XrcoreError, match="No space left"):
            write_pair(tmp_path, "thing", *pair(value))
        assert read_pair(tmp_path) == 1.0
        assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_what_a_kill_left_is_cleared_away(tmp_path):
    write_pair(tmp_path, "thing", *pair(1.0))
    left = (".thing-0123456789ab.safetensors.part", ".thing.json.part", "thing-0123456789ab.safetensors")
    for name in left:
        (tmp_path / name).write_bytes(b"half")
    assert read_pair(tmp_path) == 1.0
    write_pair(tmp_path, "thing", *pair(2.0))
    assert read_pair(tmp_path) == 2.0
    assert len(list(tmp_path.iterdir())) == 2


@pytest.fixture
def tiny_disk(tmp_path):
    """A file system of 100 kB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", folder], capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system is not permitted here")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_disk_that_is_really_full(tiny_disk):
    write_pair(tiny_disk, "thing", *pair(1.0))
    with pytest.raises(XrcoreError, match="No space left"):
        write_pair(tiny_disk, "thing", {"a": torch.zeros(50_000)}, {"value": 0.0})
    assert read_pair(tiny_disk) == 1.0
    with pytest.raises(XrcoreError, match=r"cannot be written .No space left") as caught:
        untrained().save(tiny_disk)
    assert "\n" not in str(caught.value)
    assert read_pair(tiny_disk) == 1.0
    assert len(list(tiny_disk.iterdir())) == 2


def test_what_is_not_finite_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_pair(tmp_path, "thing", {"a": torch.zeros(1)}, {"value": math.nan})
    assert list(tmp_path.iterdir()) == []


def test_a_model_is_not_written_over_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(XrcoreError, match="this is a file, not a folder"):
        untrained().save(tmp_path / "file")


def test_safetensors_of_the_library_read_what_was_written(saved, tmp_path):
    # so that others can read the weights, and write them
    weights = load(tensors_of(saved).read_bytes())
    assert {v.dtype for v in weights.values()} == {torch.float16, torch.int64}
    with safe_open(tensors_of(saved), "pt") as file:
        save_file(weights, tmp_path / "again.safetensors", file.metadata())
    exchange(saved, (tmp_path / "again.safetensors").read_bytes())
    PoseRegressor.load(saved)


def test_a_digit_changed_in_the_description_is_noticed(saved):
    edit(saved, lambda record: record["settings"]["translation"].__setitem__(0, 31.0))
    refused(saved, "the description was changed after it was written")
