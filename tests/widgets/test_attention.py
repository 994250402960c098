"""AttentionViewer, driven as a page would drive it, but without one."""

from __future__ import annotations

import asyncio
import functools
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.small_pelvis import CARM, volume

from xrcore import Beam, CArm, Pose, PoseRegressor, Xray, XrcoreError, render
from xrcore.learning.methods import method_named
from xrcore.learning.models.identity import CtIdentity
from xrcore.learning.training import profile
from xrcore.widgets import AttentionViewer, Session

TRUTH = Pose(rx=3.0, ry=-5.0, tx=6.0, tz=8.0)
SETTINGS = profile("smoke").changed(pixels=64, bottleneck=16, hidden=32, tokens=16)


def xray(pose: Pose = TRUTH, carm: CArm = CARM) -> Xray:
    return Xray(image=render(volume(0), carm, pose)[0], carm=carm)


@functools.cache
def model(**changes: object) -> PoseRegressor:
    """Untrained: what it says is arbitrary, but the same each time."""
    torch.manual_seed(0)
    settings = SETTINGS.changed(**changes)
    return PoseRegressor(method_named(settings.method)(settings).network(), settings, CARM, CtIdentity.of(volume(0)))


def picture(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


@pytest.fixture
def attention():
    viewer = AttentionViewer(model(), volume(0))
    yield viewer
    viewer.close()


def shown(viewer: AttentionViewer) -> dict[str, bytes]:
    return {name: image.value for name, image in viewer.images.items()}


def test_a_model_and_a_volume_make_x_rays(attention: AttentionViewer):
    assert attention.state.truth == attention.source.pose
    assert attention.state.xray.carm == CARM
    assert picture(attention.images["xray"].value).shape == (64, 64, 3)
    assert len(set(shown(attention).values())) == 4
    assert "mTRE" in attention.captions["initial"].value
    assert attention.snapshot()[:4] == b"\x89PNG"
    for name in ("truth", "network", "refined"):
        assert name in attention.table.value
    assert "trusted" in attention.outcome.value


def test_the_numbers_are_the_models_and_registers(attention: AttentionViewer):
    state = attention.state
    assert torch.allclose(state.prediction.numbers, model().predict(state.xray).numbers, atol=1e-3)
    _, whole = model().predict(state.xray, attention=True)
    # untrained, it looks nearly everywhere alike: what counts is the little that differs
    assert np.corrcoef(state.attention.mean(0).ravel(), whole.double().numpy().ravel())[0, 1] > 0.99
    np.testing.assert_allclose(state.attention.sum((1, 2)), 1, atol=1e-4)
    assert state.measures(state.truth, state.drr(state.truth))["mTRE"] == 0


def test_sliders_make_another_x_ray(attention: AttentionViewer):
    before = shown(attention)
    attention.sliders.sliders["ry"].value = 12.0
    assert attention.state.truth.to_dict()["ry"] == 12.0
    after = shown(attention)
    assert all(after[name] != before[name] for name in before)
    attention.protocol.value = False  # no noise
    bare = attention.state.xray.image
    assert torch.equal(bare, render(volume(0), CARM, attention.source.pose)[0])


def test_a_seed_stands_for_a_pose_within_the_models_ranges(attention: AttentionViewer):
    first = attention.source.pose
    attention.seed.value = 7
    assert attention.source.pose != first
    assert all(abs(n) <= r for n, r in zip(attention.source.numbers, model().ranges, strict=True))
    assert attention.state.truth == attention.source.pose
    attention.seed.value = 0
    assert attention.source.pose == first


def test_opacity_and_heads_change_the_overlay_alone(attention: AttentionViewer):
    before = shown(attention)
    heads = len(attention.head.options) - 1
    assert heads == model().settings.architecture.heads
    attention.head.index = 1
    one = shown(attention)
    assert one["attention"] != before["attention"]
    attention.head.index = 0
    assert shown(attention) == before
    attention.opacity.value = 0
    assert shown(attention)["attention"] != before["attention"]
    grey = picture(attention.images["xray"].value).astype(int)
    assert np.abs(picture(attention.images["attention"].value).astype(int) - grey).max() <= 1
    assert {k: v for k, v in shown(attention).items() if k != "attention"} == {k: v for k, v in before.items() if k != "attention"}


def test_refinement_can_wait():
    viewer = AttentionViewer(model(), volume(0), xray(), truth=TRUTH)
    refined = viewer.state.refined
    assert refined.pose.to_dict()["tx"] == pytest.approx(6.0, abs=1.0)
    viewer.refining.value = False
    viewer.state.look_at(xray(Pose.zero()))
    viewer._update()
    assert viewer.state.prediction is not None
    assert viewer.state.refined is None
    assert "refined" not in viewer.table.value
    assert "truth" not in viewer.table.value  # nobody knows it
    assert "mTRE" not in viewer.captions["initial"].value
    viewer.refining.value = True
    assert viewer.state.refined is not None


def test_refinement_follows_when_the_hand_rests():
    """As in a notebook, where the event loop runs."""

    async def drag() -> None:
        viewer = AttentionViewer(model(), volume(0))
        viewer._update._full_seconds = 1.0  # a machine on which refinement is slow
        viewer.source.set(ry=10.0)
        assert viewer.state.prediction is not None
        assert viewer.state.refined is None
        assert "mTRE" not in viewer.captions["final"].value
        await asyncio.sleep(0.3)
        assert viewer.state.refined is not None
        assert "mTRE" in viewer.captions["final"].value
        viewer.source.set(ry=-10.0)
        viewer.close()
        await asyncio.sleep(0.3)
        assert viewer.state.refined is None  # nothing goes on after the end

    asyncio.run(drag())


def test_a_network_without_attention_says_so():
    viewer = AttentionViewer(model(attention=False), volume(0), xray())
    assert "no attention" in viewer.note.value
    assert 'role="status"' in viewer.note.value
    assert viewer.head.disabled
    assert viewer.state.refined is not None
    assert picture(viewer.images["attention"].value).min() == 255  # an empty place
    assert viewer.snapshot()


def test_another_method_can_be_looked_at():
    settings = profile("smoke").changed(pixels=64, method="salehi")
    torch.manual_seed(0)
    regressor = PoseRegressor(method_named("salehi")(settings).network(), settings, CARM, CtIdentity.of(volume(0)))
    viewer = AttentionViewer(regressor, volume(0), xray())
    assert "no attention" in viewer.note.value
    assert viewer.state.prediction is not None


def test_another_ct_is_refused_in_the_page():
    viewer = AttentionViewer(model(), volume(1))
    assert 'role="alert"' in viewer.note.value
    assert "not the CT that the model was trained for" in viewer.note.value
    assert viewer.state.xray is not None  # what there is to see is shown
    assert viewer.state.prediction is None
    assert viewer.table.value == ""


def test_another_geometry_is_refused_in_the_page():
    viewer = AttentionViewer(model(), volume(0), xray(carm=replace(CARM, source_to_detector=1000.0)))
    assert "source_to_detector" in viewer.note.value
    assert viewer.state.prediction is None
    viewer.state.look_at(xray(), TRUTH)
    viewer._update()
    assert viewer.note.value == ""
    assert viewer.state.prediction is not None


def test_a_folder_is_read_and_a_missing_one_named_in_the_page(tmp_path: Path):
    model().save(tmp_path / "model", half=False)
    viewer = AttentionViewer(tmp_path / "model", volume(0), xray())
    assert torch.allclose(viewer.state.prediction.numbers, model().predict(xray()).numbers, atol=1e-4)
    missing = AttentionViewer(str(tmp_path / "nothing"), volume(0))
    assert "nothing" in missing.note.value
    assert 'role="alert"' in missing.note.value
    assert missing.snapshot() is None
    missing.opacity.value = 0.2  # nothing to draw is no error


def test_a_pose_that_shows_nothing_says_so_and_leaves_no_old_picture(attention: AttentionViewer):
    attention.protocol.value = False
    before = shown(attention)
    attention.source.set(tx=2000.0)
    assert 'role="alert"' in attention.note.value
    assert attention.state.xray is None
    assert shown(attention)["initial"] != before["initial"]
    assert attention.table.value == ""
    attention.source.set(tx=0.0)
    assert "alert" not in attention.note.value
    assert attention.table.value


def test_what_is_no_volume_or_x_ray_is_refused():
    with pytest.raises(XrcoreError, match="volume must be a Volume"):
        AttentionViewer(model(), None)  # type: ignore[arg-type]
    with pytest.raises(XrcoreError, match="xray must be an Xray"):
        AttentionViewer(model(), volume(0), "fluoro.dcm")  # type: ignore[arg-type]


def test_an_inverted_xray_is_measured_as_registered():
    viewer = AttentionViewer(model(), volume(0), xray().negative())
    refined = viewer.state.refined
    assert refined.inverted
    assert viewer.state.measures(refined.pose, viewer.state.drr(refined.pose))["NCC"] > 0.9
    there = viewer.state.measures(viewer.state.prediction, viewer.state.drr(viewer.state.prediction))["NCC"]
    assert f"NCC {there:.3f}" in viewer.captions["initial"].value


def followed() -> tuple[Session, AttentionViewer]:
    session = Session(volume(0), xray())
    return session, AttentionViewer(model(), session=session)


def test_of_a_patient_that_is_gone_nothing_stays():
    session, viewer = followed()
    assert viewer.table.value
    session.xray = None
    assert "no X-ray yet" in viewer.note.value
    assert {picture(image).min() for image in shown(viewer).values()} == {255}
    assert "NCC" not in "".join(caption.value for caption in viewer.captions.values())
    assert viewer.table.value == viewer.outcome.value == ""


def test_what_was_refined_with_another_beam_or_ct_goes():
    session, viewer = followed()
    seen = viewer.images["xray"].value
    viewer.refining.value = False
    session.beam = Beam(kilovolts=60)
    assert viewer.state.prediction is not None
    assert viewer.images["xray"].value == seen
    assert "NCC" in viewer.captions["initial"].value
    assert "NCC" not in viewer.captions["final"].value
    assert picture(viewer.images["final"].value).min() == 255
    assert viewer.outcome.value == ""
    session.volume = volume(1)  # which the model was not trained for
    assert 'role="alert"' in viewer.note.value
    assert viewer.images["xray"].value == seen
    assert picture(viewer.images["initial"].value).min() == 255
    assert viewer.table.value == ""
