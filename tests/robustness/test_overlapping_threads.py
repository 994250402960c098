"""Threads that read files and register at the same time find what each finds alone, and leave the process as it was."""

from __future__ import annotations

import os
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import SimpleITK as sitk
import torch
from support.ct_files import write_pelvis

import xrcore as xr

CARM = xr.CArm(source_to_detector=1259.65, source_to_isocenter=742.5, shape=(48, 48), pixel_spacing=9.0)
POSES = [xr.Pose(ry=-5, tx=6), xr.Pose(rx=4), xr.Pose(rz=3, ty=-8)]


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CT, and an X-ray a pose."""
    folder = tmp_path_factory.mktemp("case")
    write_pelvis(folder / "ct.nrrd", 3, 8.0)
    volume = xr.phantom.pelvis(3, 8.0)
    for number, pose in enumerate(POSES):
        xr.write_xray(folder / f"{number}.dcm", xr.render(volume, CARM, pose)[0], CARM)
    return folder


def registered(case: Path, number: int) -> torch.Tensor:
    xray, volume = xr.read_xray(case / f"{number}.dcm"), xr.read_ct(case / "ct.nrrd", spacing=8.0)
    return xr.register(xray, volume, search=xr.SearchBox(candidates=2), retries=0).pose.numbers


def state() -> tuple[object, ...]:
    return os.fstat(2).st_ino, list(warnings.filters), torch.get_num_threads(), sitk.ProcessObject.GetGlobalWarningDisplay()


def test_threads_find_what_each_finds_alone(case, capfd):
    before = state()
    alone = [registered(case, number) for number in range(len(POSES))]
    together = threading.Barrier(len(POSES))

    def work(number: int) -> torch.Tensor:
        together.wait(60)
        return registered(case, number)

    with ThreadPoolExecutor(len(POSES)) as pool:
        found = list(pool.map(work, range(len(POSES))))
    assert all(torch.equal(one, other) for one, other in zip(alone, found, strict=True))
    assert state() == before
    with pytest.warns(UserWarning, match="still heard"):
        warnings.warn("still heard", UserWarning, stacklevel=1)
    os.write(2, b"still shown")
    assert capfd.readouterr().err == "still shown"


def test_one_broken_file_does_not_disturb_the_others(case, tmp_path):
    before, alone = state(), registered(case, 0)
    broken = tmp_path / "broken.dcm"
    broken.write_bytes((case / "0.dcm").read_bytes()[:2000])

    def fail(_: int) -> str:
        with pytest.raises(xr.XrcoreError) as caught:
            xr.read_xray(broken)
        return str(caught.value)

    with ThreadPoolExecutor(4) as pool:
        refused, found = [pool.submit(fail, n) for n in range(3)], pool.submit(registered, case, 0)
        assert len({future.result() for future in refused}) == 1
        assert torch.equal(found.result(), alone)
    assert state() == before
