"""Whatever is in a file, reading it gives a valid object or an XrcoreError, quietly and without taking the memory its header claims."""

from __future__ import annotations

import gzip
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xrcore._util.errors import XrcoreError
from xrcore.ct import Volume, read_ct
from xrcore.geometry import CArm, Pose
from xrcore.xray import Xray, read_carm, read_xray, write_carm, write_xray

CARM = CArm(source_to_detector=1200, source_to_isocenter=700, shape=(12, 10), pixel_spacing=1.5)


def _ct_slice(path: Path, k: int) -> None:
    """One slice of a series, made from an X-ray object: only the tags a CT needs differ."""
    write_xray(path, np.random.default_rng(k).uniform(-1000, 1000, (8, 8)), CArm(**{**CARM.__dict__, "shape": (8, 8)}))
    data = pydicom.dcmread(path)
    data.Modality, data.SeriesInstanceUID, data.PixelSpacing = "CT", "1.2.3", [2, 2]
    data.ImagePositionPatient, data.ImageOrientationPatient = [0, 0, 3 * k], [1, 0, 0, 0, 1, 0]
    data.save_as(path)


@pytest.fixture(scope="module")
def samples(tmp_path_factory) -> dict[str, tuple[Path, bytes, Callable[[Path], object]]]:
    """Per format a path to write damaged bytes to, a valid file's bytes, and how to read it."""
    folder = tmp_path_factory.mktemp("fuzz")
    ct = sitk.GetImageFromArray(np.random.default_rng(0).integers(-1000, 1500, (5, 6, 7)).astype(np.int16))
    ct.SetSpacing((2, 2.5, 3))
    ct.SetDirection((0, -1, 0, 1, 0, 0, 0, 0, 1))
    found: dict[str, tuple[Path, Callable[[Path], object]]] = {}
    for name in ("a.nii", "a.nii.gz", "a.nrrd", "zipped.nrrd", "a.mha", "zipped.mha"):
        sitk.WriteImage(ct, str(folder / name), name.startswith("zipped"))
        found[name] = folder / name, lambda p: read_ct(p, 3.0)
    (folder / "series").mkdir()
    for k in range(3):
        _ct_slice(folder / "series" / f"{k}.dcm", k)
    found["series"] = folder / "series" / "1.dcm", lambda p: read_ct(p.parent, 3.0)
    image = torch.from_numpy(np.random.default_rng(1).random(CARM.shape))
    mask = torch.ones(CARM.shape, dtype=torch.bool)
    mask[:3] = False
    write_xray(folder / "x.dcm", Xray(image=image, carm=CARM, mask=mask, pose=Pose(rx=3.0, ry=20.0)))
    found["x.dcm"] = folder / "x.dcm", read_xray
    for name in ("x.png", "x.tif"):
        write_xray(folder / name, image)
        found[name] = folder / name, lambda p: read_xray(p, CARM)
    write_carm(folder / "carm.yaml", CARM)
    found["carm.yaml"] = folder / "carm.yaml", read_carm
    return {name: (path, path.read_bytes(), read) for name, (path, read) in found.items()}


FORMATS = ["a.nii", "a.nii.gz", "a.nrrd", "zipped.nrrd", "a.mha", "zipped.mha", "series", "x.dcm", "x.png", "x.tif", "carm.yaml"]

place = st.floats(0, 1, exclude_max=True)
# half of the places in the header, where damage does most
place = place | place.map(lambda f: f**4)
edit = st.one_of(
    st.tuples(st.just("flip"), place, st.integers(0, 7)),
    st.tuples(st.just("set"), place, st.sampled_from([0, 1, 127, 128, 255]) | st.integers(0, 255)),
    st.tuples(
        st.just("insert"),
        place,
        st.binary(min_size=1, max_size=8) | st.sampled_from([b"9999", b"-1", b"1e99", b"nan", b"\n", b"[", b"&a *a"]),
    ),
    st.tuples(st.just("delete"), place, st.integers(1, 12)),
    st.tuples(st.just("cut"), place, st.just(0)),
)


def damaged(data: bytes, edits) -> bytes:
    result = bytearray(data)
    for kind, where, what in edits:
        at = int(where * len(result))
        if kind == "cut":
            del result[at:]
        elif kind == "insert":
            result[at:at] = what
        elif kind == "delete":
            del result[at : at + what]
        elif result:
            result[at] = result[at] ^ (1 << what) if kind == "flip" else what
    return bytes(result)


def read_or_refuse(path: Path, read: Callable[[Path], object]) -> None:
    result: object
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = read(path)
    except XrcoreError as error:
        result = str(error)
    if isinstance(result, str):
        assert "\n" not in result
        assert 0 < len(result) < 1000
    elif isinstance(result, Volume):
        assert torch.isfinite(result.density).all()
        assert (result.density >= 0).all()
        assert result.density.numel() < 1e8
    elif isinstance(result, Xray):
        assert torch.isfinite(result.image[result.mask]).all()
    else:
        assert isinstance(result, CArm)


@pytest.mark.parametrize("name", FORMATS)
def test_samples_are_valid(samples, name):
    path, data, read = samples[name]
    path.write_bytes(data)
    assert isinstance(read(path), (Volume, Xray, CArm))


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=180, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(edits=st.lists(edit, min_size=1, max_size=4))
def test_damaged_files(samples, name, edits):
    path, data, read = samples[name]
    path.write_bytes(damaged(data, edits))
    read_or_refuse(path, read)


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(garbage=st.binary(max_size=600), keep=st.sampled_from([0, 4, 132, 352]))
def test_garbage(samples, name, garbage, keep):
    path, data, read = samples[name]
    path.write_bytes(data[:keep] + garbage)
    read_or_refuse(path, read)


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(edits=st.lists(edit, min_size=1, max_size=3))
def test_damage_under_intact_compression(samples, edits):
    path, data, read = samples["a.nii.gz"]
    path.write_bytes(gzip.compress(damaged(gzip.decompress(data), edits), compresslevel=1))
    read_or_refuse(path, read)


@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    content=st.dictionaries(
        st.sampled_from(["source_to_detector", "source_to_isocenter", "shape", "pixel_spacing", "principal_point", "K", "mask", "invert"])
        | st.text(max_size=5),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
            lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
            max_leaves=8,
        ),
        max_size=8,
    )
)
def test_any_yaml_value_for_any_key(samples, content):
    import yaml

    path, _, read = samples["carm.yaml"]
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    read_or_refuse(path, read)


def test_nothing_is_printed(samples, capfd):
    for name, (path, data, read) in samples.items():
        for share in (0.3, 0.6, 0.9, 0.99):
            path.write_bytes(data[: int(share * len(data))])
            read_or_refuse(path, read)
        path.write_bytes(data)
        printed = capfd.readouterr()
        assert (name, printed.out, printed.err) == (name, "", "")
