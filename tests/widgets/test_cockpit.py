"""RegistrationCockpit: from an X-ray to a saved result."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
import torch
from scipy.ndimage import binary_erosion
from support.small_pelvis import CARM, PATIENTS, POSE, drr, size, volume

from xrcore import Pose, project_labels, read_ct, read_xray, write_xray
from xrcore.ct.label_maps import read_label_map
from xrcore.registration.similarities import SIMILARITIES
from xrcore.widgets import RegistrationCockpit


@pytest.fixture
def cockpit() -> Iterator[RegistrationCockpit]:
    cockpit = RegistrationCockpit(volume(), carm=CARM, patients=PATIENTS)
    cockpit.session.pace = 1e-3
    yield cockpit
    cockpit.close()


def test_from_a_simulated_xray_to_a_saved_result(cockpit: RegistrationCockpit, tmp_path: Path):
    assert cockpit.register_button.disabled
    assert cockpit.save_button.disabled
    cockpit.inputs.seed.value = 5
    cockpit.inputs.simulate.click()
    session = cockpit.session
    assert session.truth == Pose.random(generator=torch.Generator().manual_seed(5))
    assert not cockpit.register_button.disabled
    busy = []
    session.observe(
        lambda _: busy.append((cockpit.register_button.disabled, cockpit.stop_button.disabled, cockpit.sliders.sliders["rx"].disabled)),
        "history",
    )
    before = cockpit.curve.value
    cockpit.register_button.click()
    assert session.result is not None
    assert (True, False, True) in busy
    assert cockpit.stop_button.disabled
    assert not cockpit.register_button.disabled
    assert "trusted" in cockpit.outcome.value
    assert cockpit.curve.value != before
    assert size(cockpit.curve.value)
    assert "std. dev." in cockpit.table.value
    cockpit.folder.value = str(tmp_path / "out")
    cockpit.save_button.click()
    assert (tmp_path / "out" / "registration.json").is_file()
    assert "registration.json" in cockpit.note.value
    cockpit.back_button.click()
    assert session.pose == session.start == Pose.zero()
    # the way can be gone again
    cockpit.step.value = 0
    assert session.pose == session.history[0].pose
    cockpit.step.value = len(session.history) - 1
    assert session.pose == session.result.pose
    assert cockpit.step.max == len(session.history) - 1


def test_fewer_photons_are_more_noise(cockpit: RegistrationCockpit):
    images = []
    for photons in (100_000, 20_000, 2_000):
        cockpit.inputs.photons.value = photons
        cockpit.inputs.simulate.click()
        images.append(cockpit.session.xray.image[cockpit.session.xray.mask])
    best, middle, worst = images
    assert (worst - best).std() > 1.5 * (middle - best).std() > 0


def test_the_cockpit_s_loop_stays_alive_and_stop_stops(cockpit: RegistrationCockpit):
    session = cockpit.session
    cockpit.inputs.simulate.click()
    session.pace = 0.02

    async def main() -> None:
        cockpit.register()
        while not session.history:
            await asyncio.sleep(0.001)
        assert session.running
        cockpit.inputs.simulate.click()
        assert "running" in cockpit.note.value
        cockpit.stop_button.click()
        while session.running:
            await asyncio.sleep(0.001)

    asyncio.run(main())
    assert session.result is None
    assert "stopped" in cockpit.stage.value
    assert not cockpit.register_button.disabled
    assert cockpit.save_button.disabled


def test_labels_are_outlined_where_the_pose_puts_them(cockpit: RegistrationCockpit, tmp_path: Path):
    image = sitk.Image(12, 8, 10, sitk.sitkUInt8) + 3
    image.SetSpacing([6.0] * 3)
    image.SetOrigin((volume().isocenter - 30).tolist())
    sitk.WriteImage(image, tmp_path / "labels.nrrd")
    session = cockpit.session
    session.pose = POSE
    cockpit.inputs.labels.value = str(tmp_path / "labels.nrrd")
    cockpit.inputs.read_labels.click()
    picture = cockpit.comparison.picture()[0]
    (mask,) = project_labels(image, CARM, POSE, volume=session.volume).masks
    np.testing.assert_array_equal(np.ptp(picture, -1) > 0, mask & ~binary_erosion(mask, border_value=1))
    assert mask.sum() > 30
    assert "label 3" in cockpit.comparison.legend.value
    cockpit.inputs.patient.value = "two"  # whose space the labels are not in
    assert session.labels is None
    assert cockpit.comparison.picture()[0].ndim == 2
    assert cockpit.comparison.structures.layout.display == "none"


def test_only_chosen_structures_are_outlined_in_the_colours_they_had(cockpit: RegistrationCockpit):
    image = sitk.Image(12, 8, 10, sitk.sitkUInt8) + 3
    image[6:, :, :] = 5
    image.SetSpacing([6.0] * 3)
    image.SetOrigin((volume().isocenter - 30).tolist())
    session, shown = cockpit.session, cockpit.comparison
    session.labels = read_label_map(image)
    assert [name for name, _ in shown.structures.options] == ["label 3", "label 5"]
    masks = project_labels(image, CARM, session.pose, volume=session.volume).masks
    inner = [mask & ~binary_erosion(mask, border_value=1) for mask in masks]
    both = shown.picture()[0]
    shown.structures.value = (1,)
    picture = shown.picture()[0]
    np.testing.assert_array_equal(np.ptp(picture, -1) > 0, inner[1])
    np.testing.assert_array_equal(picture[inner[1]], both[inner[1]])
    assert "label 3" not in shown.legend.value
    assert "label 5" in shown.legend.value
    shown.structures.value = ()
    assert not np.ptp(shown.picture()[0], -1).any()


def test_the_background_of_a_ct_is_removed(cockpit: RegistrationCockpit, tmp_path: Path):
    image = sitk.Image(12, 8, 10, sitk.sitkInt16) + 200
    image[2:10, 2:6, 2:8] = 0  # what was put where tissue was removed
    image[4:8, 3:5, 3:7] = 900
    sitk.WriteImage(image, tmp_path / "ct.nrrd")
    found = cockpit.inputs
    found.ct.value = str(tmp_path / "ct.nrrd")
    for text in ("", " 0 "):
        found.background.value = text
        found.read_ct.click()
        expected = read_ct(tmp_path / "ct.nrrd", 2.0, background=float(text) if text else None)
        torch.testing.assert_close(cockpit.session.volume.density, expected.density)
    before = cockpit.session.volume
    found.background.value = "soft <b>"
    found.read_ct.click()
    assert "background: expected a number of HU" in cockpit.note.value
    assert cockpit.session.volume is before


def test_the_detector_says_from_where_angles_count(cockpit: RegistrationCockpit, tmp_path: Path):
    write_xray(tmp_path / "xray.dcm", drr())
    file = pydicom.dcmread(tmp_path / "xray.dcm")
    file.PositionerPrimaryAngle, file.PositionerSecondaryAngle = 20.0, 10.0
    file.save_as(tmp_path / "xray.dcm")
    found, session = cockpit.inputs, cockpit.session
    found.xray.value = str(tmp_path / "xray.dcm")
    assert found.detector.value == ""  # one is shown as chosen
    poses = []
    for side in ("", "posterior"):
        found.detector.value = side
        found.read_xray.click()
        assert session.pose == read_xray(tmp_path / "xray.dcm", detector=side or None).pose
        poses.append(session.pose)
        session.pose = Pose.zero()
        content = memoryview((tmp_path / "xray.dcm").read_bytes())
        found.upload.value = ({"name": "a.dcm", "type": "", "size": len(content), "content": content, "last_modified": datetime.now(UTC)},)
        assert session.pose == poses[-1]
    assert poses[0] != poses[1]
    cockpit.register()
    session.save(tmp_path / "out")
    assert json.loads((tmp_path / "out" / "registration.json").read_text())["options"]["detector"] == "posterior"


def test_the_cockpit_says_what_to_press_and_where_it_writes(cockpit: RegistrationCockpit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert "press Simulate an X-ray" in cockpit.stage.value
    cockpit.inputs.simulate.click()
    assert "press Register" in cockpit.stage.value
    cockpit.folder.value = "patients/<one>"
    assert f"writes to {tmp_path}/patients/&lt;one&gt;" in cockpit.destination.value
    cockpit.register()
    assert "press" not in cockpit.stage.value
    cockpit.save_button.click()
    assert f"written to {tmp_path}/patients/&lt;one&gt;" in cockpit.destination.value
    assert (tmp_path / "patients" / "<one>" / "registration.json").is_file()


def test_bad_files_show_in_the_cockpit(cockpit: RegistrationCockpit, tmp_path: Path):
    found = cockpit.inputs
    (tmp_path / "x<b>.png").write_bytes(b"nothing")
    for path, button in ((found.ct, found.read_ct), (found.xray, found.read_xray)):
        path.value = str(tmp_path / "x<b>.png")
        button.click()
        assert 'role="alert"' in cockpit.note.value
        assert "<b>" not in cockpit.note.value
        assert "x&lt;b&gt;.png" in cockpit.note.value
    found.upload.value = ({"name": "y<b>.dcm", "type": "", "size": 1, "content": memoryview(b"z"), "last_modified": datetime.now(UTC)},)
    assert "y&lt;b&gt;.dcm" in cockpit.note.value
    assert found.upload.value == ()  # the same file may be chosen again
    found.patient.value = "none"
    assert "is damaged" in cockpit.note.value
    assert cockpit.session.volume is volume()
    assert found.patient.value != "none"  # the list shows who is there
    found.patient.value = "two"
    assert cockpit.session.volume is volume(5)


def test_what_cannot_be_saved_or_registered_is_said(cockpit: RegistrationCockpit):
    cockpit.register()
    assert "no X-ray" in cockpit.note.value
    cockpit.save_button.click()
    assert "no result" in cockpit.note.value


def test_method_and_similarity_go_both_ways(cockpit: RegistrationCockpit):
    assert set(SIMILARITIES) < set(cockpit.similarity.options)
    cockpit.method.value = "powell"
    assert cockpit.session.method == "powell"
    cockpit.session.similarity = "wlmi"
    assert cockpit.similarity.value == "wlmi"


def test_a_closed_cockpit_leaves_its_session(cockpit: RegistrationCockpit):
    session = cockpit.session
    cockpit.close()
    picture, table = cockpit.comparison.canvas.front, cockpit.table.value
    session.pose = POSE
    session.method = "adam"
    assert (cockpit.comparison.canvas.front, cockpit.table.value) == (picture, table)
    assert cockpit.method.value == "gauss-newton"
